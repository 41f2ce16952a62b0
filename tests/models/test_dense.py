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


def test_the_pyramid_is_interpolate_sum_convolve():
    torch.manual_seed(0)
    pyramid = Pyramid((3, 5), width=4).eval()
    fine, coarse = torch.randn(2, 3, 7, 5), torch.randn(2, 5, 4, 3)

    def convolved(x, conv, padding):
        return F.conv2d(x, conv.weight, padding=padding) / (1 + 1e-5) ** 0.5  # a new batch norm's variance is 1

    top = convolved(coarse, pyramid.top.conv, 1).relu()
    rows, columns = torch.arange(7) * 4 // 7, torch.arange(5) * 3 // 5
    summed = convolved(fine, pyramid.laterals[0][0], 0) + top[:, :, rows][:, :, :, columns]
    expected = convolved(summed, pyramid.smooths[0].conv, 1).relu()
    torch.testing.assert_close(pyramid([fine, coarse]), expected)


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


def test_a_unet_learns_to_copy_what_a_coarse_map_cannot_hold():
    # Noise has no neighbours to tell it: only the path across at full size carries it to the output.
    torch.manual_seed(0)
    model = small("unet-small", "unet").train()
    image = torch.randn(2, 3, 16, 16)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(80):
        optimizer.zero_grad()
        loss = F.mse_loss(model(image), image)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2  # 1.0 for a constant; a map at half the size could explain a quarter of the numbers


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
