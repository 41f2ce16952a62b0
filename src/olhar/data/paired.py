"""Random changes of images together with what lies in them: masks, clean pictures, boxes.

Shapes: N batch, C channels, P planes, H W the image that is kept, h w the canvas the model sees.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple, cast

import numpy as np
import torch
import torchvision.transforms.v2.functional as F
from jaxtyping import UInt8
from torch import Tensor

from olhar.data.box_view import Placed, cut, mirror, only, shift
from olhar.data.reading import GREY, Frame, pick, shrink
from olhar.data.sample import IGNORE, Batch, Found, Sample, without_image
from olhar.data.transforms import Augment, Indices, uniform
from olhar.ops import image as ops

# Least and largest scale of parts with objects: these must stay whole for the most part, and be as large as they are.
AROUND = (0.7, 1.4)
TOGETHER = ("image", "mask", "clean")  # the keys of a sample that are as large as its image


class Chance(NamedTuple):
    """What chance decides of one sample."""

    u: list[float]  # eight numbers in [0, 1)
    flipped: bool


class Window(NamedTuple):
    """The part of an image that is shown, in its pixels; it may reach beyond the image."""

    top: float
    left: float
    height: float
    width: float


@dataclass(frozen=True)
class Paired(Augment):
    """A part of the image at another scale, mirrored, with other light and colour; masks and boxes follow exactly.

    Args:
        canvas: (h, w) of what the model sees.
        detail: pixels of the image that is kept to one of the canvas, at the scale of evaluation.
        zoom: least and largest scale a part is shown at, as multiples of that of evaluation.
        recolour: change light and colour of the image: not where it is to be restored, for then they are the answer.
    """

    canvas: tuple[int, int]
    detail: float = 1.0
    # half of an image's side is the least that still shows where things are
    zoom: tuple[float, float] = (0.8, 2.0)
    stretch: float = 1.15  # most that a part is widened or narrowed
    recolour: bool = True
    name: ClassVar[str] = "paired"
    per_image: ClassVar[bool] = True
    colour: ClassVar[float] = 0.4  # brightness, contrast and saturation are multiplied by up to 1 ± this

    @property
    def size(self) -> tuple[int, int]:
        return self.canvas

    def piece(self, groups: Sequence[Sequence[Found]], epoch: int, out: UInt8[Tensor, "N C h w"]) -> list[Sample]:
        found = [group[0] for group in groups]
        chances = self.chances([place for place, _ in found], epoch)
        return [self.show(sample, chance, row) for (_, sample), chance, row in zip(found, chances, out, strict=True)]

    def chances(self, index: Indices, epoch: int) -> Iterator[Chance]:
        """What chance decides of the samples at `index`, drawn at once."""
        return map(Chance, uniform(self.seed, epoch, index, 8).tolist(), self.flipped(index, epoch).tolist())

    def show(self, sample: Sample, chance: Chance, out: UInt8[Tensor, "C h w"]) -> Sample:
        """Write to `out`, which is the canvas or a part of it, what is shown of the image; returns what lies there."""
        canvas, size = (out.shape[1], out.shape[2]), (sample["image"].shape[1], sample["image"].shape[2])
        window = self.window(size, canvas, chance.u)
        result: dict[str, Any] = dict(sample)
        for key in TOGETHER:
            if key in sample:
                planes = sample[key] if key != "mask" else sample["mask"][None]
                shown = show(planes, window, canvas, IGNORE if key == "mask" else GREY, nearest=key == "mask")
                result[key] = (F.horizontal_flip(shown) if chance.flipped else shown)[0 if key == "mask" else ...]
        if "boxes" in sample:
            boxes, kept = cut(sample["boxes"], placed(size, window, canvas))
            result |= only(sample, mirror(boxes, canvas[1]) if chance.flipped else boxes, kept)
        if self.recolour:
            factors = (torch.tensor([1 + self.colour * (2 * v - 1)]) for v in chance.u[5:8])
            result["image"] = ops.recolour(result["image"][None], *factors)[0]
        out.copy_(result["image"])
        return without_image(cast(Sample, result))

    def window(self, size: tuple[int, int], canvas: tuple[int, int], u: list[float]) -> Window:
        """The part of an image of `size` (H, W) that five uniform numbers choose for `canvas`."""
        height, width = size
        low, high = self.zoom
        zoom = math.exp(math.log(low) + u[0] * math.log(high / low))
        stretch = math.exp(math.log(self.stretch) * (2 * u[1] - 1) / 2)
        h, w = (side * self.detail / zoom for side in canvas)
        h, w = h * stretch, w / stretch
        return Window(u[2] * (height - h), u[3] * (width - w), h, w)

    def describe(self) -> str:
        mirrored = ", mirrored left-right" if self.flip else ""
        coloured = f", with light and colour changed by up to {self.colour:.0%}" if self.recolour else ""
        low, high = self.zoom
        return f"Training shows a random part of each image at {low:g} to {high:g} times its scale{mirrored}{coloured}"


def show(
    planes: UInt8[Tensor, "P H W"], window: Window, canvas: tuple[int, int], fill: int, nearest: bool
) -> UInt8[Tensor, "P h w"]:
    """The window of an image on a canvas, `fill` where it reaches beyond the image."""
    at = placed((planes.shape[1], planes.shape[2]), window, canvas)
    part, size = planes[:, at.top : at.bottom, at.left : at.right], (at.height, at.width)
    shown = pick(part, size) if nearest else shrink(part, size)
    if size == canvas:
        return shown
    laid = torch.full((*canvas, len(planes)), fill, dtype=torch.uint8).permute(2, 0, 1)
    laid[:, at.y : at.y + at.height, at.x : at.x + at.width] = shown
    return laid


def placed(image: tuple[int, int], window: Window, canvas: tuple[int, int]) -> Placed:
    """Where the window of an `image` (H, W) lies on a canvas (h, w), in whole pixels."""
    height, width = image
    top, bottom = max(0, round(window.top)), min(height, max(round(window.top + window.height), round(window.top) + 1))
    left, right = max(0, round(window.left)), min(width, max(round(window.left + window.width), round(window.left) + 1))
    down, across = canvas[0] / window.height, canvas[1] / window.width
    y0, y1 = (round((edge - window.top) * down) for edge in (top, bottom))
    x0, x1 = (round((edge - window.left) * across) for edge in (left, right))
    y0, x0 = min(max(y0, 0), canvas[0] - 1), min(max(x0, 0), canvas[1] - 1)
    high, wide = min(max(y1 - y0, 1), canvas[0] - y0), min(max(x1 - x0, 1), canvas[1] - x0)
    return Placed(top, left, bottom, right, y0, x0, high, wide)


@dataclass(frozen=True)
class PairedSmall(Augment):
    """The same for images up to 64 px: mirrored and moved by whole pixels, a batch at once."""

    name: ClassVar[str] = "paired-small"
    move: float = 1 / 16  # of the side: enough to be another image, and little is lost

    def together(self, batch: Batch, index: Indices, epoch: int) -> Batch:
        keys = [key for key in TOGETHER if key in batch]
        parts = [batch[key] if key != "mask" else batch["mask"][:, None] for key in keys]
        changed = self.batch(torch.cat(parts, 1) if len(parts) > 1 else parts[0], index, epoch)
        for key, part in zip(keys, changed.split([part.shape[1] for part in parts], 1), strict=True):
            batch[key] = part if key != "mask" else part[:, 0]
        if "boxes" in batch:
            self.move_boxes(batch, index, epoch)
        return batch

    def batch(self, image: UInt8[Tensor, "N P H W"], index: Indices, epoch: int) -> UInt8[Tensor, "N P H W"]:
        changes = self.changes((image.shape[2], image.shape[3]), index, epoch)
        return ops.flip_shift(image, *(torch.from_numpy(values).to(image.device) for values in changes))

    def changes(self, size: tuple[int, int], index: Indices, epoch: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Of each image whether it is mirrored, and how far it is moved down and right."""
        reach = round(self.move * min(size))
        u = uniform(self.seed, epoch, index, 2)
        down, right = np.floor((2 * reach + 1) * u).astype(np.int64).T - reach
        return self.flipped(index, epoch), down, right

    def move_boxes(self, batch: Batch, index: Indices, epoch: int) -> None:
        """The boxes of each image to where they are now. What is reflected at a border is no new object."""
        size = (batch["image"].shape[2], batch["image"].shape[3])
        for i, (flipped, down, right) in enumerate(zip(*self.changes(size, index, epoch), strict=True)):
            own = batch["boxes"][i]
            own, kept = shift(mirror(own, size[1]) if flipped else own, int(down), int(right), size)
            batch["boxes"][i] = own[kept]
            for key in ("box_labels", "box_ignored"):
                batch[key][i] = batch[key][i][kept]

    def describe(self) -> str:
        mirrored = "mirrored left-right and " if self.flip else ""
        return f"Training images are {mirrored}moved by up to {self.move:.0%} of their side"


def make_paired(name: str, frame: Frame, flip: bool, seed: int, restoring: bool) -> Augment:
    """The preset `name` for what `frame` shows. What is to be restored keeps its scale and its colours."""
    size = min(frame.canvas)
    if name == "paired-small":
        return PairedSmall(size, flip, seed)
    if name == "none" and frame.canvas == frame.whole:
        return Augment(size, flip, seed)
    if frame.truth == "boxes" and name == "paired":
        return Paired(size, flip, seed, frame.canvas, frame.detail, zoom=AROUND)
    if restoring or name == "none":  # parts of the canvas' size have to be cut out all the same
        return Paired(size, flip, seed, frame.canvas, frame.detail, zoom=(1.0, 1.0), stretch=1.0, recolour=False)
    return Paired(size, flip, seed, frame.canvas, frame.detail)
