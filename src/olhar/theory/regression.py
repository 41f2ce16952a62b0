"""Linear and logistic regression (section 1.4, Figures 1.5 and 1.6): two parameters, so that their error is a surface.

Linear regression is maximum likelihood with a normal distribution of fixed σ (Eq 1.9), logistic regression with the
sigmoid (Eq 1.14) and the cross-entropy (Eq 1.15).

Shapes: n points, A B values of intercept and slope, T steps, d features.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import logsigmoid

from olhar.errors import UserError

# (intercept, slope, x, y) -> the error of each candidate; intercept and slope broadcast.
Error = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def residuals(intercept: float, slope: float, x: Float[Tensor, " n"], y: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """y - (φ0 + φ1 x): the dashed lines of Figure 1.5."""
    return y - (intercept + slope * x)


def probability(intercept: float, slope: float, x: Float[Tensor, " n"]) -> Float[Tensor, " n"]:
    """p = σ(φ0 + φ1 x) (Eq 1.14): what logistic regression says of the class 1."""
    return torch.sigmoid(intercept + slope * x)


def squared_error(intercept: Tensor, slope: Tensor, x: Float[Tensor, " n"], y: Float[Tensor, " n"]) -> Tensor:
    """Σ (y - φ0 - φ1 x)² of one candidate or of many (Figure 1.6)."""
    return (y - intercept[..., None] - slope[..., None] * x).square().sum(-1)


def logistic_error(intercept: Tensor, slope: Tensor, x: Float[Tensor, " n"], y: Float[Tensor, " n"]) -> Tensor:
    """-Σ log p(y) with p = σ(φ0 + φ1 x) and y in {0, 1}: Eq 1.16 for two classes, computed from the scores."""
    score = intercept[..., None] + slope[..., None] * x
    return -(y * logsigmoid(score) + (1 - y) * logsigmoid(-score)).sum(-1)


def least_squares(x: Float[Tensor, " n"], y: Float[Tensor, " n"]) -> tuple[float, float]:
    """(φ0, φ1) of the least squared error, in closed form: slope = cov(x, y) / var(x), through the point of means.

    Raises:
        UserError: all x are one number, and no slope is better than another.
    """
    spread = (x - x.mean()).square().sum()
    if spread == 0:
        raise UserError(f"All {len(x)} points have the same x: a line needs two different ones.")
    slope = ((x - x.mean()) * (y - y.mean())).sum() / spread
    return (y.mean() - slope * x.mean()).item(), slope.item()


@dataclass(frozen=True, eq=False)
class Surface:
    """The error of every pair of intercept and slope."""

    intercepts: Float[Tensor, " A"]
    slopes: Float[Tensor, " B"]
    error: Float[Tensor, "A B"]


def surface(
    error: Error,
    x: Float[Tensor, " n"],
    y: Float[Tensor, " n"],
    intercepts: Float[Tensor, " A"],
    slopes: Float[Tensor, " B"],
) -> Surface:
    """The error over a grid (Figure 1.6)."""
    a, b = torch.meshgrid(intercepts, slopes, indexing="ij")
    return Surface(intercepts, slopes, error(a, b, x, y))


@dataclass(frozen=True, eq=False)
class Descent:
    """Where a descent was, T + 1 places with the start, and the error there."""

    intercepts: Float[Tensor, " T"]
    slopes: Float[Tensor, " T"]
    error: Float[Tensor, " T"]

    @property
    def end(self) -> tuple[float, float]:
        return self.intercepts[-1].item(), self.slopes[-1].item()


def descend(
    error: Error,
    x: Float[Tensor, " n"],
    y: Float[Tensor, " n"],
    start: tuple[float, float] = (0.0, 0.0),
    lr: float = 0.1,
    steps: int = 200,
    momentum: float = 0.0,
) -> Descent:
    """Gradient descent on the mean error over the points (Eq 1.62 without decay), with its path.

    With momentum each step also goes on in the direction of the one before, as torch's SGD does.

    Raises:
        UserError: the steps grew without end.
    """
    place = torch.tensor(start, dtype=x.dtype, requires_grad=True)
    velocity = torch.zeros_like(place)
    path = []
    for _ in range(steps + 1):
        loss = error(place[0], place[1], x, y)
        if not torch.isfinite(loss):
            raise UserError(f"The error left all numbers after {len(path)} steps: choose a learning rate below {lr}.")
        path.append((*place.tolist(), loss.item()))
        (gradient,) = torch.autograd.grad(loss / len(x), place)
        velocity = momentum * velocity + gradient
        place = (place - lr * velocity).detach().requires_grad_()
    return Descent(*torch.tensor(path, dtype=x.dtype).T)


def powers(x: Float[Tensor, " n"], degree: int) -> Float[Tensor, "n d"]:
    """1, x, x², ..., x^degree of each point."""
    return x[:, None] ** torch.arange(degree + 1)


def ridge(features: Float[Tensor, "n d"], y: Float[Tensor, " n"], decay: float) -> Float[Tensor, " d"]:
    """w of the least Σ (y - w·features)² + λ Σ w² (Eq 1.60), in closed form: (XᵀX + λI)⁻¹ Xᵀy.

    The first feature, the constant, is not penalised: a curve is not smoother for being nearer to zero.
    """
    penalised = torch.ones(features.shape[1], dtype=features.dtype)
    penalised[0] = 0
    # as least squares with one more point for every weight: no matrix is squared
    extra = torch.diag((decay * penalised).sqrt())
    stacked = torch.cat([features, extra])
    wanted = torch.cat([y, y.new_zeros(len(extra))])
    return torch.linalg.lstsq(stacked, wanted[:, None], driver="gelsd").solution[:, 0]
