"""The normal distribution fitted in three ways (Eq 1.9-1.11, Figure 1.3): by grid, by descent, in closed form.

The density of Eq 1.9 is the library's own objective (olhar.objectives.gaussian), so that what is fitted here by hand is
what a network is trained with.

Shapes: n values, M means, S deviations, T steps.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from olhar.errors import UserError
from olhar.objectives.gaussian import Gaussian

# σ below which the density exceeds 1 at its peak and the negative log-likelihood can be less than 0.
DEVIATION_OF_DENSITY_ONE = 1 / math.sqrt(2 * math.pi)


def density(x: Tensor, mean: float, deviation: float) -> Tensor:
    """f(x; μ, σ) of Eq 1.9: probability per unit of x, and therefore greater than 1 where σ < 0.3989."""
    return (-((x - mean) ** 2) / (2 * deviation**2)).exp() / math.sqrt(2 * math.pi * deviation**2)


def nll(data: Float[Tensor, " n"], mean: float, deviation: float) -> float:
    """Eq 1.8 for Eq 1.9, summed over the data, in nats."""
    return Gaussian(torch.full_like(data, mean), 2 * math.log(deviation)).nll(data).sum().item()


@dataclass(frozen=True, eq=False)
class Grid:
    """The negative log-likelihood of every candidate, and the best of them."""

    means: Float[Tensor, " M"]
    deviations: Float[Tensor, " S"]
    nll: Float[Tensor, "M S"]

    @property
    def best(self) -> tuple[float, float]:
        """(μ, σ) of the least."""
        i, j = divmod(int(self.nll.argmin()), len(self.deviations))
        return self.means[i].item(), self.deviations[j].item()


def grid_search(data: Float[Tensor, " n"], means: Float[Tensor, " M"], deviations: Float[Tensor, " S"]) -> Grid:
    """The procedure of four steps: try every θ* = (μ*, σ*) and keep the one with the least NLL."""
    squares = (data - means[:, None]).square().sum(1)
    constant = len(data) * (deviations.log() + 0.5 * math.log(2 * math.pi))
    return Grid(means, deviations, constant + squares[:, None] / (2 * deviations**2))


def gradient(data: Float[Tensor, " n"], mean: float, deviation: float) -> tuple[float, float]:
    """(∂NLL/∂μ, ∂NLL/∂σ) = (-Σ(x-μ)/σ², n/σ - Σ(x-μ)²/σ³), in closed form."""
    error = data - mean
    by_deviation = len(data) / deviation - error.square().sum().item() / deviation**3
    return -error.sum().item() / deviation**2, by_deviation


@dataclass(frozen=True, eq=False)
class Path:
    """Where a descent was, T + 1 places with the start."""

    means: Float[Tensor, " T"]
    deviations: Float[Tensor, " T"]
    nll: Float[Tensor, " T"]

    @property
    def end(self) -> tuple[float, float]:
        return self.means[-1].item(), self.deviations[-1].item()


def descend(
    data: Float[Tensor, " n"], start: tuple[float, float] = (0.0, 1.0), lr: float = 0.1, steps: int = 1000
) -> Path:
    """The procedure of six steps: θ* = θ* - lr ∇NLL(θ*), with the NLL's mean over the data.

    The mean and not the sum, so that lr means the same for 100 values and for 10,000. This is gradient descent. It is
    not expectation-maximization, which alternates between the distribution of hidden variables and the parameters;
    here nothing is hidden.

    Raises:
        UserError: σ left the positive numbers; the cure is a smaller lr.
    """
    mean, deviation = start
    places = [(mean, deviation, nll(data, mean, deviation))]
    for step in range(1, steps + 1):
        by_mean, by_deviation = gradient(data, mean, deviation)
        mean -= lr * by_mean / len(data)
        deviation -= lr * by_deviation / len(data)
        if not deviation > 0:
            raise UserError(f"Step {step} made the deviation {deviation:.3g}: choose a learning rate below {lr}.")
        places.append((mean, deviation, nll(data, mean, deviation)))
    return Path(*torch.tensor(places, dtype=torch.float64).T)


def estimate(data: Float[Tensor, " n"]) -> tuple[float, float]:
    """(μ, σ) of the maximum in closed form: the mean (Eq 1.10) and the root of the variance over n (Eq 1.11).

    torch.var divides by n - 1 unless told otherwise: that is unbiased, and not the likeliest.
    """
    return data.mean().item(), data.var(correction=0).sqrt().item()
