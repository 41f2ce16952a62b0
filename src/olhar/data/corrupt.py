"""What is done to an image that a model learns to restore: noise, no colour, holes, or fewer pixels.

Like every change of a sample it depends on (seed, epoch, the sample's index) alone. What is measured is measured
in epoch 0: always the same noise on the same image.

Shapes: N batch, C channels, H W space.
"""

import math
import re
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Bool, UInt8
from torch import Tensor

from olhar.data.sample import Batch
from olhar.data.transforms import Indices, mix64, stream, uniform
from olhar.errors import UserError
from olhar.ops.image import GREY

LEVEL, WHERE = 200, 201  # which of an index's random numbers say these; see transforms.py
HOLE = 128  # what stands where nothing is known; the model is told apart where that is
MOST_HOLES = 6
DETAIL = frozenset({"noise", "x2", "x4", "pairs"})  # what shrinking the image would change


def parse_noise(text: str) -> tuple[float, float]:
    """Least and largest deviation of "25" or "5-50", in grey levels of 255. Raises UserError for anything else."""
    match = re.fullmatch(r"\s*([0-9.]+)\s*(?:-\s*([0-9.]+)\s*)?", text)
    try:
        low, high = float(match[1]), float(match[2] or match[1])  # type: ignore[index]
    except (TypeError, ValueError):
        low, high = 1.0, 0.0
    if not 0 <= low <= high <= 255:
        raise UserError(f"'{text}' is no level of noise: write a deviation in grey levels, like 25, or a range, 5-50.")
    return low, high


@dataclass(frozen=True)
class Corrupt:
    """batch -> the same with its image corrupted, and what it was before as `clean`; this base changes nothing."""

    seed: int
    name: ClassVar[str] = "none"

    def __call__(self, batch: Batch, index: Indices, epoch: int) -> Batch:
        """`index` holds the places of the images in the data."""
        batch.setdefault("clean", batch["image"])
        return batch

    def describe(self) -> str:
        return "The model gives back the image it is shown"


@dataclass(frozen=True)
class Noise(Corrupt):
    """Gaussian noise, its deviation drawn evenly from `low` to `high` for each image, in grey levels of 255."""

    low: float
    high: float
    name: ClassVar[str] = "noise"

    def __call__(self, batch: Batch, index: Indices, epoch: int) -> Batch:
        clean = batch["image"]
        share = uniform(self.seed, epoch, index, 1, first=LEVEL)[:, 0]
        noisy = torch.empty(clean.shape, memory_format=torch.channels_last)
        generator = torch.Generator()
        for i, place in enumerate(np.asarray(index).tolist()):
            generator.manual_seed(int(mix64(stream(self.seed, epoch) ^ np.uint64(place))[0] >> np.uint64(1)))
            noise = torch.randn(*clean.shape[2:], clean.shape[1], generator=generator)
            noisy[i] = noise.mul_(self.low + (self.high - self.low) * share[i]).permute(2, 0, 1)
        batch["clean"], batch["image"] = clean, noisy.add_(clean).round_().clamp_(0, 255).to(torch.uint8)
        return batch

    def describe(self) -> str:
        levels = f"{self.low:g}" if self.low == self.high else f"{self.low:g} to {self.high:g}"
        return f"The model is shown images with noise of a deviation of {levels} grey levels"


@dataclass(frozen=True)
class Grey(Corrupt):
    """No colour: every channel holds how bright the pixel looks."""

    name: ClassVar[str] = "grey"

    def __call__(self, batch: Batch, index: Indices, epoch: int) -> Batch:
        batch["clean"], batch["image"] = batch["image"], greyed(batch["image"])
        return batch

    def describe(self) -> str:
        return "The model is shown images without colour"


@dataclass(frozen=True)
class Shrink(Corrupt):
    """Made `factor` times smaller and, without the lost detail, as large as before."""

    factor: int
    name: ClassVar[str] = "shrink"

    def __call__(self, batch: Batch, index: Indices, epoch: int) -> Batch:
        clean = batch["image"]
        h, w = clean.shape[2:]
        small = resample(clean, max(1, math.ceil(h / self.factor)), max(1, math.ceil(w / self.factor)))
        batch["clean"], batch["image"] = clean, resample(small, h, w)
        return batch

    def describe(self) -> str:
        return f"The model is shown images made {self.factor} times smaller and enlarged again"


@dataclass(frozen=True)
class Holes(Corrupt):
    """Up to MOST_HOLES rectangles of the image are grey; `holes` says where, 255 inside."""

    name: ClassVar[str] = "holes"

    def __call__(self, batch: Batch, index: Indices, epoch: int) -> Batch:
        clean = batch["image"]
        where = holes(uniform(self.seed, epoch, index, 1 + 4 * MOST_HOLES, first=WHERE), *clean.shape[2:])
        batch["clean"], batch["image"] = clean, clean.masked_fill(where[:, None], HOLE)
        batch["holes"] = where.to(torch.uint8)[:, None] * 255
        return batch

    def describe(self) -> str:
        return f"The model is shown images with up to {MOST_HOLES} rectangular holes"


def greyed(image: UInt8[Tensor, "N C H W"]) -> UInt8[Tensor, "N C H W"]:
    """Every channel replaced by the grey of the pixel."""
    weights = torch.tensor(GREY if image.shape[1] == 3 else (1.0,))
    grey = (image.permute(0, 2, 3, 1).float() @ weights).round_().to(torch.uint8)
    return (
        grey[..., None]
        .expand(-1, -1, -1, image.shape[1])
        .permute(0, 3, 1, 2)
        .contiguous(memory_format=torch.channels_last)
    )


def resample(image: UInt8[Tensor, "N C H W"], height: int, width: int) -> UInt8[Tensor, "N C h w"]:
    """At another size, by cubic interpolation without aliasing."""
    made = F.interpolate(image.float(), (height, width), mode="bicubic", antialias=True, align_corners=False)
    return made.round_().clamp_(0, 255).to(torch.uint8).contiguous(memory_format=torch.channels_last)


def holes(draw: np.ndarray, height: int, width: int) -> Bool[Tensor, "N H W"]:
    """Where rectangles lie that hide a part of each image, from uniform numbers [N, 1 + 4 MOST_HOLES]."""
    count = 1 + np.floor(draw[:, :1] * MOST_HOLES)
    x, y, w, h = draw[:, 1:].reshape(len(draw), 4, MOST_HOLES).transpose(1, 0, 2)
    w, h = 0.08 + 0.32 * w, 0.08 + 0.32 * h  # shares of the sides: from a scratch to a third of the picture
    left, top = x * (1 - w), y * (1 - h)
    across, down = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    columns = (across >= left[..., None]) & (across < (left + w)[..., None])
    rows = (down >= top[..., None]) & (down < (top + h)[..., None])
    shown = np.arange(MOST_HOLES) < count
    inside = rows[..., :, None] & columns[..., None, :] & shown[..., None, None]
    return torch.from_numpy(inside.any(1))


def make_corrupt(name: str, noise: str, seed: int) -> Corrupt:
    """By the name that settings use: none, noise, grey, holes, x2, x4."""
    if name == "noise":
        return Noise(seed, *parse_noise(noise))
    made = {"none": Corrupt, "grey": Grey, "holes": Holes}
    return made[name](seed) if name in made else Shrink(seed, int(name.removeprefix("x")))


def planes_of(image: UInt8[Tensor, "C H W"], alpha: UInt8[Tensor, "1 H W"] | None, name: str) -> UInt8[Tensor, "P h w"]:
    """A new image as a model that undoes the corruption `name` expects it: enlarged, without colour, its transparent
    parts (`alpha` below one half) as holes in a plane of their own."""
    if name == "grey":
        return greyed(image[None])[0]
    if name in ("x2", "x4"):
        factor = int(name[1:])
        return resample(image[None], factor * image.shape[1], factor * image.shape[2])[0]
    if name == "holes":
        if alpha is None:
            raise UserError("nothing of it is transparent: erase what is to be filled in, and save it as PNG")
        hole = alpha < 128
        return torch.cat([image.masked_fill(hole, HOLE), hole.to(torch.uint8) * 255])
    return image


def with_known(values: UInt8[Tensor, "C H W"], planes: UInt8[Tensor, "P H W"], name: str) -> UInt8[Tensor, "C H W"]:
    """A restored image with what `planes`, made by `planes_of`, says of it: outside of holes the image as it was, and
    of an image without colour how bright each pixel is. Both are sharper than what a model saw at its own scale."""
    if name == "holes":
        return torch.where(planes[-1:] > 0, values, planes[:-1])
    if name == "grey" and len(values) == 3:
        wrong = planes.float() - greyed(values[None])[0].float()
        return (values.float() + wrong).round_().clamp_(0, 255).to(torch.uint8)
    return values
