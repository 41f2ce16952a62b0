"""Boxes drawn into pictures.

Shapes: C channels, H W space, n boxes.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, UInt8
from torch import Tensor


def outlined(
    image: UInt8[Tensor, "C H W"],
    boxes: Float[Tensor, "n 4"],
    colours: Sequence[tuple[int, int, int]],
    thickness: int = 2,
) -> UInt8[Tensor, "3 H W"]:
    """The image with the edges of each box in its colour, `thickness` pixels inwards."""
    height, width = image.shape[1:]
    picture = image.expand(3, -1, -1).clone()
    for (x0, y0, x1, y1), colour in zip(boxes.round().int().tolist(), colours, strict=True):
        left, top = min(max(x0, 0), width - 1), min(max(y0, 0), height - 1)
        right, bottom = min(max(x1, left + 1), width), min(max(y1, top + 1), height)
        edge = torch.zeros(bottom - top, right - left, dtype=torch.bool)
        edge[:thickness], edge[-thickness:], edge[:, :thickness], edge[:, -thickness:] = True, True, True, True
        part = picture[:, top:bottom, left:right]
        part[:, edge] = torch.tensor(colour, dtype=torch.uint8)[:, None]
    return picture
