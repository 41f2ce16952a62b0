"""The normal distribution beside Eq 1.8-1.11, torch.distributions and torch's losses."""

import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence
from torch.nn import functional as F

from olhar.objectives.gaussian import LOG_VARIANCE_BOUNDS, Gaussian


@pytest.fixture
def numbers():
    """Mean, log of the variance, target: each [6]."""
    torch.manual_seed(0)
    return torch.randn(3, 6)


def test_learned_variance_agrees_with_torch(numbers):
    mean, log_variance, target = numbers
    ours, theirs = Gaussian(mean, log_variance), Normal(mean, (log_variance / 2).exp())
    torch.testing.assert_close(ours.nll(target), -theirs.log_prob(target))
    torch.testing.assert_close(ours.entropy(), theirs.entropy())
    torch.testing.assert_close(ours.variance, theirs.variance)
    expected = F.gaussian_nll_loss(mean, target, log_variance.exp(), full=True, reduction="none")
    torch.testing.assert_close(ours.nll(target), expected)
    other = Gaussian(target, 0.4)
    expected = kl_divergence(theirs, Normal(target, math.exp(0.2)))
    torch.testing.assert_close(ours.kl(other), expected)


def test_fixed_variance_is_least_squares(numbers):
    mean, _, target = numbers
    constant = 0.5 * math.log(2 * math.pi)
    torch.testing.assert_close(Gaussian(mean).nll(target), (mean - target) ** 2 / 2 + constant)
    assert torch.equal(Gaussian(mean).mode(), mean)


def test_nll_of_a_density_can_be_negative():
    # σ = 1/√(2π) = 0.3989 is where the density at the mean is 1, and its logarithm 0.
    at = torch.zeros(1)
    sigma = 1 / math.sqrt(2 * math.pi)
    assert Gaussian(at, 2 * math.log(sigma)).nll(at).item() == pytest.approx(0, abs=1e-6)
    assert Gaussian(at, 2 * math.log(0.9 * sigma)).nll(at).item() < 0 < Gaussian(at).nll(at).item()


def test_the_likeliest_gaussian_has_the_mean_and_the_1_n_variance():
    torch.manual_seed(0)
    x = 3 + 2 * torch.randn(100, dtype=torch.float64)
    best = torch.stack([x.mean(), x.var(correction=0).log()])  # Eq 1.10 and 1.11

    def nll(theta):
        return Gaussian(theta[0].expand(100), theta[1].expand(100)).nll(x).sum()

    slope = torch.autograd.functional.jacobian(nll, best)
    curvature = torch.autograd.functional.hessian(nll, best)
    assert slope.abs().max() < 1e-10
    assert (torch.linalg.eigvalsh(curvature) > 0).all()


def test_several_numbers_an_example_are_summed():
    torch.manual_seed(0)
    mean, log_variance, target = torch.randn(3, 2, 4, 5)
    theirs = Normal(mean, (log_variance / 2).exp())
    ours = Gaussian(mean, log_variance)
    torch.testing.assert_close(ours.nll(target), -theirs.log_prob(target).flatten(1).sum(1))
    torch.testing.assert_close(ours.entropy(), theirs.entropy().flatten(1).sum(1))
    standard = Gaussian(torch.zeros_like(mean))
    vae = 0.5 * (mean**2 + log_variance.exp() - 1 - log_variance)  # Kingma & Welling 2014, appendix B
    torch.testing.assert_close(ours.kl(standard), vae.flatten(1).sum(1))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_outputs_stay_finite(dtype):
    mean = torch.tensor([1e4, -1e4, 0.0], dtype=dtype, requires_grad=True)
    log_variance = torch.tensor([-1e4, 1e4, -1e4], dtype=dtype, requires_grad=True)
    p = Gaussian(mean, log_variance)
    nll = p.nll(torch.zeros(3))
    assert nll.dtype == torch.float32
    nll.sum().backward()
    for value in (nll, p.variance, p.entropy(), p.sample(), mean.grad):
        assert value is not None
        assert value.isfinite().all()
    low, high = LOG_VARIANCE_BOUNDS
    assert p.variance.log().tolist() == pytest.approx([low, high, low], rel=1e-4)


def test_samples_have_the_mean_and_the_variance():
    mean, log_variance = torch.full((20_000,), 2.0), torch.full((20_000,), math.log(9.0))
    drawn = Gaussian(mean, log_variance).sample(torch.Generator().manual_seed(0))
    assert drawn.mean().item() == pytest.approx(2, abs=0.1)
    assert drawn.var().item() == pytest.approx(9, abs=0.4)


def test_gradients_pass_through_samples():
    mean, log_variance = torch.zeros(4, requires_grad=True), torch.zeros(4, requires_grad=True)
    Gaussian(mean, log_variance).sample().sum().backward()
    assert mean.grad is not None
    assert torch.equal(mean.grad, torch.ones(4))
    assert log_variance.grad is not None
    assert log_variance.grad.all()


def test_one_learned_number_serves_all():
    torch.manual_seed(0)
    mean, target = torch.randn(2, 2, 3, 4)
    one = torch.tensor(0.3, requires_grad=True)
    ours, same = Gaussian(mean, one), Gaussian(mean, torch.full_like(mean, 0.3))
    torch.testing.assert_close(ours.nll(target), same.nll(target))
    torch.testing.assert_close(ours.entropy(), same.entropy())
    torch.testing.assert_close(ours.kl(Gaussian(target)), same.kl(Gaussian(target)))
    assert ours.variance.shape == ours.sample().shape == mean.shape
    ours.nll(target).sum().backward()
    assert one.grad is not None
    expected = 0.5 * (1 - (target - mean) ** 2 * math.exp(-0.3)).sum()  # d nll / d log σ²
    torch.testing.assert_close(one.grad, expected)
