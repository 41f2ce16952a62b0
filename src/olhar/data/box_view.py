"""Boxes where their image is: on a canvas, in a part of it, mirrored; and back in the pixels of the file.

Shapes: n objects of one image; H W an image, h w a canvas.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from olhar.data.sample import Batch, Sample
from olhar.ops.boxes import area, clip

# An object of which less than this share is still shown is no longer asked for: what is left may be anything.
VISIBLE = 0.25
LEAST_SIDE = 1.0  # px of the canvas; a thinner box has no form that could be learnt
OBJECT_KEYS = ("boxes", "box_labels", "box_ignored")


class Placed(NamedTuple):
    """Which part of an image lies where on a canvas: rows `top` to `bottom` and columns `left` to `right` of it
    fill `height` x `width` pixels from (`y`, `x`) on."""

    top: int
    left: int
    bottom: int
    right: int
    y: int
    x: int
    height: int
    width: int

    def scale(self) -> tuple[float, float]:
        """Pixels of the canvas to one of the image, down and across."""
        return self.height / (self.bottom - self.top), self.width / (self.right - self.left)


def letterboxed(size: tuple[int, int], canvas: tuple[int, int]) -> Placed:
    """All of an image of `size` (H, W), in its proportions, in the middle of a canvas (h, w)."""
    scale = min(canvas[0] / size[0], canvas[1] / size[1])
    height, width = max(1, round(size[0] * scale)), max(1, round(size[1] * scale))
    return Placed(0, 0, *size, (canvas[0] - height) // 2, (canvas[1] - width) // 2, height, width)


def forth(boxes: Float[Tensor, "n 4"], placed: Placed) -> Float[Tensor, "n 4"]:
    """From the image to the canvas, not clipped."""
    down, across = placed.scale()
    scale = boxes.new_tensor([across, down, across, down])
    start = boxes.new_tensor([placed.left, placed.top] * 2)
    return (boxes - start) * scale + boxes.new_tensor([placed.x, placed.y] * 2)


def back(boxes: Float[Tensor, "n 4"], placed: Placed) -> Float[Tensor, "n 4"]:
    """From the canvas to the image: the inverse of `forth`."""
    down, across = placed.scale()
    scale = boxes.new_tensor([across, down, across, down])
    start = boxes.new_tensor([placed.left, placed.top] * 2)
    return (boxes - boxes.new_tensor([placed.x, placed.y] * 2)) / scale + start


def in_image(boxes: Float[Tensor, "n 4"], placed: Placed) -> Float[Tensor, "n 4"]:
    """From the canvas to the image, what lies inside it."""
    return clip(back(boxes, placed), (placed.bottom, placed.right))


def views(batch: Batch) -> list[Placed]:
    """Where each image of a batch lies on its canvas, as evaluation sees it."""
    canvas = (batch["image"].shape[2], batch["image"].shape[3])
    return [letterboxed((height, width), canvas) for height, width in batch["size"].tolist()]


def cut(boxes: Float[Tensor, "n 4"], placed: Placed) -> tuple[Float[Tensor, "n 4"], Bool[Tensor, " n"]]:
    """On the canvas what is shown of each box, and which of them still count (see VISIBLE)."""
    moved = forth(boxes, placed)
    low = boxes.new_tensor([placed.x, placed.y])
    high = low + boxes.new_tensor([placed.width, placed.height])
    shown = torch.cat([moved[:, :2].clamp(min=low, max=high), moved[:, 2:].clamp(min=low, max=high)], 1)
    large = (shown[:, 2:] - shown[:, :2]).amin(1) >= LEAST_SIDE
    return shown, large & (area(shown) >= VISIBLE * area(moved))


def mirror(boxes: Float[Tensor, "n 4"], width: int) -> Float[Tensor, "n 4"]:
    """Left and right exchanged in an image of `width`."""
    return torch.stack([width - boxes[:, 2], boxes[:, 1], width - boxes[:, 0], boxes[:, 3]], 1)


def shift(
    boxes: Float[Tensor, "n 4"], down: int, right: int, size: tuple[int, int]
) -> tuple[Float[Tensor, "n 4"], Bool[Tensor, " n"]]:
    """Moved by whole pixels within an image of `size` (H, W): what stays inside, and which still count."""
    height, width = size
    moved = Placed(0, 0, height, width, down, right, height, width)
    inside = boxes.new_tensor([width, height] * 2)
    shown = forth(boxes, moved).clamp(min=0).minimum(inside)
    large = (shown[:, 2:] - shown[:, :2]).amin(1) >= LEAST_SIDE
    return shown, large & (area(shown) >= VISIBLE * area(boxes))


def only(sample: Sample, boxes: Float[Tensor, "n 4"], kept: Bool[Tensor, " n"]) -> dict[str, Tensor]:
    """The objects of a sample at their new places, less those that no longer count."""
    return {key: (boxes if key == "boxes" else sample[key])[kept] for key in OBJECT_KEYS}
