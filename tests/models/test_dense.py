"""Encoder, decoder and head against Figure 2.10: shapes, counts, any size, and every combination of the tables."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from olhar.errors import UserError
from olhar.inspection.capture import capture
from olhar.models import DECODERS, decoder, dense, encoder
from olhar.models.classifier import Classifier
from olhar.models.pyramid import Pyramid
from olhar.models.unet import UNetDecoder

SIZE = (33, 18)  # odd, and not square
SMALL = {
    "cnn-tiny": {"widths": (8, 16, 16)},
    "resnet18": {"width": 8, "stem": "small"},  # two levels of stride 1
    "resnet9": {"widths": (8, 8, 16, 16)},
    "unet-small": {"widths": (8, 16, 16)},
}


def count(module):
    return sum(p.numel() for p in module.parameters())


def small(body, name, outputs=3, **args):
    torch.manual_seed(0)
    args = {"width": 8} | args if name == "pyramid" else {"widths": (8, 16)} | args
    return dense(encoder(body, 3, SIZE, **SMALL[body]), name, outputs, **args)


def test_figure_2_10_has_the_course_model_s_shapes_and_parameters():
    with torch.device("meta"):
        body = encoder("resnet18", 3, (256, 256))
        model = dense(body, "pyramid", 2)
        image = torch.empty(1, 3, 256, 256)
        names = [f"decoder.smooths.{i}" for i in range(4)]
        with capture(model, ["encoder", "decoder.top", *names, "decoder", "head"]) as seen:
            assert model(image).shape == (1, 2, 256, 256)
    assert [tuple(level.shape[1:]) for level in seen["encoder"]] == [
        (64, 128, 128), (64, 64, 64), (128, 32, 32), (256, 16, 16), (512, 8, 8)
    ]  # fmt: skip
    assert seen["decoder.top"].shape == (1, 64, 8, 8)
    assert [seen[name].shape[2] for name in names] == [128, 64, 32, 16]
    assert seen["decoder"].shape == (1, 64, 128, 128)
    assert seen["head"].shape == (1, 2, 128, 128)
    assert count(model.decoder) == 476_288
    assert count(model.head) == 1_154
    with torch.device("meta"):
        whole_resnet = Classifier(encoder("resnet18", 3, (256, 256)), 1000)
    assert count(whole_resnet) + count(model.decoder) + count(model.head) == 12_166_954
    assert sum(isinstance(m, torch.nn.BatchNorm2d) for m in model.decoder.modules()) == 9
    assert all(m.bias is None for m in model.decoder.modules() if isinstance(m, torch.nn.Conv2d))


def convolved(x, block):
    """A `ConvBlock` in evaluation, new: the variance of its batch norm is 1."""
    return (F.conv2d(x, block.conv.weight, padding=1) / (1 + 1e-5) ** 0.5).relu()


def doubled(x):
    """Nearest neighbours of a map of 4x3, at 7x5."""
    return x[:, :, torch.tensor([0, 0, 1, 1, 2, 2, 3])][:, :, :, torch.tensor([0, 0, 1, 1, 2])]


def test_the_pyramid_is_interpolate_sum_convolve():
    torch.manual_seed(0)
    pyramid = Pyramid((3, 5), width=4).eval()
    fine, coarse = torch.randn(2, 3, 7, 5), torch.randn(2, 5, 4, 3)
    lateral = F.conv2d(fine, pyramid.laterals[0][0].weight) / (1 + 1e-5) ** 0.5
    expected = convolved(lateral + doubled(convolved(coarse, pyramid.top)), pyramid.smooths[0])
    torch.testing.assert_close(pyramid([fine, coarse]), expected)


def test_the_unet_is_interpolate_concatenate_convolve_twice():
    torch.manual_seed(0)
    unet = UNetDecoder((3, 5), widths=(4,)).eval()
    fine, coarse = torch.randn(2, 3, 7, 5), torch.randn(2, 5, 4, 3)
    join = unet.joins[0]
    # The 1x1 convolution after the interpolation, where the model has it before.
    up = F.conv2d(doubled(coarse), join.reduce.weight, join.reduce.bias)
    expected = convolved(convolved(torch.cat([fine, up], 1), join.convs[0]), join.convs[1])
    torch.testing.assert_close(unet([fine, coarse]), expected)


def test_the_unet_s_path_down_is_convolve_twice_and_pool():
    torch.manual_seed(0)
    body = encoder("unet-small", 3, (7, 5), widths=(4, 6)).eval()
    image = torch.randn(2, 3, 7, 5)
    fine = convolved(convolved(image, body.stages[0][0]), body.stages[0][1])
    pooled = F.max_pool2d(fine, 2, ceil_mode=True)
    coarse = convolved(convolved(pooled, body.stages[1][0]), body.stages[1][1])
    torch.testing.assert_close(body(image), [fine, coarse])


@pytest.mark.parametrize("name", DECODERS)
@pytest.mark.parametrize("size", [(33, 18), (1, 1), (2, 7), (5, 64), (48, 48)])
@pytest.mark.parametrize("body", SMALL)
def test_any_size_comes_back(body, name, size):
    with torch.no_grad():
        assert small(body, name).eval()(torch.randn(1, 3, *size)).shape == (1, 3, *size)


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear"])
@pytest.mark.parametrize("finest", [0, 1, 3, 4])
@pytest.mark.parametrize("name", DECODERS)
def test_any_level_may_be_the_finest(name, finest, interpolation):
    model = small("resnet18", name, finest=finest, interpolation=interpolation).train()
    image = torch.randn(2, 3, *SIZE)
    stride = model.encoder.strides[finest]
    expected = (2, model.decoder.channels, -(-SIZE[0] // stride), -(-SIZE[1] // stride))
    assert model.features(image).shape == expected
    outputs = model(image)
    assert outputs.shape == (2, 3, *SIZE)
    outputs.square().sum().backward()
    assert [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()] == []
    assert [n for n, p in model.named_parameters() if p.ndim > 1 and p.grad is not None and not p.grad.any()] == []


@pytest.mark.parametrize("name", DECODERS)
def test_saved_and_loaded_in_another_memory_format_it_gives_the_same(name, tmp_path):
    model, second = small("unet-small", name).eval(), small("unet-small", name).eval()
    torch.nn.init.normal_(second.head.weight)
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    second.load_state_dict(load_file(tmp_path / "model.safetensors"))
    image = torch.randn(2, 3, *SIZE)
    with torch.no_grad():
        expected = model(image)
        assert torch.equal(second(image), expected)
        last = second.to(memory_format=torch.channels_last)(image.to(memory_format=torch.channels_last))
    torch.testing.assert_close(last, expected)


def test_outputs_are_interpolated_in_full_precision():
    model = small("resnet9", "pyramid")
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        assert model(torch.randn(1, 3, *SIZE)).dtype == torch.float32


@pytest.mark.parametrize(
    ("body", "name", "args", "words"),
    [
        ("cnn-tiny", "pyramyd", {}, "did you mean 'pyramid'"),
        ("cnn-tiny", "pyramid", {"widht": 3}, "did you mean 'width'"),
        ("cnn-tiny", "unet", {"interpolation": "linear"}, "did you mean"),
        ("cnn-tiny", "unet", {"finest": 3}, "has 3, from 0, the finest, to 2"),
        ("cnn-tiny", "pyramid", {"finest": -1}, "cannot be -1"),
        ("linear", "pyramid", {}, "linear gives one vector"),
        ("mlp", "unet", {}, "mlp gives one vector"),
    ],
)
def test_what_cannot_be_built_is_said(body, name, args, words):
    with pytest.raises(UserError, match=words):
        decoder(name, encoder(body, 3, (8, 8)), **args)


def test_arguments_may_come_as_text():
    made = decoder("unet", encoder("cnn-tiny", 1, (8, 8)), widths="16,24", finest="1", interpolation="bilinear")
    assert (made.channels, made.finest) == (16, 1)
