"""Every architecture keeps the contract of `Encoder`. A new line in MODELS is tested without touching this file."""

import math

import pytest
import torch
from olhar.models import MODELS, encoder
from olhar.models.classifier import Classifier
from safetensors.torch import load_model, save_model

# Odd, and not square, so that rounding and swapped axes show.
SIZES = [(32, 32), (33, 18)]


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("size", SIZES)
def test_levels_have_the_declared_channels_and_strides(name, size):
    body = encoder(name, 3, size).eval()
    with torch.no_grad():
        levels = body(torch.randn(2, 3, *size))
    expected = [
        (2, channels, math.ceil(size[0] / stride), math.ceil(size[1] / stride))
        for channels, stride in zip(body.channels, body.strides, strict=True)
    ]
    assert [tuple(level.shape) for level in levels] == expected
    assert list(body.strides) == sorted(body.strides)


@pytest.mark.parametrize("name", MODELS)
def test_every_parameter_gets_a_gradient(name):
    model = Classifier(encoder(name, 1, (32, 32)), 5)
    outputs = model(torch.randn(2, 1, 32, 32))
    assert outputs.shape == (2, 5)
    outputs.square().sum().backward()
    without = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert without == []
    # A weight whose gradient is zero everywhere is joined to nothing; a bias before batch norm may be.
    idle = [n for n, p in model.named_parameters() if p.ndim > 1 and p.grad is not None and not p.grad.any()]
    assert idle == []


@pytest.mark.parametrize("name", MODELS)
def test_saved_and_loaded_it_gives_the_same(name, tmp_path):
    image = torch.randn(2, 3, 32, 32)
    first = Classifier(encoder(name, 3, (32, 32)), 4).eval()
    second = Classifier(encoder(name, 3, (32, 32)), 4).eval()
    save_model(first, str(tmp_path / "model.safetensors"))
    load_model(second, tmp_path / "model.safetensors")
    with torch.no_grad():
        assert torch.equal(first(image), second(image))


@pytest.mark.parametrize("name", MODELS)
def test_the_memory_format_changes_nothing(name):
    image = torch.randn(2, 3, 32, 32)
    model = Classifier(encoder(name, 3, (32, 32)), 4).eval()
    with torch.no_grad():
        expected = model(image)
        last = model.to(memory_format=torch.channels_last)(image.to(memory_format=torch.channels_last))
    torch.testing.assert_close(last, expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", [n for n in MODELS if n not in ("linear", "mlp")])
def test_it_takes_a_single_pixel(name):
    body = encoder(name, 3, (1, 1)).eval()
    with torch.no_grad():
        assert all(level.shape[2:] == (1, 1) for level in body(torch.randn(1, 3, 1, 1)))
