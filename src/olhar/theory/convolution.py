"""Convolution of one dimension (section 2.1, Figures 2.1 and 2.2): a kernel that slides over a signal, and a matrix.

Neural networks do not turn the kernel around: what they call convolution is cross-correlation.

Shapes: L numbers of a signal, K of a kernel, O of the output.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from olhar.errors import UserError


@dataclass(frozen=True, eq=False)
class Position:
    """Where the kernel lies: from `start` of the signal on (negative on the padding), over `window`; their product."""

    start: int
    window: Float[Tensor, " K"]
    value: float


def output_size(size: int, kernel: int, stride: int = 1, padding: int = 0, dilation: int = 1) -> int:
    """O = ⌊(L + 2 padding - dilation (K - 1) - 1) / stride⌋ + 1: the positions a kernel has along one side.

    Raises:
        UserError: it has none.
    """
    reach = dilation * (kernel - 1) + 1
    if size + 2 * padding < reach:
        raise UserError(f"A kernel that reaches over {reach} does not fit into {size + 2 * padding}: pad more.")
    return (size + 2 * padding - reach) // stride + 1


def slide(
    signal: Float[Tensor, " L"], kernel: Float[Tensor, " K"], stride: int = 1, padding: int = 0, dilation: int = 1
) -> list[Position]:
    """Every position of the kernel in their order; their values are the convolution."""
    padded = torch.nn.functional.pad(signal, (padding, padding))
    places = dilation * torch.arange(len(kernel))
    found = []
    for i in range(output_size(len(signal), len(kernel), stride, padding, dilation)):
        window = padded[stride * i + places]
        found.append(Position(stride * i - padding, window, (window @ kernel).item()))
    return found


def matrix(
    kernel: Float[Tensor, " K"], size: int, stride: int = 1, padding: int = 0, dilation: int = 1
) -> Float[Tensor, "O L"]:
    """W of a signal of L = `size` numbers: convolution is W x, and its transposed convolution W^T y.

    Convolution is a linear layer (Eq 1.41) whose rows are one kernel, each a stride further on. Its Jacobian is W
    (Eq 1.51), so that the transposed convolution is also what brings gradients back through it.
    """
    rows = output_size(size, len(kernel), stride, padding, dilation)
    padded = kernel.new_zeros(rows, size + 2 * padding)
    places = dilation * torch.arange(len(kernel))
    for i in range(rows):
        padded[i, stride * i + places] = kernel
    return padded[:, padding : padding + size]
