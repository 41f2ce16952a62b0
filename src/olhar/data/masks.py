"""The class of each pixel, read from a file of masks whose values are numbers or colours.

Shapes: H W space, K classes.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
from jaxtyping import Int32, Integer, UInt8
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile

from olhar.data.header import named_errors, open_image
from olhar.data.sample import IGNORE, Record, Source
from olhar.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor = Any  # looking at a folder needs no torch

NUMBERS = 1 << 16  # values that a mask of numbers can hold: 8 or 16 bits
COLOUR = 1 << 24  # added to a colour that stands among numbers, so that it is none of them
GREY = 0x010101  # times a level is that level of grey, packed
COUNTED = 200  # masks whose pixels tell the frequency of classes well enough
THREADS = 8  # decoding releases Python's lock

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Coding:
    """How the values of pixels become classes: pairs of a value and its class, or IGNORE.

    A value is a number, or with `colours` red + 256 green + 65536 blue. One that is not in the table is no class that
    anybody named: it is read as IGNORE, and the doctor refuses it.
    """

    table: tuple[tuple[int, int], ...]
    colours: bool = False

    def describe(self, value: int) -> str:
        """A value as a person writes it: 17, or (128, 0, 64)."""
        if not self.colours and value < COLOUR:
            return str(value)
        return f"({value & 255}, {value >> 8 & 255}, {value >> 16 & 255})"


@dataclass(frozen=True, slots=True)
class MaskFile:
    """A mask as it lies on disk, and the key to its values."""

    path: Path
    coding: Coding

    def pixels(self) -> UInt8[np.ndarray, "H W"]:
        """The class of each pixel, upright. Raises UserError where the file cannot be read."""
        values, smeared = read_values(self.path, self.coding.colours)
        return classes_of(nearest_values(values, self.coding) if smeared else values, self.coding)

    def render(self) -> Tensor:
        """The same as a tensor, uint8 [H, W]."""
        import torch

        return torch.from_numpy(self.pixels())


@dataclass(frozen=True, slots=True)
class Relabelled:
    """A mask with other numbers for its classes: class k becomes `to[k]`."""

    mask: Source
    to: tuple[int, ...]

    def pixels(self) -> UInt8[np.ndarray, "H W"]:
        """The class of each pixel."""
        table = np.full(256, IGNORE, np.uint8)
        table[: len(self.to)] = self.to
        return table[class_pixels(self.mask)]

    def render(self) -> Tensor:
        """The same as a tensor, uint8 [H, W]."""
        import torch

        return torch.from_numpy(self.pixels())


def read_values(path: Path, colours: bool) -> tuple[Integer[np.ndarray, "H W"], bool]:
    """The values of a mask as they are stored, and whether compression may have changed them (JPEG).

    With `colours` red + 256 green + 65536 blue, else numbers: of a palette the index, of one bit 0 and 255, of
    colours that are all grey their level; a colour among them is COLOUR plus its packed value.

    Raises UserError when the file is absent, no image, damaged or too large.
    """
    with named_errors(path), path.open("rb") as file:
        _, image = open_image(path, file)
        image.load()
        if "exif" in image.info:
            ImageOps.exif_transpose(image, in_place=True)
        return (packed(image) if colours else numbers(image)), isinstance(image, JpegImageFile)


def packed(image: Image.Image) -> Int32[np.ndarray, "H W"]:
    """Each pixel's colour as one number; transparency is left out."""
    if image.mode not in ("RGBA", "RGBX"):
        image = (image if image.mode == "RGB" else image.convert("RGB")).convert("RGBX")
    return np.asarray(image).view("<i4")[..., 0] & (COLOUR - 1)


def numbers(image: Image.Image) -> Integer[np.ndarray, "H W"]:
    """Each pixel's number. Raises UserError for fractions and for more than 16 bits."""
    if image.mode in ("P", "L"):
        return np.asarray(image)
    if image.mode == "1" or isinstance(image, JpegImageFile):
        return np.asarray(image.convert("L"))
    if image.mode in ("LA", "La", "PA"):
        return np.asarray(image)[..., 0]
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int32)
        if values.min() < 0 or values.max() >= NUMBERS:
            raise UserError(f"the mask holds values from {values.min()} to {values.max()}, which do not fit 16 bits")
        return values
    if image.mode == "F":
        raise UserError("the mask holds fractions, not numbers of classes")
    colours = packed(image)
    levels = colours & 255
    return np.where(colours == levels * GREY, levels, colours + COLOUR)


def grey_or_colour(colour: int) -> int:
    """What `numbers` makes of one packed colour."""
    return colour & 255 if colour == (colour & 255) * GREY else colour + COLOUR


def classes_of(values: Integer[np.ndarray, "H W"], coding: Coding) -> UInt8[np.ndarray, "H W"]:
    """Values to classes; what is not in the table is ignored."""
    return lookup(coding).take(values, mode="clip")


@lru_cache(maxsize=8)
def lookup(coding: Coding) -> UInt8[np.ndarray, "values"]:
    """The class of every value there can be, and one more for all that lie beyond. A table of all 16 million colours
    is a hundred times faster than a search for each pixel: the few that occur stay in the processor's cache."""
    table = np.full((COLOUR if coding.colours else NUMBERS) + 1, IGNORE, np.uint8)
    for value, label in coding.table:
        table[value] = label
    return table


def nearest_values(values: Integer[np.ndarray, "H W"], coding: Coding) -> Integer[np.ndarray, "H W"]:
    """Each value replaced by the nearest in the table: lossy compression moved them."""
    known = np.array([value for value, _ in coding.table])
    different, place = np.unique(values, return_inverse=True)
    here, there = (channels_of(v) if coding.colours else v[:, None].astype(np.int64) for v in (different, known))
    distance = np.square(here[:, None] - there[None]).sum(-1)
    return known[distance.argmin(1)][place].reshape(values.shape)


def channels_of(values: Integer[np.ndarray, "n"]) -> Integer[np.ndarray, "n 3"]:
    """Packed colours as red, green and blue."""
    return np.stack([values & 255, values >> 8 & 255, values >> 16 & 255], -1)


def flatness_and_values(path: Path) -> tuple[float, int]:
    """How flat a picture is, as the share of pixels equal to their right neighbour, and how many values it has.

    Raises UserError where it cannot be read.
    """
    with named_errors(path), path.open("rb") as file:
        _, image = open_image(path, file)
        image.load()
        values = packed(image)
    return float((values[:, 1:] == values[:, :-1]).mean()) if image.width > 1 else 1.0, len(count_values(values))


def count_values(values: Integer[np.ndarray, "H W"]) -> dict[int, int]:
    """How many pixels have each value. Of large values only the starts of runs are sorted: masks are flat, and that
    is ten times faster."""
    flat = values.reshape(-1)
    if values.dtype == np.uint8:
        counts = np.bincount(flat, minlength=256)
        return {value: int(counts[value]) for value in np.flatnonzero(counts).tolist()}
    starts = np.flatnonzero(np.concatenate(([True], flat[1:] != flat[:-1])))
    different, place = np.unique(flat[starts], return_inverse=True)
    counts = np.bincount(place, np.diff(starts, append=len(flat)), len(different))
    return dict(zip(different.tolist(), counts.astype(int).tolist(), strict=True))


def class_pixels(mask: Source) -> UInt8[np.ndarray, "H W"]:
    """The class of each pixel of any mask, without torch where it is a file."""
    read = getattr(mask, "pixels", None)
    return read() if read else mask.render().numpy()


def histogram(mask: Source) -> Integer[np.ndarray, "256"]:
    """How many pixels of a mask each class has, IGNORE among them."""
    return np.bincount(class_pixels(mask).reshape(-1), minlength=256)


def pixel_counts(records: Sequence[Record], num_classes: int, limit: int = COUNTED) -> list[int]:
    """How many pixels each class has in the masks of these records, or in `limit` of them spread over all.

    Pixels that are ignored are not counted. Raises UserError where a mask cannot be read.
    """
    masks = spread([record.mask for record in records if record.mask is not None], limit)
    with ThreadPoolExecutor(THREADS) as pool:
        total = sum(pool.map(histogram, masks), np.zeros(256, np.int64))
    return total[:num_classes].tolist()


def spread(items: Sequence[T], count: int) -> list[T]:
    """At most `count` of the items, the first and the last among them and the rest evenly between."""
    if len(items) <= count:
        return list(items)
    return [items[i * (len(items) - 1) // max(count - 1, 1)] for i in range(count)]
