"""Likelihood (section 1.1.1, Eq 1.1-1.8): how probable a model makes the data, and what follows from it.

A model is a function f(x; θ) that gives the probability of each value x; the likelihood of independent data is the
product of f over them. The die is the notes' example: six sides, of which one may be biased.

Shapes: n throws or values, S sides, P candidate parameters.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor

from olhar.errors import UserError

SIDES = 6
Model = Callable[[Tensor], Tensor]
# Two probabilities count as equally small within this share of each other: they are sums of rounded logarithms.
TIE = 1e-7


def likelihood(f: Model, data: Tensor) -> Float[Tensor, ""]:
    """L(s; θ) = Π f(x_i; θ) (Eq 1.6). It is 0 in the computer long before it is 0: see `underflows_at`."""
    return f(data).prod()


def log_likelihood(f: Model, data: Tensor) -> Float[Tensor, ""]:
    """log L(s; θ) = Σ log f(x_i; θ) (Eq 1.7), in nats: the product's logarithm without the product."""
    return f(data).log().sum()


def negative_log_likelihood(f: Model, data: Tensor) -> Float[Tensor, ""]:
    """-Σ log f(x_i; θ) (Eq 1.8), in nats; L = exp(-it).

    At least 0 where f is a probability. Where f is a density, as the normal is, f can exceed 1 and this be negative.
    """
    return -log_likelihood(f, data)


@dataclass(frozen=True, eq=False)
class Die:
    """f(x) = p_x, x = 1 ... S: the categorical model of a die.

    Args:
        probabilities: of each side, summing to 1: one less is free than there are sides.
    """

    probabilities: Float[Tensor, " S"]

    @classmethod
    def fair(cls, sides: int = SIDES) -> "Die":
        """Every side 1/S: P(s) = 1/S^n (Eq 1.2)."""
        return cls(torch.full((sides,), 1 / sides, dtype=torch.float64))

    @classmethod
    def biased(cls, p1: float, sides: int = SIDES) -> "Die":
        """Side 1 with p1, the others with p = (1 - p1) / (S - 1), because all sum to 1 (Eq 1.4)."""
        others = (1 - p1) / (sides - 1)
        return cls(torch.tensor([p1] + [others] * (sides - 1), dtype=torch.float64))

    @classmethod
    def of(cls, throws: Int[Tensor, " n"], sides: int = SIDES) -> "Die":
        """The likeliest die: each side as often as it was thrown, p_x = n_x / n."""
        return cls(count(throws, sides) / len(throws))

    def __call__(self, throws: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
        """The factor of each throw (Eq 1.1, 1.4)."""
        return self.probabilities[throws - 1]

    def throw(self, n: int, generator: torch.Generator | None = None) -> Int[Tensor, " n"]:
        """n throws of it."""
        return torch.multinomial(self.probabilities, n, replacement=True, generator=generator) + 1


def count(throws: Int[Tensor, " n"], sides: int = SIDES) -> Int[Tensor, " S"]:
    """How often each side came.

    Raises:
        UserError: a throw is no side of the die.
    """
    wrong = throws[(throws < 1) | (throws > sides)]
    if len(wrong):
        raise UserError(f"A die of {sides} sides cannot show {int(wrong[0])}: write throws from 1 to {sides}.")
    return torch.bincount(throws - 1, minlength=sides)


def log_likelihood_of_bias(
    p1: Float[Tensor, " P"] | float, n1: int, n: int, sides: int = SIDES
) -> Float[Tensor, " P"] | float:
    """log P(s; p1) = n1 log p1 + (n - n1) log p with p = (1 - p1) / (S - 1) (Eq 1.5, Figure 1.2)."""
    p1 = torch.as_tensor(p1, dtype=torch.float64)
    p = (1 - p1) / (sides - 1)
    # n log p with 0 log 0 = 0: a side that never came says nothing against a probability of 0
    value = torch.special.xlogy(n1, p1) + torch.special.xlogy(n - n1, p)
    return value if value.ndim else value.item()


def underflows_at(p: float, dtype: torch.dtype = torch.float64) -> int:
    """The least n for which p^n, multiplied factor by factor, is 0 in a floating-point type.

    In float32 1/6 is rounded up a little and the product of 59 is the first that is 0. Divided by 6 each time the
    58th is: both are half a step of the smallest number, where rounding decides.
    """
    factor = torch.tensor(p, dtype=dtype)
    if not 0 <= factor < 1:
        raise UserError(f"A product of factors {p} never becomes 0: give a probability below 1.")
    product, n = torch.ones((), dtype=dtype), 0
    while product > 0:
        product, n = product * factor, n + 1
    return n


@dataclass(frozen=True)
class Evidence:
    """How surprising the data are where the restricted model holds: `p` is the probability of as much or more."""

    statistic: float
    p: float


def likelihood_ratio_test(restricted: float, free: float, parameters: int) -> Evidence:
    """Is the freer model better by more than chance? Wilks: 2 (log L_free - log L_restricted) ~ χ² if it is not.

    The largest likelihood of a model with more parameters is never smaller, so that "its maximum is elsewhere" says
    nothing yet: 12 ones in 40 throws of a fair die come or are exceeded about one time in thirty.

    Args:
        restricted: log-likelihood of the model with fewer parameters, at its maximum.
        free: the same of the freer one, which contains it.
        parameters: how many more are free: 1 for p1 against a fair die, 5 for six probabilities that sum to 1.
    """
    statistic = max(0.0, 2 * (free - restricted))
    return Evidence(statistic, chi_squared_survival(statistic, parameters))


def chi_squared_survival(x: float, degrees: int) -> float:
    """P(χ² ≥ x) = Γ(k/2, x/2) / Γ(k/2)."""
    half = torch.tensor([degrees / 2, x / 2], dtype=torch.float64)
    return torch.special.gammaincc(half[0], half[1]).item()


def exact_binomial_test(successes: int, n: int, p: float) -> Evidence:
    """The same question without Wilks' limit of large n, two-sided: all outcomes no likelier than this one.

    The statistic is the share of successes.
    """
    k = torch.arange(n + 1, dtype=torch.float64)
    choose = torch.lgamma(torch.tensor(n + 1.0, dtype=torch.float64)) - torch.lgamma(k + 1) - torch.lgamma(n - k + 1)
    pmf = (choose + torch.special.xlogy(k, torch.tensor(p)) + torch.special.xlogy(n - k, torch.tensor(1 - p))).exp()
    return Evidence(successes / n, pmf[pmf <= pmf[successes] * (1 + TIE)].sum().clamp(max=1).item())


@dataclass(frozen=True)
class Bell:
    """Mean and standard deviation of a curve over p1."""

    mean: float
    deviation: float


def normalised_likelihood(n1: int, n: int) -> Bell:
    """Of Eq 1.5 divided by its area: Beta(n1 + 1, n - n1 + 1) (footnote 6)."""
    a, b = n1 + 1, n - n1 + 1
    return Bell(a / (a + b), math.sqrt(a * b / (a + b + 1)) / (a + b))


def normal_approximation(n1: int, n: int) -> Bell:
    """The normal curve that the likelihood's shape in p1 tends to: at its peak, with its curvature there.

    It is this shape that becomes normal as n grows (footnote 6): the likelihood of fixed data is no random variable.
    """
    peak = n1 / n
    return Bell(peak, math.sqrt(peak * (1 - peak) / n))
