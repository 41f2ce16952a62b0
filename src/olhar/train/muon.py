"""Muon: momentum whose every direction moves the weights equally far (Jordan et al. 2024, "Muon").

A gradient step along a matrix of weights is dominated by its few largest singular values. Muon replaces the
momentum by the nearest orthogonal matrix, so that the rare directions are learnt as fast as the common ones. It
serves short trainings from random weights.
"""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor
from torch.optim.adamw import adamw

ADAPTIVE = 0.1  # the rate of AdamW, of that of Muon: 0.002 beside 0.02 is usual for both


def orthogonalize(matrix: Float[Tensor, "m n"], steps: int = 5) -> Float[Tensor, "m n"]:
    """The matrix with its singular values brought near 1 (between 0.7 and 1.2), its singular vectors kept.

    Newton-Schulz: p(X) = aX + b(XXᵀ)X + c(XXᵀ)²X maps each singular value s to as + bs³ + cs⁵. The coefficients
    are those of the source: they raise small values fast and need not converge to exactly 1. Computed in float32:
    half precision is emulated, and slower, on most processors.

    p(X) is a polynomial P of the Gram matrix G = XXᵀ times X, and the next Gram matrix is PGP: so all steps are done
    on small square matrices, and X is multiplied once, at the end. For filters of 3x3 that is less than half the work.
    """
    a, b, c = 3.4445, -4.7750, 2.0315
    x = matrix.float()
    wide = x if x.shape[0] <= x.shape[1] else x.T
    wide = wide / (wide.norm() + 1e-7)  # all singular values at most 1, where p is a contraction towards 1
    gram, product = wide @ wide.T, None
    for step in range(steps):
        polynomial = torch.addmm(gram, gram, gram, beta=b, alpha=c)
        polynomial.diagonal().add_(a)
        product = polynomial if product is None else polynomial @ product
        if step < steps - 1:
            gram = polynomial @ gram @ polynomial
    assert product is not None
    wide = product @ wide
    return (wide if x.shape[0] <= x.shape[1] else wide.T).to(matrix.dtype)


class Muon(torch.optim.Optimizer):
    """Muon for the groups that say `orthogonal`, AdamW for those that say `adaptive`, SGD with Nesterov's momentum for
    the others.

    Args:
        params: groups; a filter bank [C_out, C_in, h, w] counts as a matrix [C_out, C_in h w].
        lr: of all kinds; of an adaptive group `ADAPTIVE` times as much.
        weight_decay: decoupled for orthogonal and adaptive groups (w <- w - lr decay w), else in the gradient.
    """

    def __init__(self, params: Iterable[dict[str, Any]], lr: float, momentum: float = 0.9, weight_decay: float = 0.0):
        usual = {"lr": lr, "momentum": momentum, "weight_decay": weight_decay, "orthogonal": False, "adaptive": False}
        super().__init__(params, usual)

    @torch.no_grad()
    def step(self, closure: Callable[[], Tensor] | None = None) -> Tensor | None:  # type: ignore[override]
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            moved = [parameter for parameter in group["params"] if parameter.grad is not None]
            if group["adaptive"]:
                self.adapt(moved, group)
            else:
                for parameter in moved:
                    self.move(parameter, parameter.grad, group)
        return loss

    def adapt(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        """AdamW (Loshchilov and Hutter 2019, arXiv 1711.05101), all parameters of a group at once."""
        lr = ADAPTIVE * group["lr"]
        for parameter in parameters:
            if "step" not in (state := self.state[parameter]):
                zeros = torch.zeros_like(parameter)
                state.update(step=torch.zeros(()), exp_avg=zeros, exp_avg_sq=zeros.clone())
        states = [self.state[parameter] for parameter in parameters]
        adamw(
            parameters,
            [parameter.grad for parameter in parameters if parameter.grad is not None],
            [state["exp_avg"] for state in states],
            [state["exp_avg_sq"] for state in states],
            [],
            [state["step"] for state in states],
            foreach=True,
            amsgrad=False,
            beta1=0.9,
            beta2=0.99,
            lr=lr,
            weight_decay=group["weight_decay"],
            eps=1e-8,
            maximize=False,
        )

    def move(self, parameter: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        """One parameter one step."""
        lr, momentum, decay = group["lr"], group["momentum"], group["weight_decay"]
        if not group["orthogonal"] and decay:
            gradient = gradient.add(parameter, alpha=decay)
        state = self.state[parameter]
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        buffer = state["momentum_buffer"]
        buffer.mul_(momentum).add_(gradient)
        update = gradient.add(buffer, alpha=momentum)  # Nesterov: where the momentum is about to be
        if group["orthogonal"]:
            rows = len(update)
            update = orthogonalize(update.reshape(rows, -1)).view_as(update)
            # an update of the same size an element, whatever the shape
            update = update * max(1.0, rows / update[0].numel()) ** 0.5
            parameter.mul_(1 - lr * decay)
        parameter.add_(update, alpha=-lr)
