"""The classification sets that torchvision knows, by name, read where they lie and downloaded only when asked.

N images, C channels, H W space.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor
from torchvision import datasets

from olhar.config import DataConfig
from olhar.data.sample import Collection, Record, Source, Split
from olhar.errors import UserError

Images = Sequence[Path | Source]


@dataclass(frozen=True, slots=True, eq=False)
class Row:
    """One image of a set that is one array. Its `repr`, which tells one set from another, leaves the pixels out."""

    name: str
    images: UInt8[Tensor, "N C H W"] = field(repr=False)
    index: int

    def render(self) -> UInt8[Tensor, "C H W"]:
        return self.images[self.index]


def in_memory(dataset: Any) -> tuple[Images, Sequence[int]]:
    """Images and labels of a set in memory: [N, H, W], [N, H, W, 3] or [N, C, H, W]."""
    images = torch.as_tensor(np.asarray(dataset.data))
    if images.ndim == 3:
        images = images[:, None]
    elif images.shape[-1] == 3:
        images = images.permute(0, 3, 1, 2)
    labels = dataset.targets if hasattr(dataset, "targets") else dataset.labels
    name = f"{type(dataset).__name__} {len(images)}"
    return [Row(name, images, i) for i in range(len(images))], [int(label) for label in labels]


def in_files(dataset: Any) -> tuple[Images, Sequence[int]]:
    """Images and labels of a set of files. torchvision has no public name for their paths, and several private ones."""
    for name in ("samples", "_samples"):
        if pairs := getattr(dataset, name, None):
            return [Path(path) for path, _ in pairs], [label for _, label in pairs]
    paths = dataset._image_files if hasattr(dataset, "_image_files") else dataset._images
    return [Path(path) for path in paths], list(dataset._labels)


@dataclass(frozen=True)
class Known:
    """How torchvision gives a set: its class, the arguments that select each split, and where it keeps the images."""

    dataset: type
    read: Callable[[Any], tuple[Images, Sequence[int]]]
    splits: dict[Split, dict[str, Any]]
    names: tuple[str, ...] = field(default=())  # of the classes, where torchvision gives none


TRAIN_TEST: dict[Split, dict[str, Any]] = {"train": {"train": True}, "test": {"train": False}}
TWO: dict[Split, dict[str, Any]] = {"train": {"split": "train"}, "test": {"split": "test"}}
THREE: dict[Split, dict[str, Any]] = {"train": {"split": "train"}, "val": {"split": "val"}, "test": {"split": "test"}}
ONE: dict[Split, dict[str, Any]] = {"train": {}}
DIGITS = tuple("0123456789")

SETS = {
    "cifar10": Known(datasets.CIFAR10, in_memory, TRAIN_TEST),
    "cifar100": Known(datasets.CIFAR100, in_memory, TRAIN_TEST),
    "mnist": Known(datasets.MNIST, in_memory, TRAIN_TEST),
    "fashion-mnist": Known(datasets.FashionMNIST, in_memory, TRAIN_TEST),
    "kmnist": Known(datasets.KMNIST, in_memory, TRAIN_TEST),
    "usps": Known(datasets.USPS, in_memory, TRAIN_TEST, DIGITS),
    "svhn": Known(datasets.SVHN, in_memory, TWO, DIGITS),
    "stl10": Known(datasets.STL10, in_memory, TWO),
    "oxford-pets": Known(datasets.OxfordIIITPet, in_files, {"train": {"split": "trainval"}, "test": {"split": "test"}}),
    "flowers102": Known(datasets.Flowers102, in_files, THREE),
    "food101": Known(datasets.Food101, in_files, TWO),
    "gtsrb": Known(datasets.GTSRB, in_files, TWO, tuple(str(i) for i in range(43))),
    "dtd": Known(datasets.DTD, in_files, THREE),
    "fgvc-aircraft": Known(datasets.FGVCAircraft, in_files, THREE),
    "eurosat": Known(datasets.EuroSAT, in_files, ONE),
    "sun397": Known(datasets.SUN397, in_files, ONE),
    "country211": Known(datasets.Country211, in_files, {**THREE, "val": {"split": "valid"}}),
    "imagenette": Known(datasets.Imagenette, in_files, {"train": {"split": "train"}, "val": {"split": "val"}}),
}


def home() -> Path:
    """Where sets lie unless the user says otherwise: $OLHAR_DATA, or the user's cache."""
    return Path(os.environ.get("OLHAR_DATA") or Path.home() / ".cache" / "olhar" / "data")


def collection(name: str, folder: str, config: DataConfig) -> Collection:
    """The set `name` in `folder` (empty: `home()`), with its official splits.

    Raises UserError where it is not there and `config.download` does not let it be fetched.
    """
    if config.task not in (None, "classify"):
        raise UserError(f"{name} has classes, nothing to {config.task}: use --task classify.")
    known, root = SETS[name], Path(folder).expanduser() if folder else home()
    records: list[Record] = []
    class_names = known.names
    for split, arguments in known.splits.items():
        dataset = load(name, known, root, arguments, config)
        images, labels = known.read(dataset)
        class_names = known.names or tuple(str(word) for word in dataset.classes)
        for i, (image, label) in enumerate(zip(images, labels, strict=True)):
            id = image.relative_to(root).as_posix() if isinstance(image, Path) else f"{split}/{i:05d}"
            records.append(Record(id, image, split, label=label))
    return Collection(
        root=f"{name}:{folder}" if folder else name,
        format="torchvision",
        task="classify",
        records=records,
        explanation=f"The torchvision set {name}, in {root}: classification, {len(class_names):,} classes",
        class_names=class_names,
        split_origin=dict.fromkeys(known.splits, f"official, of {name}"),
    )


def load(name: str, known: Known, root: Path, arguments: dict[str, Any], config: DataConfig) -> Any:
    """torchvision's own reader, which checks the files against their known hashes where it has them."""
    try:
        return known.dataset(root, **arguments)
    except ModuleNotFoundError as error:
        raise UserError(f"{name} is read with {error.name}: install {error.name} and try again.") from error
    except (RuntimeError, OSError) as error:
        if not config.download:
            raise UserError(
                f"The set {name} is not in {root}, as torchvision lays it out: fetch it with --download, or say where "
                f"it lies with {name}:FOLDER."
            ) from error
    root.mkdir(parents=True, exist_ok=True)
    try:
        return known.dataset(root, **arguments, download=True)
    except (RuntimeError, OSError) as error:
        raise UserError(
            f"{name} could not be downloaded to {root} ({error}): check the network and try again."
        ) from error
