"""`shapes`: scenes of coloured shapes as a collection, drawn when they are read; see `olhar.data.scenes`.

Shapes: H W space.

`shapes:n=20000,objects=3` changes the number of scenes and how many things they hold at most.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Tensor

from olhar.config import DataConfig
from olhar.data.captions import CAPTIONED
from olhar.data.mask_coding import ignored_classes
from olhar.data.sample import IGNORE, Collection, Record, Split
from olhar.data.scenes import SHAPES, Scene, scene
from olhar.errors import UserError, nearest

# Each split owns a range of indices, so that a larger n adds scenes and moves none from one split to another.
FIRST_INDEX: dict[Split, int] = {"train": 0, "val": 100_000_000, "test": 200_000_000}
LIMITS = {
    "n": (80, 10_000_000),  # 80: one scene of each shape in the validation split
    "size": (16, 1024),
    "objects": (1, 6),
    "seed": (0, 2**63 - 1),
    "holdout": (0, 1),
}
PARTS = ("background", *SHAPES)  # the classes of pixels
TASKS = ("classify", "regress", "segment", "detect", "reconstruct", *CAPTIONED)
# What captions are drawn for, unless the arguments say otherwise: two things say what is where, and a test of what was
# never seen together is the one that learning by heart does not pass.
FOR_CAPTIONS = {"objects": 2, "holdout": 1}
FOR_DRAWING = FOR_CAPTIONS | {"n": 20_000}  # of few a model that draws learns each by heart


@dataclass(frozen=True, slots=True)
class Arguments:
    """What may follow `shapes:`."""

    n: int = 5000  # scenes in all: 80% train, 10% validation, 10% test; see also FOR_DRAWING
    size: int = 64  # side in pixels
    objects: int = 1  # things in a scene, at most
    seed: int = 0
    holdout: int = 0  # 1: some (color, shape) pairs are seen in the test only


@dataclass(frozen=True, slots=True)
class SceneMask:
    """What each pixel of a scene shows: `classes` are those of the background and of each shape, or IGNORE."""

    scene: Scene
    classes: tuple[int, ...]

    def render(self) -> UInt8[Tensor, "H W"]:
        """The class of each pixel."""
        return torch.tensor(self.classes, dtype=torch.uint8)[self.scene.sample(noise=0.0)["mask"]]


def parse(text: str, defaults: dict[str, int] | None = None) -> Arguments:
    """The arguments in "n=5000,size=64"; `defaults` are taken where the text says nothing.

    Raises UserError for an unknown or repeated key, and for a value that is no number or out of range.
    """
    known = [field.name for field in fields(Arguments)]
    values = dict(defaults or {})
    given: set[str] = set()
    for part in filter(None, (part.strip() for part in text.split(","))):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        if key not in known:
            raise UserError(f"shapes has no argument '{key}': {nearest(key, known)}")
        if key in given:
            raise UserError(f"shapes was given '{key}' twice: give it once.")
        if not equals or not re.fullmatch(r"[0-9_]+", value):
            raise UserError(f"shapes needs a whole number for '{key}', not '{value}': write for example {key}=64.")
        given.add(key)
        values[key] = int(value)
    for key, value in values.items():
        low, high = LIMITS[key]
        if not low <= value <= high:
            raise UserError(f"shapes takes {key} from {low} to {high}, not {value}.")
    return Arguments(**values)


def scenes(arguments: Arguments, split: Split) -> Iterator[Scene]:
    """The scenes of one split, in the order of their indices, none drawn yet."""
    n, tenth = arguments.n, arguments.n // 10
    count = n - 2 * tenth if split == "train" else tenth
    pairs = ("held out" if split == "test" else "common") if arguments.holdout else "any"
    for index in range(FIRST_INDEX[split], FIRST_INDEX[split] + count):
        yield scene(index, arguments.size, arguments.objects, arguments.seed, pairs=pairs)


def visible(drawn: Scene) -> dict[str, Any]:
    """The boxes of what can be seen of each thing, and their classes, as a record holds them."""
    truth = drawn.sample(noise=0.0)
    boxes = tuple((x0, y0, x1, y1) for x0, y0, x1, y1 in truth["boxes"].tolist())
    return {"boxes": boxes, "box_labels": tuple(truth["box_labels"].tolist())}


def collection(task: str | None = None, config: DataConfig | None = None, arguments: str = "") -> Collection:
    """Scenes to classify (the shape of the main thing), to regress (its size), to segment (the shape each pixel shows),
    to detect (what is visible of every thing), to reconstruct, or with captions, to align or to draw from them.

    `task` is by default the one of `config`, else "classify"; `arguments` is the text after `shapes:`; scenes are
    drawn at `config.image_size` where the arguments give no size.

    Raises UserError for another task and for wrong arguments.
    """
    task = task or (config.task if config else None) or "classify"
    if task not in TASKS:
        raise UserError(f"shapes cannot be used to {task}: {nearest(task, TASKS)}")
    defaults = {"size": config.image_size} if config and config.image_size else {}
    chosen = parse(arguments, defaults | {"align": FOR_CAPTIONS, "diffuse": FOR_DRAWING}.get(task, {}))
    gone = ignored_classes(PARTS, config.ignore if config else None) if task == "segment" else set()
    kept = [k for k in range(len(PARTS)) if k not in gone]
    classes = tuple(kept.index(k) if k in kept else IGNORE for k in range(len(PARTS)))
    records = [
        Record(
            id=f"{split}/{drawn.index - FIRST_INDEX[split]:06d}",
            image=drawn,
            split=split,
            label=drawn.label if task == "classify" else None,
            target=drawn.target if task == "regress" else None,
            mask=SceneMask(drawn, classes) if task == "segment" else None,
            captions=(drawn.caption(),) if task in CAPTIONED else (),
            **(visible(drawn) if task == "detect" else {}),
        )
        for split in FIRST_INDEX
        for drawn in scenes(chosen, split)
    ]
    things = "one thing each" if chosen.objects == 1 else f"1 to {chosen.objects} things each"
    largest = "" if chosen.objects == 1 else "largest "
    goal = {
        "classify": f"classification of the {largest}shape, {len(SHAPES)} classes",
        "regress": "regression of the largest shape's diameter, in percent of the image's side",
        "segment": f"segmentation, {len(kept)} classes: the background and each shape",
        "detect": f"detection of every thing, {len(SHAPES)} classes",
        "reconstruct": "each to be reconstructed",
        "align": "images and captions, of where the largest thing is",
        "diffuse": "pictures from captions, of where the largest thing is",
    }[task]
    notes = ("The test shows pairs of colour and shape that training never does.",) if chosen.holdout else ()
    return Collection(
        root=f"shapes:{arguments}" if arguments else "shapes",
        format="embedded",
        task=task,
        records=records,
        explanation=f"The embedded world of coloured shapes, {chosen.n:,} scenes of {chosen.size}x{chosen.size} pixels "
        f"with {things}, seed {chosen.seed}: {goal}; 80% train, 10% validation, 10% test, fixed.",
        class_names={"classify": SHAPES, "detect": SHAPES, "segment": tuple(PARTS[k] for k in kept)}.get(task, ()),
        target_name="size" if task == "regress" else "",
        notes=notes,
        split_origin=dict.fromkeys(FIRST_INDEX, "drawn, a range of indices for each split"),
    )
