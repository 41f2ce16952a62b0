"""The contract of the data: Record -> Sample -> Batch, and the Collection a reader returns.

Shapes: N batch, C channels, H W space, L tokens, K classes, n objects of one image.
Nothing here reads a file; everything above reads this.
"""

import hashlib
from collections.abc import Generator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypedDict, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor
else:
    # looking at a folder needs records and no tensors; importing torch would take longer than the look
    Tensor = Any

IGNORE = 255  # in a mask: nobody knows the class of this pixel, and nobody is asked
Colour = tuple[int, int, int]  # red, green, blue, 0 to 255
Box = tuple[float, float, float, float]  # x0 y0 x1 y1 in pixels, x to the right and y down

Split = Literal["train", "val", "test"]
SPLITS: tuple[Split, ...] = ("train", "val", "test")


@runtime_checkable
class Source(Protocol):
    """Pixels that are not a file read as it is: drawn, one row of an array, or a file whose values need a key.

    A frozen dataclass of plain values: its repr tells it from every other, and goes into the fingerprint; where it
    has a `path`, so do the size and the time of that file.
    """

    def render(self) -> Tensor:
        """The image, uint8 [C, H, W]; of a mask, uint8 [H, W]."""
        ...


@dataclass(frozen=True, slots=True)
class Record:
    """One example before any pixel is read.

    `id` is the name a person knows it by: the path below the data folder, with forward slashes.
    Only the fields of the task at hand are set.
    """

    id: str
    image: Path | Source
    split: Split
    label: int | None = None  # class index
    labels: tuple[int, ...] | None = None  # class indices that hold, for several labels an image
    target: float | None = None  # number to regress
    mask: "Source | None" = None  # the class of each pixel: renders uint8 [H, W], IGNORE where it is not known
    clean: "Path | Source | None" = None  # the picture that `image` is to become, where it is not `image` itself
    captions: tuple[str, ...] = ()  # what is said of the image; the first is the one it is measured with
    boxes: tuple[Box, ...] | None = None  # of the objects in it; () where there are none
    box_labels: tuple[int, ...] | None = None  # class index of each box
    box_ignored: tuple[bool, ...] | None = None  # boxes that need not be found (crowds); None: none of them


class Sample(TypedDict, total=False):
    """One decoded example. Images are uint8 [C, H, W] until the task normalises them."""

    id: str
    image: Tensor  # uint8 [C, H, W]
    label: int
    labels: Tensor  # float [K] of 0 and 1
    target: float
    mask: Tensor  # uint8 [H, W], class indices, IGNORE where unknown
    boxes: Tensor  # float [n, 4], x0 y0 x1 y1 in pixels
    box_labels: Tensor  # int64 [n]
    box_ignored: Tensor  # bool [n], objects that need be neither found nor missed
    size: Tensor  # int64 [2], height and width of the image as it came, where boxes are asked for in its pixels
    text: str  # a caption: in training one of them at random, else the first
    clean: Tensor  # uint8 [C, H, W], what `image` was before it was corrupted
    latent: Tensor  # float [L, h, w], what an autoencoder made of the image, which is then not there


Found = tuple[int, Sample]  # its place in the data, and the sample


class Batch(TypedDict, total=False):
    """Samples side by side. A task reads the keys it needs and ignores the others."""

    id: list[str]
    image: Tensor  # uint8 [N, C, H, W], contiguous as channels_last
    label: Tensor  # int64 [N]; float [N, K] where labels were mixed
    labels: Tensor  # float [N, K]
    target: Tensor  # float [N]
    mask: Tensor  # uint8 [N, H, W], class indices, IGNORE where unknown
    boxes: list[Tensor]  # N tensors of float [n, 4]
    box_labels: list[Tensor]  # N tensors of int64 [n]
    box_ignored: list[Tensor]  # N tensors of bool [n]
    size: Tensor  # int64 [N, 2], height and width of each image as it came
    tokens: Tensor  # int64 [N, L], of `text`: start, pieces of words, end, padding
    text: list[str]
    others: list[Tensor]  # N tensors of int64 [m, L], tokens of the further captions of each image
    clean: Tensor  # uint8 [N, C, H, W]
    holes: Tensor  # uint8 [N, 1, H, W], 255 where `image` shows nothing
    latent: Tensor  # float [N, L, h, w], contiguous as channels_last


@runtime_checkable
class Batches(Protocol):
    """What feeds the training loop: the same batches for the same epoch, from any place in it."""

    wait_seconds: float

    def __len__(self) -> int: ...
    def epoch(self, epoch: int, skip: int = 0) -> Generator[Batch]: ...


def without_image(sample: Sample) -> Sample:
    """What else a sample holds."""
    return {key: value for key, value in sample.items() if key != "image"}  # type: ignore[return-value]


def to_device(batch: Batch, device: object) -> Batch:
    """The batch with every tensor on `device`; lists of tensors too, strings as they are."""

    # mps would go on reading after the memory is another batch's: github.com/pytorch/pytorch/issues/189690
    ahead = not str(device).startswith("mps")

    def move(value: Any) -> Any:
        if hasattr(value, "to"):
            return value.to(device, non_blocking=ahead)
        if isinstance(value, list) and value and hasattr(value[0], "to"):
            return [item.to(device, non_blocking=ahead) for item in value]
        return value

    return {key: move(value) for key, value in batch.items()}  # type: ignore[return-value]


def first_of(batch: Batch, n: int) -> Batch:
    """The first n samples of a batch."""
    return {key: value[:n] for key, value in batch.items()}  # type: ignore[return-value]


Level = Literal["repaired", "warning", "refused"]


@dataclass(frozen=True)
class Finding:
    """One thing the doctor has to say about a collection.

    `code` is what `--allow CODE` takes. `refused` stops a training run, the others do not.
    """

    level: Level
    code: str
    message: str  # one sentence: what, how many, the first files
    cure: str  # one sentence: what to do
    files: tuple[str, ...] = ()


@dataclass(frozen=True)
class Collection:
    """What a reader found: records with their splits, and in one sentence what it is and why we think so."""

    root: str  # what the user typed: a path or the name of an embedded or torchvision set
    format: str  # "class folders", "table", "masks", "pairs", "plain", "embedded", "torchvision" ...
    task: str  # a key of olhar.tasks.TASKS
    records: Sequence[Record]
    explanation: str  # one sentence
    class_names: tuple[str, ...] = ()
    palette: tuple[Colour, ...] = ()  # the colour each class is drawn in; empty: chosen by who draws
    multilabel: bool = False
    target_name: str = ""  # what is regressed: the column's name
    notes: tuple[str, ...] = ()  # further sentences worth saying
    split_origin: dict[str, str] = field(default_factory=dict)  # where each split comes from
    findings: tuple[Finding, ...] = ()  # what the reader has to say to the doctor: files that belong to nothing

    def split(self, name: str) -> list[Record]:
        """The records of one split, in their stored order."""
        return [record for record in self.records if record.split == name]

    @property
    def captioned(self) -> bool:
        """Whether its images have captions."""
        return any(record.captions for record in self.records)

    def fingerprint(self) -> str:
        """16 hex digits over ids, splits, labels, sizes and times of the files, sources: changes when the data do."""
        digest = hashlib.sha256(repr((self.format, self.task, self.class_names, self.multilabel)).encode())
        for r in self.records:
            digest.update(repr((r.id, r.split, r.label, r.labels, r.target, r.captions)).encode())
            if r.boxes is not None:
                digest.update(repr((r.boxes, r.box_labels, r.box_ignored)).encode())
            for source in (r.image, r.mask, r.clean):
                digest.update(identity(source).encode())
        return digest.hexdigest()[:16]


def identity(source: Path | Source | None) -> str:
    """What tells pixels from others without reading them: of a file its size and time, of the rest their repr."""
    if source is None:
        return ""
    path = source if isinstance(source, Path) else getattr(source, "path", None)
    stat = path.stat() if isinstance(path, Path) else None
    key = "" if isinstance(source, Path) else repr(source)
    return f"{key}{stat.st_size} {stat.st_mtime_ns}" if stat else key
