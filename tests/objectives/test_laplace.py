"""The Laplace distribution beside torch.distributions, and what it minimises."""

import math

import pytest
import torch
from torch import distributions as theirs

from olhar.objectives.laplace import LOG_SCALE_BOUNDS, Laplace


def numbers(*shape):
    """Mean, log of the scale, target."""
    torch.manual_seed(0)
    return torch.randn(3, *shape)


@pytest.mark.parametrize("shape", [(6,), (2, 3, 4, 5)])
def test_it_agrees_with_torch(shape):
    mean, log_scale, target = numbers(*shape)
    ours, reference = Laplace(mean, log_scale), theirs.Laplace(mean, log_scale.exp())

    def total(x):
        return x.reshape(shape[0], -1).sum(1)

    torch.testing.assert_close(ours.nll(target), -total(reference.log_prob(target)))
    torch.testing.assert_close(ours.entropy(), total(reference.entropy()))
    torch.testing.assert_close(ours.variance, reference.variance)
    other = theirs.Laplace(target, torch.tensor(0.4).exp())
    torch.testing.assert_close(ours.kl(Laplace(target, 0.4)), total(theirs.kl_divergence(reference, other)))


def test_a_fixed_scale_is_least_absolute_errors():
    mean, _, target = numbers(6)
    torch.testing.assert_close(Laplace(mean).nll(target), (mean - target).abs() + math.log(2))
    assert torch.equal(Laplace(mean).mode(), mean)


def test_the_likeliest_has_the_median_and_the_mean_distance_from_it():
    torch.manual_seed(0)
    x = torch.randn(101, dtype=torch.float64).exp()  # skewed: mean and median are apart
    median = x.median()
    log_scale = (x - median).abs().mean().log().requires_grad_()

    def nll(at):
        return Laplace(at.expand(101), log_scale).nll(x).sum()

    (slope,) = torch.autograd.grad(nll(median), log_scale)
    assert abs(slope.item()) < 1e-10
    assert nll(median) < nll(median + 1e-3)
    assert nll(median) < nll(median - 1e-3)
    assert nll(median) < nll(x.mean())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_extreme_outputs_stay_finite(dtype):
    mean = torch.tensor([1e4, -1e4, 0.0], dtype=dtype, requires_grad=True)
    log_scale = torch.tensor([-1e4, 1e4, -1e4], dtype=dtype, requires_grad=True)
    p = Laplace(mean, log_scale)
    nll = p.nll(torch.zeros(3))
    assert nll.dtype == torch.float32
    nll.sum().backward()
    for value in (nll, p.variance, p.entropy(), p.sample(), p.kl(Laplace(torch.zeros(3))), mean.grad):
        assert value is not None
        assert value.isfinite().all()
    low, high = LOG_SCALE_BOUNDS
    assert (p.variance / 2).log().div(2).tolist() == pytest.approx([low, high, low], rel=1e-4)


def test_samples_have_the_quantiles():
    p = Laplace(torch.full((20_000,), 2.0), torch.full((20_000,), math.log(3.0)))
    drawn = p.sample(torch.Generator().manual_seed(0)).sort().values
    for share in (0.05, 0.25, 0.5, 0.9):
        expected = theirs.Laplace(2.0, 3.0).icdf(torch.tensor(share)).item()
        assert drawn[int(share * 20_000)].item() == pytest.approx(expected, abs=0.25)


def test_gradients_pass_through_samples():
    mean, log_scale = torch.zeros(4, requires_grad=True), torch.zeros(4, requires_grad=True)
    Laplace(mean, log_scale).sample().sum().backward()
    assert mean.grad is not None
    assert torch.equal(mean.grad, torch.ones(4))
    assert log_scale.grad is not None
    assert log_scale.grad.all()


def test_one_learned_number_serves_all():
    mean, _, target = numbers(2, 3, 4)
    one = torch.tensor(0.3, requires_grad=True)
    ours = Laplace(mean, one)
    same = Laplace(mean, torch.full_like(mean, 0.3))
    torch.testing.assert_close(ours.nll(target), same.nll(target))
    torch.testing.assert_close(ours.entropy(), same.entropy())
    torch.testing.assert_close(ours.kl(Laplace(target)), same.kl(Laplace(target)))
    ours.nll(target).sum().backward()
    assert one.grad is not None
    expected = (1 - (target - mean).abs() * math.exp(-0.3)).sum()  # d nll / d log b
    torch.testing.assert_close(one.grad, expected)
