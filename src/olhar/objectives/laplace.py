"""The Laplace distribution of a number, or of several independent ones: least absolute errors.

Where the Gaussian's mode is the mean of what a target may be, this one's is the median: a few wild targets, or
the edges of an image, pull it less.

Shapes: N batch; `...` are the numbers of one example, none where it has just one.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from olhar.objectives.gaussian import LOG_VARIANCE_BOUNDS, per_example

# A learned scale runs to 0, or away, for the reason that a deviation does: its bounds are those of log σ.
LOG_SCALE_BOUNDS = (LOG_VARIANCE_BOUNDS[0] / 2, LOG_VARIANCE_BOUNDS[1] / 2)


@dataclass(frozen=True, eq=False)
class Laplace:
    """p(y) = exp(-|y - mean| / b) / 2b with b = exp(log_scale), every number for itself.

    Args:
        mean: [N, ...], the median as well.
        log_scale: log b, a tensor where the model learns it (kept inside LOG_SCALE_BOUNDS): [N, ...], or of no
            axes, one b for all. A plain number where it is fixed: with 0 the nll is the absolute error and log 2.
    """

    mean: Float[Tensor, "N ..."]
    log_scale: Float[Tensor, "N ..."] | Float[Tensor, ""] | float = 0.0

    @property
    def _exact(self) -> tuple[Tensor, Tensor]:
        """Mean and log b [N, ...] in float32 at least."""
        exact = torch.promote_types(self.mean.dtype, torch.float32)
        mean = self.mean.to(exact)
        if isinstance(self.log_scale, Tensor):
            return mean, self.log_scale.to(exact).clamp(*LOG_SCALE_BOUNDS).expand_as(mean)
        return mean, torch.full_like(mean, self.log_scale)

    @property
    def variance(self) -> Float[Tensor, "N ..."]:
        """2 b²."""
        return 2 * (2 * self._exact[1]).exp()

    def nll(self, target: Float[Tensor, "N ..."]) -> Float[Tensor, " N"]:
        """-log p(target) = log 2b + |target - mean| / b in nats, summed over the numbers of an example.

        p is a density: where b < 1/2 it can exceed 1, and the nll is then less than 0.
        """
        mean, log_scale = self._exact
        return per_example(math.log(2) + log_scale + (target - mean).abs() * (-log_scale).exp())

    def mode(self) -> Float[Tensor, "N ..."]:
        """The mean, where the density is highest."""
        return self.mean

    def sample(self, generator: torch.Generator | None = None) -> Float[Tensor, "N ..."]:
        """mean + b ε, with ε ~ Laplace(0, 1): gradients pass through mean and scale (reparametrised)."""
        mean, log_scale = self._exact
        uniform = torch.rand((2, *mean.shape), generator=generator, device=mean.device, dtype=mean.dtype)
        # The difference of two exponentials. 1 - u is in (0, 1]: its logarithm is finite.
        first, second = -torch.log1p(-uniform)
        return mean + log_scale.exp() * (first - second)

    def entropy(self) -> Float[Tensor, " N"]:
        """log 2be in nats, summed over the numbers of an example; negative for a small b."""
        return per_example(1 + math.log(2) + self._exact[1])

    def kl(self, other: "Laplace") -> Float[Tensor, " N"]:
        """KL(self ‖ other) in nats, summed over the numbers of an example."""
        mean, log_scale = self._exact
        other_mean, other_log_scale = other._exact
        scale, distance = log_scale.exp(), (mean - other_mean).abs()
        expected = scale * (-distance / scale).exp() + distance  # of |y - other_mean| under self
        return per_example(other_log_scale - log_scale + expected * (-other_log_scale).exp() - 1)
