"""The vision transformer: shapes of the figure, sizes of the papers, and the outputs of torchvision's and timm's."""

import pytest
import timm
import torch
import torchvision
from safetensors.torch import save_file

from olhar.errors import UserError
from olhar.models import MODELS, decoder, encoder
from olhar.models.classifier import Classifier
from olhar.models.weights import load_weights, rename

SMALL = {"patch": 8, "width": 16, "depth": 2, "heads": 2}


@pytest.fixture(autouse=True)
def seeded():
    torch.manual_seed(0)


def vit(size=(32, 32), channels=3, outputs=5, **args):
    return Classifier(encoder("vit-ti16", channels, size, **SMALL | args), outputs)


def theirs(library, size=32, outputs=5):
    """A small one of theirs, where no tensor is left at zero or one."""
    if library == "timm":
        model = timm.models.VisionTransformer(size, 8, num_classes=outputs, embed_dim=16, depth=2, num_heads=2)
    else:
        model = torchvision.models.VisionTransformer(size, 8, 2, 2, 16, 64, num_classes=outputs)
    for parameter in model.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return model.eval()


@pytest.mark.parametrize(
    ("name", "parameters"),
    [("vit-ti16", 5_717_416), ("vit-s16", 22_050_664), ("vit-b16", 86_567_656), ("vit-b32", 88_224_232)],
)
def test_published_sizes(name, parameters):
    with torch.device("meta"):
        model = Classifier(encoder(name, 3, (224, 224)), 1000)
        tokens = model.encoder.tokens(torch.empty(1, 3, 224, 224))
    assert sum(p.numel() for p in model.parameters()) == parameters
    assert tokens.shape[1] == (224 // model.encoder.patches.patch) ** 2 + 1  # 197 of B/16


def test_names_and_shapes_of_the_large_ones_are_theirs():
    with torch.device("meta"):
        models = {name: Classifier(encoder(name, 3, (224, 224)), 1000).state_dict() for name in ("vit-b16", "vit-l32")}
        published = [
            ("vit-b16", torchvision.models.vit_b_16().state_dict()),
            ("vit-b16", timm.create_model("vit_base_patch16_224").state_dict()),
            ("vit-l32", torchvision.models.vit_l_32().state_dict()),
        ]
        for name, state in published:
            found = {key: tensor.shape for key, tensor in rename(state, models[name]).items()}
            assert found == {key: tensor.shape for key, tensor in models[name].items()}


@pytest.mark.parametrize("library", ["torchvision", "timm"])
def test_with_their_weights_it_gives_their_outputs(library, tmp_path):
    reference, model, image = theirs(library), vit(), torch.randn(3, 3, 32, 32)
    save_file({f"module.{name}": tensor for name, tensor in reference.state_dict().items()}, tmp_path / "w.safetensors")
    report = load_weights(model, tmp_path / "w.safetensors")
    assert report.missing == report.unexpected == report.mismatched == report.remarks == ()
    with torch.no_grad():
        torch.testing.assert_close(model.eval()(image), reference(image), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("size", [(48, 48), (32, 64)])
def test_their_weights_serve_other_sizes(size, tmp_path):
    """As timm does, which is told the size; and as a model of ours that learnt at theirs."""
    reference = theirs("timm")
    save_file(reference.state_dict(), tmp_path / "w.safetensors")
    model, small, image = vit(size), vit(), torch.randn(2, 3, *size)
    report = load_weights(model, tmp_path / "w.safetensors")
    load_weights(small, tmp_path / "w.safetensors")
    assert report.mismatched == ()
    assert f"positions.codes was fitted to the grid of these images, {size[0] // 8}x{size[1] // 8}" in report.sentence
    reference.set_input_size(img_size=size)
    with torch.no_grad():
        expected = reference(image)
        torch.testing.assert_close(model.eval()(image), expected, rtol=1e-4, atol=1e-4)
        torch.testing.assert_close(small.eval()(image), expected, rtol=1e-4, atol=1e-4)


def test_a_mean_leaves_the_class_token_aside(tmp_path):
    reference = theirs("timm")
    save_file(reference.state_dict(), tmp_path / "w.safetensors")
    model = vit(pool="mean")
    report = load_weights(model, tmp_path / "w.safetensors")
    assert (report.missing, report.unexpected) == ((), ("class_token",))
    assert torch.equal(model.encoder.positions.codes, reference.pos_embed[0, 1:])


def test_a_head_of_other_classes_and_another_depth(tmp_path):
    save_file(theirs("torchvision").state_dict(), tmp_path / "w.safetensors")
    report = load_weights(vit(outputs=7), tmp_path / "w.safetensors")
    assert report.mismatched == ("head.weight", "head.bias")
    with pytest.raises(UserError, match="another architecture"):
        load_weights(vit(width=24, depth=6), tmp_path / "w.safetensors")


@pytest.mark.parametrize("pool", ["token", "mean"])
def test_levels_are_the_tokens_laid_out_in_space(pool):
    body = vit((24, 40), pool=pool).encoder.eval()
    image = torch.randn(2, 3, 24, 40)
    with torch.no_grad():
        levels, tokens, summary = body(image), body.tokens(image), body.summary(image)
    assert (body.strides, body.channels) == ((2, 4, 8), (1, 4, 16))
    places = tokens[:, int(pool == "token") :]
    assert torch.equal(levels[-1].flatten(2).mT, places)
    # the token of row 1, column 2 is a square of 4 x 4 places on the finest level
    torch.testing.assert_close(levels[0][:, 0, 4:8, 8:12].flatten(1), places[:, 1 * 5 + 2])
    torch.testing.assert_close(summary, tokens[:, 0] if pool == "token" else places.mean(1))


@pytest.mark.parametrize("positions", ["learned", "sinusoidal"])
def test_it_takes_any_size_and_knows_where_things_are(positions):
    body = vit(positions=positions).encoder.eval()
    for parameter in body.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    image = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        assert [tuple(level.shape[2:]) for level in body(torch.randn(1, 3, 33, 18))] == [(17, 9), (9, 5), (5, 3)]
        moved = body.summary(image.roll(8, 3))  # by one patch: the same tokens in other places
    assert not torch.allclose(moved, body.summary(image), atol=1e-3)


def test_images_of_one_batch_do_not_see_each_other():
    body = vit().encoder.eval()
    image = torch.randn(3, 3, 32, 32)
    with torch.no_grad():
        torch.testing.assert_close(body.summary(image)[1:2], body.summary(image[1:2]), rtol=1e-4, atol=1e-5)


def test_convolutions_may_make_the_patches():
    """A stem of 3x3 convolutions gives as many tokens, and neighbouring ones see something in common."""
    plain, conv = vit(patch=4).encoder.eval(), vit(patch=4, stem="conv").encoder.eval()
    image = torch.randn(1, 3, 30, 32)
    changed = image.clone()
    changed[:, :, 3, 3] += 5  # the corner of the first patch
    with torch.no_grad():
        assert plain.patches(image).shape == conv.patches(image).shape == (1, 64, 16)
        touched = [(b.patches(image) != b.patches(changed)).any(2).sum().item() for b in (plain, conv)]
    assert touched[0] == 1
    assert touched[1] > 1


def test_paths_are_dropped_more_the_deeper():
    body = vit(depth=3, drop_path=0.2).encoder
    assert [block.drop_path.p for block in body.blocks] == [0.0, 0.1, 0.2]


def test_decoders_get_levels_they_can_join():
    body = vit((32, 48)).encoder
    for name in ("pyramid", "unet"):
        assert decoder(name, body)(body(torch.randn(2, 3, 32, 48))).shape[2:] == (16, 24)


def test_every_size_is_listed():
    patches = {name: make.keywords["patch"] for name, make in MODELS.items() if name.startswith("vit-")}
    assert all(name.endswith(str(patch)) for name, patch in patches.items())
    assert set(patches.values()) == {4, 8, 16, 32}
