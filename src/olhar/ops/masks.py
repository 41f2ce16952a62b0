"""Masks of classes: what is known of them, and how much of an image each class covers.

Shapes: N batch, H W space.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Int, UInt8
from torch import Tensor


def known_target(mask: UInt8[Tensor, "N H W"], ignore: int) -> tuple[Int[Tensor, "N H W"], Bool[Tensor, "N H W"]]:
    """Class indices, 0 where they are `ignore`, and where they are not."""
    known = mask != ignore
    return mask.long() * known, known


def shares(mask: UInt8[Tensor, "H W"], names: Sequence[str]) -> dict[str, float]:
    """The share of these classes' pixels that each covers, the largest first; indices beyond them are left out."""
    counts = torch.bincount(mask.flatten().long(), minlength=256)[: len(names)]
    total = max(int(counts.sum()), 1)
    present: list[int] = [k for k in counts.argsort(descending=True).tolist() if counts[k]]
    return {names[k]: int(counts[k]) / total for k in present}


def confusion_cells(
    truth: Int[Tensor, "H W"], said: Int[Tensor, "H W"], known: Bool[Tensor, "H W"], num_classes: int
) -> list[list[int]]:
    """[true class, predicted class, pixels] of one image, where there are any."""
    counts = torch.bincount(truth[known] * num_classes + said[known], minlength=num_classes**2)
    cells = counts.nonzero().flatten()
    return torch.stack([cells // num_classes, cells % num_classes, counts[cells]], 1).tolist()
