"""`digits`: 1,797 real handwritten digits of 8x8 pixels, embedded in the package.

The test portion of "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, 1998, UCI Machine
Learning Repository, CC BY 4.0 (see digits.LICENSE). Each pixel counts the ink, 0 to 16, of a 4x4 block of a
32x32 scan.
"""

import hashlib
from collections import defaultdict
from dataclasses import dataclass
from functools import cache
from importlib import resources

import numpy as np
import torch
from torch import Tensor

from olhar.config import DataConfig
from olhar.data.sample import Collection, Record, Split
from olhar.errors import UserError

CLASS_NAMES = tuple("0123456789")
MOST_INK = 16  # the largest value in the file


@cache
def _arrays() -> tuple[np.ndarray, np.ndarray]:
    """The file's images, uint8 [1797, 8, 8] of 0..16, and labels, uint8 [1797]. Read once, then only looked at."""
    with resources.files("olhar.data").joinpath("digits.npz").open("rb") as file:
        arrays = np.load(file, allow_pickle=False)
        return arrays["image"], arrays["label"]


@dataclass(frozen=True, slots=True)
class Digit:
    """One digit, by its row in the original file."""

    row: int

    def render(self) -> Tensor:
        """The digit as light ink on black, uint8 [1, 8, 8]: 0..16 spread over 0..255."""
        ink = _arrays()[0][self.row].astype(np.float32)
        return torch.from_numpy(np.rint(ink * (255 / MOST_INK)).astype(np.uint8))[None]


def _splits() -> list[Split]:
    """The split of each row, for ever: within each class, in the order of the SHA-256 of their pixels, the first
    20% are test, the next 10% validation, the rest train.

    Hashing mixes the writers, who follow one another in the file, without depending on a generator of random
    numbers.
    """
    images, labels = _arrays()
    by_class: dict[int, list[int]] = defaultdict(list)
    for row, label in enumerate(labels.tolist()):
        by_class[label].append(row)
    splits: list[Split] = ["train"] * len(labels)
    for rows in by_class.values():
        rows.sort(key=lambda row: hashlib.sha256(images[row].tobytes()).digest())
        num_test, num_val = round(0.2 * len(rows)), round(0.1 * len(rows))
        for place, row in enumerate(rows[: num_test + num_val]):
            splits[row] = "test" if place < num_test else "val"
    return splits


def collection(config: DataConfig | None = None) -> Collection:
    """The digits, to classify or to reconstruct. Their splits never change, whatever the fractions in `config`.

    Raises UserError where `config` asks for another task.
    """
    task = (config.task if config else None) or "classify"
    if task not in ("classify", "reconstruct"):
        raise UserError(f"digits has classes, nothing to {task}: use --data.task classify, or shapes.")
    labels, splits = _arrays()[1].tolist(), _splits()
    classify = task == "classify"
    records = [
        Record(id=f"{split}/{label}/{row:04d}", image=Digit(row), split=split, label=label if classify else None)
        for row, (label, split) in enumerate(zip(labels, splits, strict=True))
    ]
    origin = "fixed, stratified by class"
    goal = "classification, 10 classes" if classify else "each to be reconstructed"
    return Collection(
        root="digits",
        format="embedded",
        task=task,
        records=records,
        explanation=f"The embedded set of 1,797 handwritten digits (UCI, 8x8 pixels, grey): {goal}; "
        f"{splits.count('train'):,} train, {splits.count('val')} validation, {splits.count('test')} test, fixed.",
        class_names=CLASS_NAMES if classify else (),
        split_origin={"train": origin, "val": origin, "test": origin},
    )
