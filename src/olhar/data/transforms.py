"""How training images are varied (Augment, Mix).

Every random number of a sample is a function of (seed, epoch, its index in the data) alone, so the result does
not depend on threads, processes, the batch a sample falls into, or on stopping and resuming; torch's own
generator is never touched.

Shapes: N batch, C channels, H W space, K classes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import ClassVar

import numpy as np
import torch
import torchvision.transforms.v2.functional as F
from jaxtyping import UInt8
from torch import Tensor

from olhar.data.crops import crop_resize
from olhar.data.sample import Batch, Found, Sample, without_image
from olhar.ops import image as ops

TINY, SMALL = 16, 64  # largest sides, in pixels, of digit-like and CIFAR-like images
ENOUGH = 100_000  # training images beyond which tiny images vary enough by themselves
FEW_PASSES = 20  # with 12 over CIFAR-10 hiding parts cost half a percent
FLIP, ORDER = 100, 101  # which of an index's random numbers say these; those before are the presets' own

Indices = Sequence[int] | np.ndarray


def uniform(seed: int, epoch: int, index: Indices, count: int, first: int = 0) -> np.ndarray:
    """`count` numbers in [0, 1) for each index, float64 [N, count]: always the same for the same arguments.

    They are the numbers `first`, `first` + 1 ... of that index; uses that must not agree take different ones.
    A counter-based generator: the counters are hashed by the finaliser of SplitMix64 (Steele, Lea and Flood 2014),
    so any row can be drawn alone, and NumPy's releases cannot change it.
    """
    rows = mix64(stream(seed, epoch) ^ np.asarray(index, np.uint64))
    bits = mix64(rows[:, None] ^ np.arange(first + 1, first + count + 1, dtype=np.uint64))
    return (bits >> np.uint64(11)) * 2.0**-53


@lru_cache(maxsize=64)
def stream(seed: int, epoch: int) -> np.ndarray:
    """What all numbers of an epoch start from, uint64 [1]."""
    return mix64(mix64(np.array([seed], np.uint64)) ^ np.uint64(epoch))


def mix64(x: np.ndarray) -> np.ndarray:
    """A bijection of 64-bit integers in which every input bit changes about half of the output bits."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


@dataclass(frozen=True)
class Augment:
    """Random changes that keep the meaning of a training image; this base, called `none`, changes nothing.

    A preset changes either each image by itself (`per_image`, in the reading threads, a piece of a batch at a time)
    or, where images are so small that a Python call an image would cost more than the model, a whole batch of equal
    shapes at once.
    """

    image_size: int
    flip: bool
    seed: int
    name: ClassVar[str] = "none"
    per_image: ClassVar[bool] = False

    @property
    def size(self) -> tuple[int, int]:
        """Height and width of what `piece` makes."""
        return self.image_size, self.image_size

    def others(self, index: Indices, epoch: int, count: int) -> list[list[int]]:
        """The places, of `count`, of further samples that are joined with the one at each `index`."""
        return [[] for _ in index]

    def piece(
        self, groups: Sequence[Sequence[Found]], epoch: int, out: UInt8[Tensor, "N C {self.size[0]} {self.size[1]}"]
    ) -> list[Sample]:
        """Change N samples, each given with its others behind it: writes their images to `out`, returns the rest.

        Random numbers are drawn for all of them at once, which costs as much as for one.
        """
        raise AssertionError(f"{self.name} changes whole batches")

    def batch(self, image: UInt8[Tensor, "N C H W"], index: Indices, epoch: int) -> UInt8[Tensor, "N C H W"]:
        """Images of equal shape; `index` holds their places in the data."""
        return image

    def together(self, batch: Batch, index: Indices, epoch: int) -> Batch:
        """A whole batch: its images, and what has to be changed with them."""
        batch["image"] = self.batch(batch["image"], index, epoch)
        return batch

    def flipped(self, index: Indices, epoch: int) -> np.ndarray:
        """Whether each image is mirrored, bool [N]: at random in epoch 0, then the other way each time.

        Seeing both ways equally often teaches more an epoch than a coin (Jordan 2024, arXiv:2404.00498).
        """
        draw = uniform(self.seed, 0, index, 1, first=FLIP)[:, 0]
        return ((draw < 0.5) ^ (epoch % 2 == 1)) & self.flip

    def describe(self) -> str:
        return "Training images are shown as they are"


@dataclass(frozen=True)
class Tiny(Augment):
    """For images up to 16 px, such as digits: a pixel or two matter, and a mirrored 2 is no 2."""

    name: ClassVar[str] = "tiny"
    angle: float = 10.0  # degrees to either side: beyond 20 a 1 starts to read as a 7
    zoom: float = 0.1
    move: float = 0.1  # of the side: the pixel by which digits are off centre

    def batch(self, image: UInt8[Tensor, "N C H W"], index: Indices, epoch: int) -> UInt8[Tensor, "N C H W"]:
        u = torch.from_numpy(uniform(self.seed, epoch, index, 4)).float().to(image.device) * 2 - 1
        if self.flip:
            still = torch.zeros(len(image), dtype=torch.int64, device=image.device)
            flipped = torch.from_numpy(self.flipped(index, epoch))
            image = ops.flip_shift(image, flipped.to(image.device), still, still)
        move = self.move * self.image_size
        return ops.affine(
            image, u[:, 0] * math.radians(self.angle), 1 + u[:, 1] * self.zoom, u[:, 2] * move, u[:, 3] * move
        )

    def describe(self) -> str:
        return f"Training images are turned up to {self.angle:g} degrees, scaled and moved up to {self.zoom:.0%}" + (
            " and mirrored left-right" if self.flip else ""
        )


@dataclass(frozen=True)
class Small(Augment):
    """For images up to 64 px, such as CIFAR's: mirrored, moved, and a patch hidden."""

    name: ClassVar[str] = "small"
    move: float = 1 / 8  # of the side: the 4 px of 32 by which CIFAR images are usually moved
    patch: float = 1 / 4  # of the side: mild, since short trainings gain little from hiding more

    def batch(self, image: UInt8[Tensor, "N C H W"], index: Indices, epoch: int) -> UInt8[Tensor, "N C H W"]:
        h, w = image.shape[2:]
        flipped = self.flipped(index, epoch)
        u = uniform(self.seed, epoch, index, 4)
        reach = round(self.move * self.image_size)
        down, right = np.floor((2 * reach + 1) * u[:, :2]).astype(np.int64).T - reach
        size = round(self.patch * self.image_size)
        top, left = np.floor(u[:, 2:] * (h, w)).astype(np.int64).T - size // 2
        moves = [torch.from_numpy(values).to(image.device) for values in (flipped, down, right)]
        corners = [torch.from_numpy(values).to(image.device) for values in (top, left)]
        # mid-grey is about what an image is on average, so the patch carries no signal of its own
        moved = ops.flip_shift(image, *moves)
        return ops.cutout(moved, *corners, size=size, fill=128) if size else moved

    def describe(self) -> str:
        reach, size = round(self.move * self.image_size), round(self.patch * self.image_size)
        mirrored = "mirrored left-right, " if self.flip else ""
        hidden = f", and a patch of {size} x {size} px is hidden" if size else ""
        return f"Training images are {mirrored}moved up to {reach} px{hidden}"


@dataclass(frozen=True)
class Mild(Small):
    """The same for few passes over the data, in which there is no time to learn an image by heart: hiding parts of
    it would only make it slower to learn."""

    name: ClassVar[str] = "mild"
    move: float = 1 / 16
    patch: float = 0.0


@dataclass(frozen=True)
class Natural(Augment):
    """For photographs: a random part at a random size, mirrored, with other light and colour, a patch erased."""

    name: ClassVar[str] = "natural"
    per_image: ClassVar[bool] = True
    area: float = 0.35  # least share of the image shown: 0.08, usual for 90 epochs, is too hard for short trainings
    ratio: float = 4 / 3  # most that a crop is stretched
    colour: float = 0.3  # brightness, contrast and saturation are multiplied by up to 1 ± this
    erase: float = 0.25  # share of images with a patch erased (Zhong et al. 2017, arXiv:1708.04896)

    def piece(self, groups: Sequence[Sequence[Found]], epoch: int, out: UInt8[Tensor, "N C H W"]) -> list[Sample]:
        found = [group[0] for group in groups]
        index = [place for place, _ in found]
        draws, flipped = uniform(self.seed, epoch, index, 12), self.flipped(index, epoch)
        factors = torch.from_numpy(1 + self.colour * (2 * draws[:, 4:7] - 1)).float()
        for i, ((_, sample), row, u) in enumerate(zip(found, out.split(1), draws.tolist(), strict=True)):
            crop_resize(sample["image"], self.crop(sample["image"].shape, u), row)
            if flipped[i]:
                row.copy_(F.horizontal_flip(row))
            if self.colour:  # image by image, so that its floats stay in the processor's cache
                row.copy_(ops.recolour(row, *factors[i].split(1)))
            if u[7] < self.erase:
                self.hide(row, u[8:12])
        return [without_image(sample) for _, sample in found]

    def crop(self, shape: Sequence[int], u: Sequence[float]) -> tuple[int, int, int, int]:
        """top, left, height, width of a part with a random area and ratio (Szegedy et al. 2015, arXiv:1409.4842)."""
        h, w = shape[-2:]
        area = h * w * (self.area + (1 - self.area) * u[0])
        stretch = math.exp(math.log(self.ratio) * (2 * u[1] - 1))
        crop_h = max(1, min(h, round(math.sqrt(area / stretch))))
        crop_w = max(1, min(w, round(math.sqrt(area * stretch))))
        return int(u[2] * (h - crop_h + 1)), int(u[3] * (w - crop_w + 1)), crop_h, crop_w

    def hide(self, image: UInt8[Tensor, "1 C H W"], u: Sequence[float]) -> None:
        """Paint over a part of `image` with a random area, ratio and place."""
        size = self.image_size
        share, stretch = 0.02 + 0.18 * u[0], math.exp(math.log(2) * (2 * u[1] - 1))
        h = min(size, round(size * math.sqrt(share * stretch)))
        w = min(size, round(size * math.sqrt(share / stretch)))
        top, left = int(u[2] * (size - h + 1)), int(u[3] * (size - w + 1))
        image[..., top : top + h, left : left + w] = 128

    def describe(self) -> str:
        mirrored = ", mirrored left-right" if self.flip else ""
        return (
            f"Of each training image a random part of {self.area:.0%} to 100% is shown{mirrored}, with light and "
            f"colour changed by up to {self.colour:.0%} and a patch erased in {self.erase:.0%} of them"
        )


@dataclass(frozen=True)
class Captioned(Natural):
    """For images with captions: nearly all of an image, at another size, in its own light and colours; nothing that a
    caption may name is cut off, covered or painted over."""

    name: ClassVar[str] = "captioned"
    area: float = 0.6  # what a caption speaks of is seldom in the last fifth of both sides
    ratio: float = 1.1
    colour: float = 0.0
    erase: float = 0.0

    def describe(self) -> str:
        mirrored = ", mirrored left-right" if self.flip else ""
        return (
            f"Of each training image a random part of {self.area:.0%} to 100% is shown{mirrored}, in its own colours, "
            "as captions may name them"
        )


@dataclass(frozen=True)
class Mirror(Augment):
    """For pictures that are to be drawn: mirrored and nothing else, for what is shown is what will be drawn."""

    name: ClassVar[str] = "mirror"

    def batch(self, image: UInt8[Tensor, "N C H W"], index: Indices, epoch: int) -> UInt8[Tensor, "N C H W"]:
        flipped = torch.from_numpy(self.flipped(index, epoch)).to(image.device)
        still = torch.zeros(len(image), dtype=torch.int64, device=image.device)
        return ops.flip_shift(image, flipped, still, still)

    def describe(self) -> str:
        return "Training images are mirrored left-right" if self.flip else super().describe()


AUGMENTS: dict[str, type[Augment]] = {
    "none": Augment,
    "tiny": Tiny,
    "small": Small,
    "mild": Mild,
    "natural": Natural,
    "captioned": Captioned,
    "mirror": Mirror,
}


def make_augment(name: str, image_size: int, flip: bool, seed: int) -> Augment:
    """The preset `name` (a key of AUGMENTS) for images of `image_size` px."""
    return AUGMENTS[name](image_size, flip, seed)


def choose(image_size: int, n_train: int, passes: float = math.inf) -> tuple[str, str]:
    """(preset, reason) for square images of `image_size` px, `n_train` of them, shown so many times."""
    if image_size <= TINY and n_train > ENOUGH:
        return "none", f"{n_train:,} images of {image_size} px vary enough by themselves"
    if image_size <= TINY:
        return "tiny", f"images of {image_size} px bear only small changes"
    if image_size <= SMALL and passes < FEW_PASSES:
        return "mild", f"in {passes:.0f} passes no image is learnt by heart"
    if image_size <= SMALL:
        return "small", f"images of {image_size} px are moved, mirrored and partly hidden at almost no cost"
    return "natural", f"images of {image_size} px bear cropping and changes of light"


@dataclass(frozen=True)
class Mix:
    """Each image mixed with the one before it in the batch, and its truth alike, by one λ a batch.

    mixup: λ x + (1 - λ) x', λ ~ Beta(0.2, 0.2) (Zhang et al. 2017, arXiv:1710.09412). cutmix: a box of x' pasted
    into x, its area 1 - λ, λ ~ Beta(1, 1) (Yun et al. 2019, arXiv:1905.04899). Labels become float [N, K].
    """

    name: str
    num_classes: int
    seed: int

    def __call__(self, batch: Batch, epoch: int, number: int) -> Batch:
        """Of N + 1 samples the last N, each mixed with its predecessor; `number` counts an epoch's batches."""
        generator = np.random.default_rng([self.seed, epoch, number])
        image, before = batch["image"][1:], batch["image"][:-1]
        if self.name == "mixup":
            share = float(generator.beta(0.2, 0.2))
            mixed = torch.lerp(before.float(), image.float(), share).round().to(torch.uint8)
        else:
            share, (top, bottom, left, right) = self.box(generator, *image.shape[2:])
            mixed = image.clone()
            mixed[:, :, top:bottom, left:right] = before[:, :, top:bottom, left:right]
        result: Batch = {"id": batch["id"][1:], "image": mixed}
        if "label" in batch:
            batch["label"] = torch.nn.functional.one_hot(batch["label"], self.num_classes).float()
        for key in ("label", "labels", "target"):
            if key in batch:
                result[key] = share * batch[key][1:] + (1 - share) * batch[key][:-1]
        return result

    @staticmethod
    def box(generator: np.random.Generator, h: int, w: int) -> tuple[float, tuple[int, int, int, int]]:
        """The share of x that stays visible, and the box (top, bottom, left, right) that does not."""
        half = math.sqrt(1 - generator.beta(1, 1)) / 2
        y, x = generator.uniform(0, h), generator.uniform(0, w)
        top, bottom = max(0, round(y - half * h)), min(h, round(y + half * h))
        left, right = max(0, round(x - half * w)), min(w, round(x + half * w))
        return 1 - (bottom - top) * (right - left) / (h * w), (top, bottom, left, right)


def make_mix(name: str, num_classes: int, seed: int) -> Mix | None:
    """`mixup` or `cutmix`; None for `none`, and for `mosaic`, which joins samples before they are a batch."""
    return Mix(name, num_classes, seed) if name in ("mixup", "cutmix") else None
