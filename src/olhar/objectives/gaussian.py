"""The normal distribution (Eq 1.9) of a number, or of several independent ones.

Shapes: N batch; `...` are the numbers of one example, none where it has just one.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

# A network can drive its variance to 0 on examples it knows by heart; the squared error is divided by it, and
# one new example then throws the weights away. e^-14 is a deviation of a thousandth of a standardised target.
# At the other end, a deviation of a thousand, the mean learns no more: its gradient is divided by it too.
LOG_VARIANCE_BOUNDS = (-14.0, 14.0)


@dataclass(frozen=True, eq=False)
class Gaussian:
    """N(mean, exp(log_variance)), every number for itself.

    Args:
        mean: [N, ...].
        log_variance: log σ², a tensor where the model learns it (kept inside LOG_VARIANCE_BOUNDS): [N, ...], or
            of no axes, one σ for all. A plain number where it is fixed: with 0, σ = 1, and the nll is half the
            squared error and a constant, least squares.
    """

    mean: Float[Tensor, "N ..."]
    log_variance: Float[Tensor, "N ..."] | Float[Tensor, ""] | float = 0.0

    @property
    def _exact(self) -> tuple[Tensor, Tensor]:
        """Mean and log σ² [N, ...] in float32 at least."""
        exact = torch.promote_types(self.mean.dtype, torch.float32)
        mean = self.mean.to(exact)
        if isinstance(self.log_variance, Tensor):
            return mean, self.log_variance.to(exact).clamp(*LOG_VARIANCE_BOUNDS).expand_as(mean)
        return mean, torch.full_like(mean, self.log_variance)

    @property
    def variance(self) -> Float[Tensor, "N ..."]:
        """σ²."""
        return self._exact[1].exp()

    def nll(self, target: Float[Tensor, "N ..."]) -> Float[Tensor, " N"]:
        """-log p(target) in nats, summed over the numbers of an example.

        ½ log(2π σ²) + (target - mean)² / 2σ², from Eq 1.9. p is a density: where σ < 1/√(2π) = 0.3989 it can
        exceed 1, and the nll is then less than 0.
        """
        mean, log_variance = self._exact
        squared = (target - mean) ** 2 * (-log_variance).exp()
        return per_example(0.5 * (math.log(2 * math.pi) + log_variance + squared))

    def mode(self) -> Float[Tensor, "N ..."]:
        """The mean, where the density is highest."""
        return self.mean

    def sample(self, generator: torch.Generator | None = None) -> Float[Tensor, "N ..."]:
        """mean + σ ε with ε ~ N(0, 1): gradients pass through mean and variance (reparametrised)."""
        mean, log_variance = self._exact
        noise = torch.randn(mean.shape, generator=generator, device=mean.device, dtype=mean.dtype)
        return mean + (0.5 * log_variance).exp() * noise

    def entropy(self) -> Float[Tensor, " N"]:
        """½ log(2π e σ²) in nats, summed over the numbers of an example; negative for a small σ."""
        return per_example(0.5 * (math.log(2 * math.pi * math.e) + self._exact[1]))

    def kl(self, other: "Gaussian") -> Float[Tensor, " N"]:
        """KL(self ‖ other) in nats, summed over the numbers of an example."""
        mean, log_variance = self._exact
        other_mean, other_log_variance = other._exact
        ratio = (log_variance - other_log_variance).exp()
        squared = (mean - other_mean) ** 2 * (-other_log_variance).exp()
        return per_example(0.5 * (ratio + squared - 1 - (log_variance - other_log_variance)))


def per_example(x: Float[Tensor, "N ..."]) -> Float[Tensor, " N"]:
    """The sum over all axes but the batch."""
    return x.flatten(1).sum(1) if x.ndim > 1 else x
