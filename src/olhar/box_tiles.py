"""The objects of an image that is larger than those of the training: looked for in overlapping parts, at its scale.

Shapes: C channels, n boxes, h w the canvas.
"""

from collections.abc import Callable, Sequence

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from olhar.data.reading import GREY, Frame, shrink
from olhar.data.sample import Batch
from olhar.ops.answers import Kept
from olhar.ops.boxes import area, clip, iou
from olhar.tiles import LEEWAY, starts

TOGETHER = 8  # parts that are looked at at once
EDGE = 2.0  # px: a box that comes as near to an inner edge of its part may go on beyond it
INSIDE = 0.7  # share of a cut box inside a whole one of its class from which on they are one object

Find = Callable[[Batch], Sequence[Kept]]  # the answers of each image of a batch, on the canvas


def too_large(size: tuple[int, int], frame: Frame) -> bool:
    """Whether an image of `size` (H, W) does not fit the canvas at the scale of the training."""
    return any(frame.scale * side > LEEWAY * room for side, room in zip(size, frame.canvas, strict=True))


def find_in_parts(image: UInt8[Tensor, "C H W"], frame: Frame, find: Find, overlap: float) -> Kept:
    """The answers for an image, in its own pixels, the surest first.

    Args:
        overlap: IoU beyond which two answers of one class are one.
    """
    size = (image.shape[1], image.shape[2])
    seen = shrink(image, (max(1, round(frame.scale * size[0])), max(1, round(frame.scale * size[1]))))
    height, width = frame.canvas
    tops, lefts = (starts(length, tile) for length, tile in zip(seen.shape[1:], frame.canvas, strict=True))
    padded = seen.new_full((len(seen), max(height, seen.shape[1]), max(width, seen.shape[2])), GREY)
    padded[:, : seen.shape[1], : seen.shape[2]] = seen
    corners = [(top, left) for top in tops for left in lefts]
    found: list[Kept] = []
    for first in range(0, len(corners), TOGETHER):
        some = corners[first : first + TOGETHER]
        parts = torch.stack([padded[:, top : top + height, left : left + width] for top, left in some])
        batch: Batch = {
            "id": [""] * len(some),
            "image": parts.contiguous(memory_format=torch.channels_last),
            "size": torch.tensor([frame.canvas] * len(some)),
        }
        for kept, (top, left) in zip(find(batch), some, strict=True):
            found.append(kept._replace(boxes=kept.boxes + kept.boxes.new_tensor([left, top, left, top])))
    cut = torch.cat([
        at_inner_edge(kept.boxes, (top, left), frame.canvas, (seen.shape[1], seen.shape[2]))
        for kept, (top, left) in zip(found, corners, strict=True)
    ])  # fmt: skip
    merged = merge(Kept(*(torch.cat(values) for values in zip(*found, strict=True))), cut, overlap)
    down, across = size[0] / seen.shape[1], size[1] / seen.shape[2]
    scaled = merged.boxes * merged.boxes.new_tensor([across, down, across, down])
    return merged._replace(boxes=clip(scaled, size))


def at_inner_edge(
    boxes: Float[Tensor, "n 4"], corner: tuple[int, int], tile: tuple[int, int], size: tuple[int, int]
) -> Bool[Tensor, " n"]:
    """Which boxes reach an edge of their part that is not one of the image of `size`."""
    (top, left), (height, width) = corner, tile
    near = torch.zeros(len(boxes), dtype=torch.bool)
    for axis, (start, length, whole) in enumerate(((left, width, size[1]), (top, height, size[0]))):
        if start > 0:
            near |= boxes[:, axis] <= start + EDGE
        if start + length < whole:
            near |= boxes[:, axis + 2] >= start + length - EDGE
    return near


def merge(found: Kept, cut: Bool[Tensor, " n"], overlap: float) -> Kept:
    """One answer an object: whole boxes before cut ones, then the surest."""
    order = (found.scores - cut.float()).argsort(descending=True, stable=True)
    boxes, labels, cut = found.boxes[order], found.labels[order], cut[order]
    alive = torch.ones(len(boxes), dtype=torch.bool)
    for i in range(len(boxes)):
        if alive[i]:
            low, high = torch.maximum(boxes[i, :2], boxes[:, :2]), torch.minimum(boxes[i, 2:], boxes[:, 2:])
            share = (high - low).clamp(min=0).prod(-1) / area(boxes).clamp(min=1e-6)
            same = (labels == labels[i]) & ((iou(boxes[i], boxes) > overlap) | (cut & (share > INSIDE)))
            same[: i + 1] = False
            alive &= ~same
    scores = found.scores[order][alive]
    surest = scores.argsort(descending=True, stable=True)
    return Kept(boxes[alive][surest], scores[surest], labels[alive][surest])
