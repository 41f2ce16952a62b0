"""Record -> Sample: which part of an image is kept, and at which size; never random, hence cached.

All that is as large as the image (its mask, the picture it is to become) is read with it and kept in the same cache,
as further planes of one tensor.

Shapes: N batch, C channels, P planes, H W space, h w the size that is kept, K classes.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal, cast

import torch
import torchvision.transforms.v2.functional as F
from jaxtyping import UInt8
from torch import Tensor
from torchvision.transforms import InterpolationMode

from olhar.data.box_view import forth, letterboxed
from olhar.data.decode import decode
from olhar.data.image_size import size_of
from olhar.data.sample import IGNORE, Record, Sample, Source
from olhar.errors import UserError

GREY = 128  # what lies beside an image on its canvas: about what pixels are on average
SCALES = (1, 2, 4, 8)  # at which a JPEG may have been decoded

Truth = Literal["", "mask", "clean", "boxes"]


@dataclass(frozen=True)
class Resize:
    """For tasks about the whole image: its shorter side becomes `side` pixels.

    `square` keeps the central `side` x `side`, which is all of a square image; otherwise all is kept, of panoramas
    the central 16:9.
    """

    side: int
    square: bool = True
    channels: int = 3
    LONGEST: ClassVar[float] = 16 / 9  # longer side over shorter: the widest common camera format

    def __call__(self, image: UInt8[Tensor, "C H W"]) -> UInt8[Tensor, "C h w"]:
        h, w = image.shape[1:]
        shorter = min(h, w)
        limit = shorter if self.square else round(shorter * self.LONGEST)
        # cut before resizing: a strip of 1 x 10000 pixels would otherwise become enormous
        if max(h, w) > limit:
            image = F.center_crop(image, [min(h, limit), min(w, limit)])
        h, w = (round(self.side * n / shorter) for n in image.shape[1:])
        return shrink(image, (h, w))

    @property
    def uniform(self) -> bool:
        """Every image becomes the same shape."""
        return self.square

    @property
    def largest(self) -> tuple[int, int]:
        """Height and width of the largest image this makes."""
        return self.side, self.side if self.square else round(self.side * self.LONGEST) + 1


@dataclass(frozen=True)
class Letterbox:
    """For tasks about every place of the image: all of it, in its proportions, in the middle of a canvas.

    What is left of the canvas is grey, and IGNORE in a mask.
    """

    height: int
    width: int
    channels: int = 3
    uniform: ClassVar[bool] = True

    def __call__(
        self, image: UInt8[Tensor, "C H W"], place: tuple[int, int, int, int] | None = None
    ) -> UInt8[Tensor, "C h w"]:
        top, left, h, w = place or self.place(*image.shape[1:])
        return self.lay(shrink(image, (h, w)), top, left, GREY)

    def mask(self, mask: UInt8[Tensor, "H W"]) -> UInt8[Tensor, "h w"]:
        """A mask at the same place, each pixel with the class of the nearest one."""
        top, left, h, w = self.place(*mask.shape)
        return self.lay(pick(mask[None], (h, w)), top, left, IGNORE)[0]

    def place(self, height: int, width: int) -> tuple[int, int, int, int]:
        """top, left, height, width on the canvas of an image of `height` x `width`."""
        at = letterboxed((height, width), (self.height, self.width))
        return at.y, at.x, at.height, at.width

    def lay(self, image: UInt8[Tensor, "C H W"], top: int, left: int, fill: int) -> UInt8[Tensor, "C h w"]:
        """`image` on a canvas of `fill`."""
        h, w = image.shape[1:]
        if (h, w) == (self.height, self.width):
            return image
        canvas = torch.full((self.height, self.width, len(image)), fill, dtype=torch.uint8).permute(2, 0, 1)
        canvas[:, top : top + h, left : left + w] = image
        return canvas

    @property
    def largest(self) -> tuple[int, int]:
        """Height and width of every image this makes."""
        return self.height, self.width


def shrink(image: UInt8[Tensor, "C H W"], size: tuple[int, int]) -> UInt8[Tensor, "C h w"]:
    """At another size, without aliasing."""
    return image if size == tuple(image.shape[1:]) else F.resize(interleave(image), list(size), antialias=True)


def pick(mask: UInt8[Tensor, "P H W"], size: tuple[int, int]) -> UInt8[Tensor, "P h w"]:
    """At another size, every value one that was there."""
    if size == tuple(mask.shape[1:]):
        return mask
    return F.resize(mask, list(size), interpolation=InterpolationMode.NEAREST_EXACT)


def interleave(image: UInt8[Tensor, "C H W"]) -> UInt8[Tensor, "C H W"]:
    """The same image in memory order H W C, for which torch's resizing of bytes is twice as fast."""
    return image.permute(1, 2, 0).contiguous().permute(2, 0, 1)


@dataclass(frozen=True)
class Reader:
    """Record -> Sample: decodes and resizes what is as large as the image, and adds what else the record says.

    Args:
        num_classes: K, where records carry several labels, to write them as K zeros and ones.
        truth: what a record holds beside its image: "mask", "clean", "boxes", or "" for nothing that lies in it.
    """

    resize: Resize | Letterbox
    num_classes: int = 0
    truth: Truth = ""
    what: ClassVar[str] = "Decoded images"

    @property
    def shape(self) -> tuple[int, int, int]:
        """[h, w, P]: the largest that `planes` makes, as the cache keeps it."""
        channels = self.resize.channels
        return *self.resize.largest, channels + {"": 0, "mask": 1, "clean": channels, "boxes": 0}[self.truth]

    @property
    def uniform(self) -> bool:
        """Every image becomes the same shape."""
        return self.resize.uniform

    def __call__(self, record: Record, planes: UInt8[Tensor, "P h w"] | None = None) -> Sample:
        """The sample. Its planes are given where they were kept, and need not be decoded."""
        return cast(Sample, {**self.annotate(record), **self.split(self.planes(record) if planes is None else planes)})

    def planes(self, record: Record) -> UInt8[Tensor, "P h w"]:
        """The image, and below it the mask or the clean picture.

        Raises UserError where one of them cannot be read, or the two do not belong together.
        """
        image, resize = self.decode(record.image), self.resize
        if isinstance(resize, Resize):
            return resize(image)
        if self.truth == "mask":
            assert record.mask is not None
            mask = record.mask.render()
            agree(record, image, mask)
            return torch.cat([resize(image, resize.place(*mask.shape)), resize.mask(mask)[None]])
        if self.truth == "clean":
            assert record.clean is not None
            clean = self.decode(record.clean)
            return torch.cat([resize(image, resize.place(*clean.shape[1:])), resize(clean)])
        if self.truth == "boxes":  # the image may have been decoded at a fraction: its boxes say what its size is
            return resize(image, resize.place(*size_of(record.image)))
        return resize(image)

    def decode(self, source: Path | Source) -> UInt8[Tensor, "C H W"]:
        """An image, at a fraction of its size where that is enough."""
        return decode(source, side=min(self.resize.largest), channels=self.resize.channels)

    def split(self, planes: UInt8[Tensor, "*N P h w"]) -> dict[str, Tensor]:
        """The planes of one image, or of many, by the keys of a sample."""
        if self.truth in ("", "boxes"):
            return {"image": planes}
        channels = self.resize.channels
        image, rest = planes[..., :channels, :, :], planes[..., channels:, :, :]
        return {"image": image} | ({"mask": rest[..., 0, :, :]} if self.truth == "mask" else {"clean": rest})

    def annotate(self, record: Record) -> Sample:
        """The sample without its planes."""
        sample: Sample = {"id": record.id}
        if record.label is not None:
            sample["label"] = record.label
        if record.labels is not None:
            sample["labels"] = torch.zeros(self.num_classes)
            sample["labels"][list(record.labels)] = 1.0
        if record.target is not None:
            sample["target"] = record.target
        if record.captions:
            sample["text"] = record.captions[0]
        if self.truth == "boxes":
            sample |= self.objects(record)
        return sample

    def objects(self, record: Record) -> Sample:
        """The size of the image, and where they are known its objects, on the canvas."""
        size = size_of(record.image)
        sample: Sample = {"size": torch.tensor(size)}
        if record.boxes is None:
            return sample
        boxes, count = torch.tensor(record.boxes, dtype=torch.float32).view(-1, 4), len(record.boxes)
        sample["boxes"] = forth(boxes, letterboxed(size, self.resize.largest))
        sample["box_labels"] = torch.tensor(record.box_labels or (), dtype=torch.int64)
        sample["box_ignored"] = torch.tensor(record.box_ignored or (False,) * count, dtype=torch.bool)
        return sample


def agree(record: Record, image: UInt8[Tensor, "C H W"], mask: UInt8[Tensor, "h w"]) -> None:
    """Raise UserError where a mask cannot be that of its image: their sizes differ."""
    (h, w), (mask_h, mask_w) = image.shape[1:], mask.shape
    if not any((-(-mask_h // k), -(-mask_w // k)) == (h, w) for k in SCALES):
        raise UserError(
            f"{record.id} has {w} x {h} pixels and its mask {mask_w} x {mask_h}: replace one of them, or leave it out."
        )


@dataclass(frozen=True)
class Frame:
    """What a task about places in an image sees of it: in training a part, the `canvas`; else all, the `whole`.

    Args:
        canvas: (h, w) of what the model is trained on.
        whole: (h, w) that images are fitted into; the same, or larger where parts are cut out.
        scale: pixels of `whole` to one of an image's side, as most of the images have it.
        fit: images of other sizes are fitted into `whole`; else all are seen at `scale`, whatever their size.
        detail: how much more of an image is kept for training than `whole` shows, so that parts can be enlarged.
        truth: what records hold beside their images.
    """

    canvas: tuple[int, int]
    whole: tuple[int, int]
    scale: float = 1.0
    fit: bool = True
    detail: float = 1.0
    truth: Truth = ""

    @classmethod
    def from_facts(cls, facts: dict[str, Any]) -> "Frame":
        """The inverse of `dataclasses.asdict`, after JSON has made lists of the tuples."""
        canvas, whole = ((height, width) for height, width in (facts["canvas"], facts["whole"]))
        return cls(**{**facts, "canvas": canvas, "whole": whole})


@dataclass(frozen=True)
class Preprocess:
    """How files become what the model sees: the facts that prediction needs, and the augmentation of training.

    Tasks about the whole image see squares: evaluation keeps the largest central one, and `natural` shows at least
    0.35 of the area, so objects look on average as large as in that square and no tighter crop is needed (Touvron et
    al. 2019, arXiv:1906.06423). Tasks about every place see all of the image on a canvas.

    Args:
        image_size: side of the square that the model sees.
        frame: for tasks about every place of the image.
    """

    image_size: int
    channels: int = 3
    augment: str = "none"
    num_classes: int = 0
    frame: Frame | None = None

    @property
    def read(self) -> Reader:
        """For evaluation and prediction."""
        if self.frame is None:
            return Reader(Resize(self.image_size, square=True, channels=self.channels), self.num_classes)
        return Reader(Letterbox(*self.frame.whole, self.channels), self.num_classes, self.frame.truth)

    @property
    def train_read(self) -> Reader:
        """For training: the same, but what parts are cut out of is kept larger: 8/7, the usual 256 -> 224."""
        if self.frame is not None:
            height, width = (round(self.frame.detail * side) for side in self.frame.whole)
            return Reader(Letterbox(height, width, self.channels), self.num_classes, self.frame.truth)
        if self.augment in ("natural", "captioned"):
            resize = Resize(round(self.image_size * 8 / 7), square=False, channels=self.channels)
            return Reader(resize, self.num_classes)
        return self.read
