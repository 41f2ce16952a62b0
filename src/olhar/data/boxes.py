"""From the boxes that files hold, in whatever form, to records: what every reader of boxes has in common.

Boxes leave here as x0 y0 x1 y1 in pixels of the upright image, inside it, with an area, each once. What had to be
changed for that is said (olhar.data.box_checks).

Shapes: n boxes of the whole set, side by side.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from olhar.data import box_checks
from olhar.data.header import header
from olhar.data.listing import Listing
from olhar.data.sample import Box, Finding, Record, Split
from olhar.errors import UserError

Form = Literal["corners", "corner", "centre"]  # x0 y0 x1 y1; x0 y0 width height; x y of the centre, width, height
FORM_WORDS: dict[Form, str] = {
    "corners": "x0, y0, x1, y1",
    "corner": "x, y, width, height",
    "centre": "x and y of the centre, width, height",
}
# Of boxes in their own form hardly one is impossible; read in the other form, a good part always is.
IMPOSSIBLE = 0.05
SLACK = 2.0  # px beyond the image that are no proof of anything: rounding, and counting from 1


@dataclass(frozen=True, slots=True)
class Found:
    """One object as its file has it: four numbers in the file's own form, and its class by name or number."""

    numbers: Box
    label: str | int
    ignored: bool = False  # a crowd, or too difficult: need be neither found nor missed


@dataclass(slots=True)
class Annotated:
    """One image and what is written about it. `size` is (height, width) where the annotation says it."""

    image: str  # below the root
    split: Split | None
    file: str  # that says it, below the root
    objects: list[Found] = field(default_factory=list)
    size: tuple[int, int] | None = None


@dataclass(frozen=True)
class Table:
    """All boxes of a set side by side, so that they can be judged together."""

    image: Int[np.ndarray, " n"]  # index of the image
    numbers: Float[np.ndarray, "n 4"]
    extent: Float[np.ndarray, "n 4"]  # width height width height of the image; infinite where nobody knows


@dataclass(frozen=True)
class Understood:
    """Records, the names of the classes, and what had to be mended."""

    records: tuple[Record, ...]
    class_names: tuple[str, ...]
    findings: tuple[Finding, ...]


def understand(
    listing: Listing,
    images: Sequence[Annotated],
    form: Form,
    relative: bool = False,
    class_names: Sequence[str] | None = None,
    told: bool = False,
) -> Understood:
    """Records of images with boxes.

    Args:
        form: how the four numbers are meant, unless they say otherwise themselves: where they are impossible so and
            possible as corners, or as a corner and a size, they are read like that, and it is said.
        relative: the numbers are shares of the image's width and height, not pixels.
        class_names: in the order of the numbers that objects have for a class; None: the names of the objects, sorted.
        told: the file names the form itself, so that nothing needs to be found out.
    """
    sizes = [size_of(listing, one, relative) for one in images]
    objects = [(i, found) for i, one in enumerate(images) for found in one.objects]
    table = Table(
        np.array([i for i, _ in objects], int),
        np.array([found.numbers for _, found in objects], float).reshape(-1, 4),
        np.array([[w, h, w, h] for h, w in (sizes[i] for i, _ in objects)], float).reshape(-1, 4),
    )
    if relative:
        table = Table(table.image, table.numbers * table.extent, table.extent)
    findings = []
    where = Counter(one.file for one in images if one.objects)
    meant = form if told or relative else form_of(table, form)
    if meant != form:
        findings.append(box_checks.other_form(FORM_WORDS[meant], FORM_WORDS[form], where))
    boxes = to_corners(table.numbers, meant)
    if form == "corners" and meant == "corners" and not relative and counted_from_one(boxes):
        flat = (boxes[:, 2:] == boxes[:, :2]).any(1, keepdims=True)  # not one pixel, but a slip of the hand
        boxes = np.where(flat, boxes, boxes - [1, 1, 0, 0])
        findings.append(box_checks.counted_from_one())
    labels, names, said = labels_of([found.label for _, found in objects], class_names, [images[i] for i, _ in objects])
    findings += said
    boxes, keep, said = mend(boxes, labels, table, [images[i].image for i, _ in objects])
    findings += said
    records = list(make_records(listing, images, objects, boxes, labels, keep))
    return Understood(tuple(records), names, tuple(findings))


def size_of(listing: Listing, one: Annotated, must: bool) -> tuple[float, float]:
    """Height and width of an image: of its file, where the annotation does not say them.

    Infinite where the file cannot be read: the doctor finds that out. With `must` only images with objects are asked.
    """
    if one.size is not None and min(one.size) > 0:
        return one.size
    if must and not one.objects:
        return (np.inf, np.inf)
    try:
        found = header(listing.root / one.image)
    except UserError:
        return (np.inf, np.inf)
    return found.height, found.width


def form_of(table: Table, form: Form) -> Form:
    """The form that the numbers can have. The one that is expected, unless many of them are impossible in it."""
    if form == "centre" or not len(table.numbers):
        return form
    other: Form = "corner" if form == "corners" else "corners"
    expected, instead = (impossible(to_corners(table.numbers, f), table.extent) for f in (form, other))
    return other if expected > IMPOSSIBLE and instead < expected / 4 else form


def impossible(boxes: Float[np.ndarray, "n 4"], extent: Float[np.ndarray, "n 4"]) -> float:
    """The share of boxes that end before they begin, or beyond their image."""
    backwards = (boxes[:, 2:] < boxes[:, :2]).any(1)
    return float((backwards | (boxes > extent + SLACK).any(1)).mean())


def to_corners(numbers: Float[np.ndarray, "n 4"], form: Form) -> Float[np.ndarray, "n 4"]:
    """x0 y0 x1 y1."""
    first, second = numbers[:, :2], numbers[:, 2:]
    if form == "corners":
        return numbers
    low = first if form == "corner" else first - second / 2
    return np.concatenate([low, low + second], 1)


def counted_from_one(boxes: Float[np.ndarray, "n 4"]) -> bool:
    """Whether the first pixel is called 1, as in Pascal VOC, where a box then ends with its last pixel: whole numbers
    that begin with 1 and never with 0."""
    return bool(len(boxes) and (boxes[:, :2].min(0) == 1).all() and (boxes == boxes.round()).all())


def labels_of(
    written: Sequence[str | int], class_names: Sequence[str] | None, images: Sequence[Annotated]
) -> tuple[Int[np.ndarray, " n"], tuple[str, ...], list[Finding]]:
    """The class index of each object, -1 for a number that is no class; names that differ by case only are one class,
    as are equal names of two numbers."""
    if class_names is None:
        named = [str(label).strip() for label in written]
        listed = sorted(set(named))
        place = {name: k for k, name in enumerate(listed)}
        numbers = np.array([place[name] for name in named], int)
    else:
        listed = [name.strip() for name in class_names]
        numbers = np.array([int(label) for label in written], int)
    wrong = (numbers < 0) | (numbers >= len(listed))
    files = [images[i].file for i in np.flatnonzero(wrong).tolist()]
    said = [box_checks.unknown_classes(numbers[wrong].tolist(), len(listed), files)] if files else []
    counts = np.bincount(numbers[~wrong], minlength=len(listed)).tolist()
    groups: dict[str, list[int]] = defaultdict(list)  # those that are one class, the commonest first
    for k in sorted(range(len(listed)), key=lambda k: (-counts[k], listed[k], k)):
        groups[listed[k].casefold()].append(k)
    # a list of names has an order of its own, which stays
    order = sorted(groups.values(), key=min if class_names is not None else lambda group: listed[group[0]])
    several = [group for group in groups.values() if len(group) > 1]
    if several:
        rare = np.isin(numbers, [k for group in several for k in group[1:]])
        odd = [images[i].file for i in np.flatnonzero(rare).tolist()]
        alike = [[(listed[k], counts[k]) for k in group] for group in several]
        said.append(box_checks.alike_names(alike, dict.fromkeys(odd)))
    index = np.full(len(listed) + 1, -1)
    for new, group in enumerate(order):
        index[group] = new
    return index[np.where(wrong, len(listed), numbers)], tuple(listed[group[0]] for group in order), said


def mend(
    boxes: Float[np.ndarray, "n 4"], labels: Int[np.ndarray, " n"], table: Table, names: Sequence[str]
) -> tuple[Float[np.ndarray, "n 4"], Bool[np.ndarray, " n"], list[Finding]]:
    """The boxes inside their images, the corners in order; which of them can be kept; and what is to be said.

    Left out are boxes without an area, without a class, and all but the first of equal ones of one class.
    """
    findings = []

    def say(which: np.ndarray, finding: Callable[[int, list[str]], Finding]) -> None:
        if which.any():
            places = np.flatnonzero(which).tolist()
            findings.append(finding(len(places), list(dict.fromkeys(names[i] for i in places))))

    ordered = np.concatenate([np.minimum(boxes[:, :2], boxes[:, 2:]), np.maximum(boxes[:, :2], boxes[:, 2:])], 1)
    say(np.any(boxes[:, 2:] < boxes[:, :2], axis=1), box_checks.turned)
    inside = np.minimum(ordered.clip(0), table.extent)
    finite = np.isfinite(ordered).all(1)
    area = np.where(finite, (inside[:, 2:] - inside[:, :2]).prod(1), 0)
    say(finite & (area > 0) & (np.abs(inside - ordered) > SLACK).any(1), box_checks.outside)
    say(area <= 0, box_checks.without_area)
    keep = (area > 0) & (labels >= 0)
    rows = np.column_stack([table.image, labels, inside])
    first = np.zeros(len(rows), bool)
    if len(rows):
        first[np.unique(rows, axis=0, return_index=True)[1]] = True
    say(keep & ~first, box_checks.repeated)
    return inside, keep & first, findings


def make_records(
    listing: Listing,
    images: Sequence[Annotated],
    objects: Sequence[tuple[int, Found]],
    boxes: Float[np.ndarray, "n 4"],
    labels: Int[np.ndarray, " n"],
    keep: Bool[np.ndarray, " n"],
) -> Iterator[Record]:
    """One record an image, with those of its boxes that are kept."""
    own: Mapping[int, list[int]] = defaultdict(list)
    for place in np.flatnonzero(keep).tolist():
        own[objects[place][0]].append(place)
    coordinates, classes = boxes.tolist(), labels.tolist()
    for i, one in enumerate(images):
        places = own.get(i, [])
        crowds = tuple(objects[place][1].ignored for place in places)
        yield Record(
            one.image,
            listing.root / one.image,
            one.split or "train",
            boxes=tuple(tuple(coordinates[place]) for place in places),
            box_labels=tuple(classes[place] for place in places),
            box_ignored=crowds if any(crowds) else None,
        )
