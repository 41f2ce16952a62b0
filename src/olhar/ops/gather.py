"""The same tensor of all processes, one below the other, with gradients: what a loss over the whole batch needs.

Shapes: n examples of this process, world processes.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from jaxtyping import Shaped
from torch import Tensor, distributed

_together: ContextVar[bool] = ContextVar("together", default=True)


class _Gather(torch.autograd.Function):
    """Forward: all_gather. Backward: every process used these rows, so their gradients add up."""

    @staticmethod
    def forward(ctx: Any, own: Tensor) -> Tensor:  # type: ignore[override]
        parts = [torch.empty_like(own) for _ in range(distributed.get_world_size())]
        distributed.all_gather(parts, own.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        gradient = gradient.contiguous()
        distributed.all_reduce(gradient)
        return gradient.chunk(distributed.get_world_size())[distributed.get_rank()]


def gather(own: Shaped[Tensor, "n ..."]) -> Shaped[Tensor, "M ..."]:
    """[n, ...] of each process -> [world n, ...] in the order of their ranks, the same on all of them.

    Every process must call it, with as many rows. Where nothing is trained (no gradients are recorded), within
    `alone()` and in a single process it is `own` itself.

    The gradient of a row is the sum over all processes, of which data parallelism then takes the mean over the
    parameters: so the mean of the processes' losses is what is made smaller, exactly.
    """
    return _Gather.apply(own) if shared() else own  # type: ignore[return-value]


def first_row(n: int) -> int:
    """Where the n rows of this process begin in what `gather` gives."""
    return distributed.get_rank() * n if shared() else 0


def shared() -> bool:
    """Whether a loss is over the examples of several processes now."""
    trained = torch.is_grad_enabled() and _together.get()
    return trained and distributed.is_available() and distributed.is_initialized() and distributed.get_world_size() > 1


@contextmanager
def alone() -> Iterator[None]:
    """While this holds, this process waits for no other: for what each of them does as often as it likes."""
    token = _together.set(False)
    try:
        yield
    finally:
        _together.reset(token)
