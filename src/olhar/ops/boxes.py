"""Boxes as numbers: areas, overlaps, conversions. A box is x0 y0 x1 y1 in pixels, x to the right and y down.

The edges are positions between pixels, not pixels: a box that covers the first pixel alone is 0 0 1 1, and its
width is x1 - x0. The functions of two sets of boxes broadcast, so that `iou(a[:, None], b)` is the table of all pairs
and `iou(a, b)` pairs them one by one.

Shapes: `...` any number of axes, that of two arguments broadcast together; n m boxes.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torchvision.ops import batched_nms

Boxes = Float[Tensor, "... 4"]


def area(boxes: Boxes) -> Float[Tensor, "..."]:
    """Width times height, in pixels."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])


def iou(a: Boxes, b: Boxes) -> Float[Tensor, "..."]:
    """Intersection over union, in [0, 1]: the area that two boxes share, of the area that they cover together.

    Two boxes without any area have none in common: 0, not 0/0.
    """
    shared, together = _shared_and_together(a, b)
    return shared / together.clamp(min=torch.finfo(together.dtype).tiny)


def generalised_iou(a: Boxes, b: Boxes) -> Float[Tensor, "..."]:
    """IoU less the share of the smallest box around both that neither covers, in [-1, 1].

    Boxes that do not meet still learn from it, for it grows as they come closer (Rezatofighi et al. 2019, arXiv
    1902.09630, their Algorithm 1).
    """
    tiny = torch.finfo(a.dtype).tiny
    shared, together = _shared_and_together(a, b)
    low, high = torch.minimum(a[..., :2], b[..., :2]), torch.maximum(a[..., 2:], b[..., 2:])
    around = (high - low).prod(-1)
    return shared / together.clamp(min=tiny) - (around - together) / around.clamp(min=tiny)


def _shared_and_together(a: Boxes, b: Boxes) -> tuple[Tensor, Tensor]:
    """The areas of intersection and union."""
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    return shared, area(a) + area(b) - shared


def clip(boxes: Boxes, size: tuple[int, int]) -> Boxes:
    """The part of each box inside an image of `size` (height, width); of a box outside it nothing, with area 0."""
    height, width = size
    x, y = boxes[..., 0::2].clamp(0, width), boxes[..., 1::2].clamp(0, height)
    return torch.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], -1)


def to_centre(boxes: Boxes) -> Boxes:
    """x0 y0 x1 y1 -> x y of the centre, width, height."""
    low, high = boxes[..., :2], boxes[..., 2:]
    return torch.cat([(low + high) / 2, high - low], -1)


def from_centre(boxes: Boxes) -> Boxes:
    """x y of the centre, width, height -> x0 y0 x1 y1: the inverse of `to_centre`."""
    centre, half = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat([centre - half, centre + half], -1)


def from_corner(boxes: Boxes) -> Boxes:
    """x0 y0 width height, as COCO has it -> x0 y0 x1 y1."""
    return torch.cat([boxes[..., :2], boxes[..., :2] + boxes[..., 2:]], -1)


def to_corner(boxes: Boxes) -> Boxes:
    """x0 y0 x1 y1 -> x0 y0 width height: the inverse of `from_corner`."""
    return torch.cat([boxes[..., :2], boxes[..., 2:] - boxes[..., :2]], -1)


def suppress(
    boxes: Float[Tensor, "n 4"], scores: Float[Tensor, " n"], classes: Int[Tensor, " n"], overlap: float
) -> Int[Tensor, " m"]:
    """Indices of the boxes that non-maximum suppression keeps, the surest first: torchvision's, for each class alone.

    Greedy, no likelihood: the surest box stays, and those of its class that overlap it by more than `overlap` (an
    IoU) go; then the surest of what is left.
    """
    return batched_nms(boxes, scores, classes, overlap)


def removed_by(
    boxes: Float[Tensor, "n 4"], classes: Int[Tensor, " n"], kept: Int[Tensor, " m"], overlap: float
) -> Int[Tensor, " n"]:
    """For each box the index of the one that `suppress` removed it for, its own where it was kept.

    The surest of the kept ones of its class that overlap it enough: `kept` is in the order `suppress` gives.
    """
    if not len(kept):
        return kept
    alike = classes[:, None] == classes[kept]
    close = alike & (iou(boxes[:, None], boxes[kept]) > overlap)
    owner = kept[close.int().argmax(1)]
    owner[kept] = kept
    return owner
