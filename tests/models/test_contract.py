"""Every architecture keeps the contract of `Encoder`. A new line in MODELS is tested without touching this file."""

import math
from functools import cache

import pytest
import torch
from safetensors.torch import load_file, save_file

from olhar.models import MODELS, encoder
from olhar.models.classifier import Classifier

# Odd, and not square, so that rounding and swapped axes show.
SIZE = (33, 18)
OUTPUTS = 5
# A transformer's blocks are all alike: two are as good a test as 24.
SHORT = {name: {"depth": 2} for name in MODELS if name.startswith("vit-")}


@cache
def built(name):
    """One model for all tests that do not change it: half their time is drawing the deep ones' weights."""
    torch.manual_seed(0)
    return Classifier(encoder(name, 1, SIZE, **SHORT.get(name, {})), OUTPUTS)


@pytest.mark.parametrize("name", MODELS)
def test_levels_have_the_declared_channels_and_strides(name):
    body = built(name).encoder.eval()
    with torch.no_grad():
        levels = body(torch.randn(1, 1, *SIZE))
    expected = [
        (1, channels, math.ceil(SIZE[0] / stride), math.ceil(SIZE[1] / stride))
        for channels, stride in zip(body.channels, body.strides, strict=True)
    ]
    assert [tuple(level.shape) for level in levels] == expected
    assert list(body.strides) == sorted(body.strides)


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_gets_a_gradient(name):
    model = built(name).train()
    outputs = model(torch.randn(2, 1, *SIZE))
    assert outputs.shape == (2, OUTPUTS)
    outputs.square().sum().backward()
    wrong = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert wrong == []
    # A weight whose gradient is zero everywhere is joined to nothing; a bias before batch norm may have one.
    idle = [n for n, p in model.named_parameters() if p.ndim > 1 and p.grad is not None and not p.grad.any()]
    assert idle == []
    model.zero_grad()


@pytest.mark.parametrize("name", MODELS)
def test_saved_and_loaded_it_gives_the_same(name, tmp_path):
    save_file(built(name).state_dict(), tmp_path / "model.safetensors")
    with torch.device("meta"):
        second = Classifier(encoder(name, 1, SIZE, **SHORT.get(name, {})), OUTPUTS)
    second.to_empty(device="cpu").load_state_dict(load_file(tmp_path / "model.safetensors"))
    image = torch.randn(1, 1, *SIZE)
    with torch.no_grad():
        assert torch.equal(second.eval()(image), built(name).eval()(image))


# One of each architecture, narrow: what follows does not depend on the size.
KINDS = {"cnn-tiny": {}, "resnet18": {"width": 8}, "resnet50": {"width": 8}, "mlp": {"hidden": (8,)}, "linear": {}}
KINDS["vit-ti4"] = {"width": 16, "heads": 2, "depth": 2}


@pytest.mark.parametrize("name", KINDS)
def test_the_memory_format_changes_nothing(name):
    torch.manual_seed(0)
    model = Classifier(encoder(name, 3, SIZE, **KINDS[name]), OUTPUTS).eval()
    image = torch.randn(2, 3, *SIZE)
    with torch.no_grad():
        expected = model(image)
        last = model.to(memory_format=torch.channels_last)(image.to(memory_format=torch.channels_last))
    torch.testing.assert_close(last, expected)


@pytest.mark.parametrize("name", KINDS)
def test_it_takes_a_single_pixel(name):
    body = encoder(name, 3, (1, 1), **KINDS[name]).eval()
    with torch.no_grad():
        assert all(level.shape[2:] == (1, 1) for level in body(torch.randn(1, 3, 1, 1)))


@pytest.mark.parametrize("name", ["linear", "mlp"])
def test_pixels_in_a_row_take_one_size_only(name):
    body = encoder(name, 3, (8, 8))
    assert not body.any_size
    with pytest.raises(AssertionError, match="built for"):
        body(torch.randn(1, 3, 9, 8))
