"""A trained model's answer for every place of an image, however large the image is.

A model that has learnt from whole images sees all of a new one at once: in a part of it it would look for the layout
of a whole. One that has learnt from parts sees tiles at the same scale, which overlap and are blended so that no seam
shows; so does any other where it is asked to, for pictures that show more than those of the training. Only a band of
tiles is held as numbers at a time; what is settled of it is one byte a pixel.

Shapes: C channels, P numbers a place (classes, colours), Q bytes a place, H W the answer, h w the image as it is seen.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F
from jaxtyping import Float, UInt8
from torch import Tensor

from olhar.data.reading import GREY, Frame, Letterbox, shrink
from olhar.tasks import PixelTask

LEEWAY = 1.25  # an image that is larger than those it learnt from by no more than this is still seen at once
TILE = 256  # px, the least side of a tile where any size will do: small ones are mostly overlap
OVERLAP = 4  # a tile shares this part of its side with each neighbour
TOGETHER = 256 * 256 * 8  # pixels that are computed at once
ROWS = 64  # rows of the answer that are settled at once

Answer = Callable[[UInt8[Tensor, "N C h w"]], Float[Tensor, "N P h w"]]


@dataclass(frozen=True)
class View:
    """How a task sees an image.

    Args:
        frame: the scale and the size it has learnt at.
        any_size: the model takes other sizes than those of `frame`.
        flips: also ask about the mirrored image, and take the mean.
        tiles: look at an image that is larger than those of the training part by part, at their scale.
    """

    task: PixelTask
    frame: Frame
    any_size: bool = True
    flips: bool = False
    tiles: bool = False

    def settled(self, image: UInt8[Tensor, "C H W"], answer: Answer) -> UInt8[Tensor, "Q H W"]:
        """What `answer` says of every pixel of an image."""
        ask = mirrored(answer) if self.flips else answer
        size = (image.shape[1], image.shape[2])
        h, w = (max(1, round(self.frame.scale * side)) for side in size)
        fits = h <= LEEWAY * self.frame.whole[0] and w <= LEEWAY * self.frame.whole[1]
        if self.frame.fit and (fits or not self.tiles):
            box = Letterbox(*self.frame.whole, len(image))
            top, left, h, w = box.place(*size)
            values = ask(box(image)[None])[0, :, top : top + h, left : left + w]
            bands = iter([values])
        else:
            bands = blended(shrink(image, (h, w)), self.tile(), ask)
        return enlarged(bands, (h, w), size, lambda rows: self.task.settle(rows[None])[0])

    def tile(self) -> tuple[int, int]:
        """Height and width of a tile."""
        height, width = self.frame.canvas
        return (max(height, TILE), max(width, TILE)) if self.any_size and not self.frame.fit else (height, width)


def mirrored(answer: Answer) -> Answer:
    """The mean of the answers for an image and for its mirror image."""
    return lambda image: (answer(image) + answer(image.flip(3)).flip(3)) / 2


def blended(image: UInt8[Tensor, "C h w"], tile: tuple[int, int], answer: Answer) -> Iterator[Float[Tensor, "P r w"]]:
    """The answers for the tiles of an image, blended, as bands of rows from top to bottom.

    A pixel's value is the mean over the tiles it lies in, each weighed by how far from its own edge it sees the pixel.
    """
    h, w = image.shape[1:]
    height, width = min(tile[0], h), min(tile[1], w)
    # a tile always has the size the model knows: of a smaller image the rest is grey
    padded = image.new_full((len(image), max(tile[0], h), max(tile[1], w)), GREY)
    padded[:, :h, :w] = image
    tops, lefts = starts(h, height), starts(w, width)
    weight = ramp(height)[:, None] * ramp(width)
    held: Tensor | None = None  # sums of weighed values, and of the weights, of rows that are not complete
    for top, below in pairwise([*tops, h]):
        sums = weights = None
        for values, left in answers(padded, top, lefts, tile, answer):
            if sums is None:
                sums, weights = values.new_zeros(len(values), height, w), values.new_zeros(1, height, w)
            sums[:, :, left : left + width] += values[:, :height, :width] * weight
            weights[:, :, left : left + width] += weight  # type: ignore[index]
        assert sums is not None
        assert weights is not None
        total = torch.cat([sums, weights])
        if held is not None:
            total[:, : held.shape[1]] += held
        complete = below - top
        yield total[:-1, :complete] / total[-1:, :complete]
        held = total[:, complete:]


def answers(
    image: UInt8[Tensor, "C h w"], top: int, lefts: list[int], tile: tuple[int, int], answer: Answer
) -> Iterator[tuple[Float[Tensor, "P th tw"], int]]:
    """The answer for each tile of one row of them, some computed together, with its left edge."""
    size = max(1, TOGETHER // (tile[0] * tile[1]))
    for first in range(0, len(lefts), size):
        some = lefts[first : first + size]
        parts = torch.stack([image[:, top : top + tile[0], left : left + tile[1]] for left in some])
        yield from zip(answer(parts.contiguous(memory_format=torch.channels_last)), some, strict=True)


def starts(length: int, tile: int) -> list[int]:
    """Where tiles begin that cover `length`, evenly, each sharing at least 1 / OVERLAP of itself with the next."""
    if length <= tile:
        return [0]
    step = tile - tile // OVERLAP
    count = 1 + -(-(length - tile) // step)
    return [round(i * (length - tile) / (count - 1)) for i in range(count)]


def ramp(length: int) -> Float[Tensor, " length"]:
    """Weights that rise from the edges of a tile over its overlap, and are even between."""
    distance = torch.arange(length, dtype=torch.float32) + 0.5
    return torch.minimum(distance, distance.flip(0)).clamp_max(max(length // OVERLAP, 1))


def enlarged(
    bands: Iterator[Float[Tensor, "P r w"]],
    seen: tuple[int, int],
    size: tuple[int, int],
    settle: Callable[[Tensor], Tensor],
) -> UInt8[Tensor, "Q H W"]:
    """Bands of an answer of the size `seen`, interpolated linearly to `size` and settled, a few rows at a time."""
    (h, w), (height, width) = seen, size
    kept: Tensor | None = None  # rows that are still needed, the first of them number `first`
    first, done, row = 0, 0, 0
    result: list[Tensor] = []
    for band in bands:
        kept = band.cpu() if kept is None else torch.cat([kept, band.cpu()], 1)
        done += band.shape[1]
        while row < height:
            stop = min(row + ROWS, height)
            position = ((torch.arange(row, stop) + 0.5) * h / height - 0.5).clamp(0, h - 1)
            upper = position.floor().long()
            lower = (upper + 1).clamp_max(h - 1)
            if int(lower[-1]) >= done:
                break
            share = (position - upper).view(1, -1, 1)
            rows = torch.lerp(kept[:, upper - first], kept[:, lower - first], share.to(kept.dtype))
            if width != w:
                rows = F.interpolate(rows[None], (len(upper), width), mode="bilinear", align_corners=False)[0]
            result.append(settle(rows))
            row = stop
            kept, first = kept[:, int(upper[-1]) - first :], int(upper[-1])
    return torch.cat(result, 1)
