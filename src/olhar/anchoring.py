"""From the boxes of a collection to the anchors that fit them: how large, of which proportions, on which levels.

numpy alone: a folder is looked at without torch.

Shapes: n objects, k shapes of a level.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from olhar.data.image_size import size_of
from olhar.data.sample import Record
from olhar.errors import UserError, nearest
from olhar.ops.anchor_fit import fit, make, reached

ON_CPU, ON_GPU = 320, 640  # px, longer side of a canvas: what trains in minutes on two cores, or on a GPU
SIZES, PROPORTIONS = 3, 3  # of each level: k = 9, as in the notes
# Images looked at, evenly over the split: each costs the look at a file's header.
MOST_IMAGES = 4096
SMALL_SHARE = 0.1  # of the objects, the smallest and the largest, that are told apart
# An object should be at least two positions wide, or neighbours share one; finer maps than 4 cost more than they find.
POSITIONS, FINEST, USUAL = 2, 4, 8
WIDTH = 128  # channels of neck and head
KNOWN = ("sizes", "proportions", "strides", "width", "top_down")


@dataclass(frozen=True)
class Anchors:
    """sizes: of each level; strides: of the levels; recall: share of the objects that an anchor overlaps by half, of
    all, of the smallest and of the largest tenth."""

    sizes: tuple[tuple[float, ...], ...]
    proportions: tuple[float, ...]
    strides: tuple[int, ...]
    recall: tuple[float, float, float]

    def sentence(self, canvas: tuple[int, int]) -> str:
        """For people."""
        smallest, largest = self.sizes[0][0], self.sizes[-1][-1]
        every, small, large = (f"{share:.1%}" for share in self.recall)
        return (
            f"Anchors of {smallest:.0f} to {largest:.0f} px on a canvas of {canvas[1]} x {canvas[0]}, fitted to the "
            f"training boxes, overlap {every} of them by half: {small} of the smallest tenth, {large} of the largest."
        )


def canvas_scale(longest: int, wanted: int) -> float:
    """Pixels of the canvas to one of an image's side; images are never enlarged."""
    return min(1.0, wanted / longest)


def usual_strides(side: int) -> tuple[int, ...]:
    """Of the body that is chosen for images of `side` px where nobody names one: small ones are not shrunk at once."""
    return (1, 2, 4, 8) if side <= 64 else (2, 4, 8, 16)


def boxes_on(records: Sequence[Record], canvas: tuple[int, int]) -> Float[np.ndarray, "n 4"]:
    """x0 y0 x1 y1 of the objects of some records on a canvas (h, w), their images in its middle."""
    found = []
    for record in records[:: max(1, -(-len(records) // MOST_IMAGES))]:
        if record.boxes:
            height, width = size_of(record.image)
            scale = min(canvas[0] / height, canvas[1] / width)
            start = np.array([canvas[1] - scale * width, canvas[0] - scale * height] * 2) / 2
            found.append(np.array(record.boxes) * scale + start)
    return np.concatenate(found) if found else np.zeros((0, 4))


def finest_stride(boxes: Float[np.ndarray, "n 4"]) -> int:
    """Of the level with the smallest anchors: by the smallest tenth of the objects."""
    sides = np.sqrt((boxes[:, 2:] - boxes[:, :2]).prod(1))
    return USUAL if len(boxes) and np.quantile(sides, SMALL_SHARE) >= POSITIONS * USUAL else FINEST


def levels_of(strides: Sequence[int], finest: int) -> tuple[int, ...]:
    """The levels of a body that get anchors: from `finest` on, or its last."""
    known = sorted(set(strides))
    return tuple(stride for stride in known if stride >= finest) or (known[-1],)


def anchors_for(
    records: Sequence[Record], canvas: tuple[int, int], strides: Sequence[int], given: Mapping[str, Any]
) -> Anchors:
    """Anchors that fit the objects of the training images, the small ones on the fine levels.

    Args:
        strides: of the body's levels.
        given: what the settings say of sizes, proportions and strides.
    Raises:
        UserError: there is no object, or a setting cannot be meant.
    """
    boxes = boxes_on(records, canvas)
    if not len(boxes):
        raise UserError("There is not one box in the training images: draw some, or give another split.")
    levels = tuple(map(int, numbers(given, "strides"))) or levels_of(strides, finest_stride(boxes))
    strange = [stride for stride in levels if stride not in strides and not _coarser(stride, max(strides))]
    if strange:
        have = ", ".join(map(str, sorted(set(strides))))
        raise UserError(f"The encoder has no level of stride {strange[0]}: it has {have}, and twice its last one.")
    fitted = fit(boxes[:, 2:] - boxes[:, :2], SIZES * len(levels), PROPORTIONS)
    sizes = sorted(numbers(given, "sizes")) or fitted.sizes
    if len(sizes) % len(levels):
        raise UserError(f"{len(sizes)} sizes of anchors cannot be shared evenly by {len(levels)} levels: give more.")
    each = len(sizes) // len(levels)
    parts = tuple(tuple(sizes[i * each : (i + 1) * each]) for i in range(len(levels)))
    proportions = tuple(numbers(given, "proportions")) or fitted.proportions
    return Anchors(parts, proportions, levels, recall(boxes, canvas, levels, parts, proportions))


def recall(
    boxes: Float[np.ndarray, "n 4"],
    canvas: tuple[int, int],
    strides: Sequence[int],
    sizes: Sequence[Sequence[float]],
    proportions: Sequence[float],
) -> tuple[float, float, float]:
    """The share of all objects that an anchor overlaps by half, of the smallest tenth, and of the largest."""
    shapes = [make(np.array(own), np.array(proportions)) for own in sizes]
    hit, area = reached(boxes, canvas, strides, shapes), (boxes[:, 2:] - boxes[:, :2]).prod(1)
    low, high = np.quantile(area, [SMALL_SHARE, 1 - SMALL_SHARE])
    return float(hit.mean()), float(hit[area <= low].mean()), float(hit[area >= high].mean())


def check_given(given: Mapping[str, Any]) -> None:
    """Raise UserError for an argument of the detector that there is not, or that is no list of numbers."""
    for key in given:
        if key not in KNOWN:
            raise UserError(f"model.detector_args has no '{key}': {nearest(key, KNOWN)}")
    for key in ("sizes", "proportions", "strides"):
        numbers(given, key)
    if not str(given.get("width", WIDTH)).isdigit():
        raise UserError(f"model.detector_args.width must be a whole number, not {given['width']!r}.")


def model_args(anchors: Anchors, given: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments of olhar.models.detector.Detector besides the body and the classes."""
    return {
        "anchors": len(anchors.sizes[0]) * len(anchors.proportions),
        "strides": list(anchors.strides),
        "width": int(given.get("width", WIDTH)),
        "top_down": str(given.get("top_down", True)).lower() != "false",
    }


def numbers(given: Mapping[str, Any], key: str) -> list[float]:
    """The numbers above 0 of a setting such as "16,32,64"; none where it is not given."""
    parts = [part for part in str(given.get(key, "")).split(",") if part.strip()]
    try:
        values = [float(part) for part in parts]
    except ValueError:
        values = [-1.0]
    if any(not 0 < value < float("inf") for value in values):
        raise UserError(f"model.detector_args.{key} must be numbers above 0 like 16,32,64, not {given[key]!r}.")
    return values


def _coarser(stride: int, last: int) -> bool:
    """A multiple of the last stride by a power of two: a level that is made by convolutions of stride 2."""
    return stride > last and stride % last == 0 and (stride // last).bit_count() == 1
