"""Autoencoders: sizes, both halves apart, gradients, and the latent distribution of the variational one."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from olhar.errors import UserError
from olhar.models import AUTOENCODERS, autoencoder
from olhar.models.vae import LOG_VARIANCE_REACH, VAE
from olhar.objectives.gaussian import Gaussian

STABLE = "vae-stable-diffusion"
SMALL = {name: {"widths": (16, 32), "blocks": 1} for name in ("autoencoder", "vae")}
SMALL |= {STABLE: {"widths": (64, 64), "factor": 2, "blocks": 1}}
SHAPES = [(1, (16,)), (4, (16,)), (4, (16, 32)), (8, (16, 16, 32, 32)), (8, (16,))]  # factor and widths
SHAPES = [(name, *shape) for name in ("autoencoder", "vae") for shape in SHAPES]
SHAPES += [(STABLE, 1, (64,)), (STABLE, 4, (64, 64, 64))]


def small(name, in_channels=3, **args):
    torch.manual_seed(0)
    return autoencoder(name, in_channels, (16, 16), **{**SMALL[name], **args})


def latent_of(model, image):
    """A tensor, of either kind."""
    latent = model.encode(image)
    return latent.mode() if isinstance(latent, Gaussian) else latent


@pytest.mark.parametrize(("name", "factor", "widths"), SHAPES)
@pytest.mark.parametrize("size", [(16, 16), (13, 22), (1, 1), (3, 8)])
def test_any_size_comes_back(name, size, factor, widths):
    model = small(name, 1, factor=factor, widths=widths, latent_channels=3).eval()
    image = torch.randn(1, 1, *size)
    with torch.no_grad():
        latent = latent_of(model, image)
        assert tuple(latent.shape[1:]) == model.latent_shape(size) == (3, -(-size[0] // factor), -(-size[1] // factor))
        assert model(image).shape == image.shape
        assert torch.equal(model(image), model.decode(latent, size))
        assert model.decode(latent).shape == (1, 1, factor * latent.shape[2], factor * latent.shape[3])


@pytest.mark.parametrize("name", [name for name in AUTOENCODERS if name != STABLE])
def test_the_table_s_latent_has_many_times_fewer_numbers(name):
    with torch.device("meta"):
        model = autoencoder(name, 3, (64, 64))
        channels, height, width = model.latent_shape()
        assert latent_of(model, torch.empty(1, 3, 64, 64)).shape == (1, channels, height, width)
    fewer = {"vae-f16": 48}.get(name, 12)
    assert fewer * channels * height * width == 3 * 64 * 64


@pytest.mark.parametrize("name", SMALL)
def test_every_parameter_gets_a_gradient(name):
    model = small(name)
    image = torch.randn(2, 3, 13, 9)
    latent = model.encode(image)
    latent = latent.sample() if isinstance(latent, Gaussian) else latent
    model.decode(latent, (13, 9)).square().sum().backward()
    wrong = [n for n, p in model.named_parameters() if p.grad is None or not p.grad.isfinite().all()]
    assert wrong == []
    assert [n for n, p in model.named_parameters() if p.grad is not None and not p.grad.any()] == []


@pytest.mark.parametrize("name", SMALL)
def test_saved_and_loaded_in_another_memory_format_it_gives_the_same(name, tmp_path):
    model, second = small(name).eval(), autoencoder(name, 3, (16, 16), **SMALL[name]).eval()
    save_file(model.state_dict(), tmp_path / "model.safetensors")
    second.load_state_dict(load_file(tmp_path / "model.safetensors"))
    image = torch.randn(2, 3, 13, 9)
    with torch.no_grad():
        expected = model(image)
        assert torch.equal(second(image), expected)
        last = second.to(memory_format=torch.channels_last)(image.to(memory_format=torch.channels_last))
    torch.testing.assert_close(last, expected)


@pytest.mark.parametrize("name", SMALL)
def test_an_image_does_not_depend_on_its_neighbours_or_the_mode(name):
    model = small(name).train()
    image = torch.randn(3, 3, 8, 8)
    with torch.no_grad():
        torch.testing.assert_close(model(image)[:1], model.eval()(image[:1]))


@pytest.mark.notes("Fig 2.11")
@pytest.mark.parametrize("name", ["autoencoder", "vae"])  # the third in tests/test_contracts.py
def test_it_learns_an_image(name):
    model = small(name)
    image = F.interpolate(torch.randn(2, 3, 4, 4), size=(16, 16))
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        loss = F.mse_loss(model(image), image)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.1  # 1.0 for a constant


def test_the_latent_is_a_gaussian_with_nll_kl_sample_and_mode():
    model = small("vae")
    latent = model.encode(torch.randn(2, 3, 8, 8))
    assert isinstance(latent, Gaussian)
    mean, log_variance = model.encoder(torch.randn(2, 3, 8, 8)).chunk(2, dim=1)
    assert mean.shape == log_variance.shape == latent.mode().shape == latent.sample().shape == (2, 4, 2, 2)
    theirs, standard = Normal(latent.mean, latent.variance.sqrt()), Normal(0.0, 1.0)
    expected = kl_divergence(theirs, standard).flatten(1).sum(1)
    torch.testing.assert_close(latent.kl(Gaussian(torch.zeros_like(latent.mean))), expected)
    drawn = latent.sample(torch.Generator().manual_seed(0))
    torch.testing.assert_close(latent.nll(drawn), -theirs.log_prob(drawn).flatten(1).sum(1))
    torch.testing.assert_close(drawn, latent.sample(torch.Generator().manual_seed(0)))
    assert not torch.equal(drawn, latent.mode())


def test_the_log_of_the_variance_is_bounded_and_always_has_a_gradient():
    model = small("vae")
    assert isinstance(model, VAE)
    with torch.no_grad():
        torch.nn.init.constant_(model.encoder.out.bias[4:], 30.0)
    latent = model.encode(torch.randn(2, 3, 8, 8))
    assert latent.variance.log().max() <= LOG_VARIANCE_REACH
    latent.kl(Gaussian(torch.zeros_like(latent.mean))).sum().backward()
    gradient = model.encoder.out.bias.grad
    assert gradient is not None
    assert gradient[4:].all()


@pytest.mark.parametrize(
    ("name", "args", "words"),
    [
        ("vea", {}, "did you mean 'vae'"),
        ("vae", {"latents": 3}, "did you mean 'latent_channels'"),
        ("vae", {"factor": 6}, "power of two"),
        ("autoencoder", {"factor": 0}, "power of two"),
        ("autoencoder", {"factor": 2, "widths": "16,32,64"}, "1 to 2 widths, not 3"),
        (STABLE, {"widths": "32,48,64,64"}, "multiples of 32, not 32, 48, 64, 64"),
        (STABLE, {"widths": "32,64"}, "of 2 widths has the factor 2, not 8: give both"),
    ],
)
def test_what_cannot_be_built_is_said(name, args, words):
    with pytest.raises(UserError, match=words):
        autoencoder(name, 3, (16, 16), **args)
