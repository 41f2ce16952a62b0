"""Segmentation from COCO's JSON: outlines and run lengths of objects, drawn as a mask.

Objects that overlap are drawn the larger first, so that the smaller stay visible; what no object covers is background;
a crowd, whose members nobody told apart, is ignored where no object lies in it.

Shapes: H W space.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Bool, Float32, UInt8

from olhar.config import DataConfig
from olhar.data.checks import finding
from olhar.data.class_list import MOST_CLASSES
from olhar.data.coco_file import CocoFile, coco_files, decode_rle, load
from olhar.data.columns import Finder
from olhar.data.listing import YEAR, Candidate, Listing, count, join, kinds, scan, split_above, split_of
from olhar.data.mask_coding import ignored_classes, is_void
from olhar.data.sample import IGNORE, SPLITS, Collection, Finding, Record, Split
from olhar.data.table import split_in_name
from olhar.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor
else:
    Tensor = Any  # looking at a folder needs no torch

BACKGROUND = "background"  # the class of what no object covers


@dataclass(frozen=True, slots=True)
class Outline:
    """One object: its class, and polygons of x0 y0 x1 y1 ... as float32, or run lengths as COCO has them."""

    label: int
    polygons: tuple[bytes, ...] = ()
    runs: str | bytes | tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class CocoMask:
    """The objects of one image of a file, in the order in which they are drawn. The file and the image's id tell it
    from every other; of what is drawn the repr says nothing: of 100,000 images it would take minutes to write."""

    path: Path
    image: int | str
    height: int
    width: int
    background: int  # the class of what no object covers
    outlines: tuple[Outline, ...] = field(repr=False, compare=False)

    def pixels(self) -> UInt8[np.ndarray, "H W"]:
        """The class of each pixel. Raises UserError where run lengths do not fit the image."""
        canvas = np.full((self.height, self.width), self.background, np.uint8)
        for outline in self.outlines:
            for polygon in outline.polygons:
                fill_polygon(canvas, np.frombuffer(polygon, np.float32).reshape(-1, 2), outline.label)
            if outline.runs:
                canvas[self.covered(outline.runs)] = outline.label
        return canvas

    def covered(self, runs: str | bytes | tuple[int, ...]) -> Bool[np.ndarray, "H W"]:
        """The pixels of run lengths. Raises UserError, with the image, where they do not fit it."""
        try:
            return decode_rle(runs, self.height, self.width)
        except UserError as error:
            raise UserError(f"{self.path}, image {self.image}: {error}; write the file again.") from error

    def render(self) -> Tensor:
        """The same as a tensor, uint8 [H, W]."""
        import torch

        return torch.from_numpy(self.pixels())


def fill_polygon(canvas: UInt8[np.ndarray, "H W"], points: Float32[np.ndarray, "n 2"], label: int) -> None:
    """Set the pixels whose middle lies inside a polygon of x and y, counted from the corner of the first pixel.

    In each row the edges are crossed one after another, and each crossing turns outside into inside, or back.
    """
    height, width = canvas.shape
    x, y = (points - 0.5).T.astype(np.float64)  # so that the middle of a pixel is a whole number
    x_next, y_next = np.roll(x, -1), np.roll(y, -1)
    top, bottom = (np.clip(np.ceil(f(y, y_next)), 0, height).astype(int) for f in (np.minimum, np.maximum))
    edge = np.repeat(np.arange(len(x)), bottom - top)  # once for each row that the edge crosses
    row = np.arange(len(edge)) - np.repeat(np.cumsum(bottom - top) - bottom, bottom - top)
    slope = (x_next - x)[edge] / (y_next - y)[edge]
    column = np.clip(np.ceil(x[edge] + (row - y[edge]) * slope), 0, width).astype(int)
    if not len(row):
        return
    first_row, first_column = row.min(), column.min()
    crossings = np.zeros((row.max() - first_row + 1, column.max() - first_column + 1), np.int32)
    np.add.at(crossings, (row - first_row, column - first_column), 1)
    inside = np.cumsum(crossings, axis=1)[:, :-1] % 2 == 1
    canvas[first_row:, first_column:][: inside.shape[0], : inside.shape[1]][inside] = label


def probe(listing: Listing, config: DataConfig) -> list[Candidate]:
    """COCO's files of a folder; those that differ by the name of a split are one."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in coco_files(listing) if listing.images else []:
        groups[group_of(name)].append(name)
    candidates = []
    for names in groups.values():
        what = f"COCO's annotations in {join(names)}"
        choose = f"give {listing.root / names[0]} instead of the folder" if len(groups) > 1 else "--data.format coco"
        sample = f"{names[0]} outlines what is in its images"
        candidates.append(Candidate("coco", what, sample, choose, partial(read, listing, names, config)))
    return candidates


def group_of(name: str) -> str:
    """The name without the words of splits: instances_train2017 and instances_val2017 are one, and so are
    train/_annotations.coco.json and valid/_annotations.coco.json."""
    folder, _, file = name.rpartition("/")
    stem = YEAR.sub("", file.rpartition(".")[0])
    return f"{'/'.join(f for f in folder.split('/') if not split_of(f))}/{split_in_name(stem + '.json')[1]}"


def read_file(path: Path, config: DataConfig) -> Collection:
    """The collection of one file. Raises UserError where it cannot be read."""
    listing = scan(path.parent)
    if not listing.images and path.parent.name.lower().startswith("annotation"):
        listing = scan(path.parent.parent)
    name = path.relative_to(listing.root).as_posix()
    return read(listing, [name], config)


@dataclass
class Found:
    """What the files hold, as it is collected."""

    images: list[tuple[str, Split | None, CocoMask]] = field(default_factory=list)
    names: set[str] = field(default_factory=set)
    missing: list[str] = field(default_factory=list)  # files that are not there
    boxed: list[str] = field(default_factory=list)  # images with objects that have no outline
    objects: int = 0


def read(listing: Listing, names: Sequence[str], config: DataConfig) -> Collection:
    """The images of these files with their masks.

    Raises UserError where files are missing and not allowed to be, where objects have boxes only, and where the files
    disagree about the categories.
    """
    files = [load(listing.root / name, name) for name in names]
    for other in files[1:]:
        if other.categories != files[0].categories:
            raise UserError(f"{files[0].name} and {other.name} list different categories: make them the same.")
    classes, class_names, ignored = number(files[0].categories, config.ignore)
    found, notes = Found(), []
    for file in files:
        if file.annotations or len(files) == 1:
            collect(file, listing, classes, found)
        else:
            notes.append(f"{file.name} has no annotations: its {count(len(file.images), 'image')} are left out.")
    said = join(names)
    notes += absences(found, said, listing, config)
    in_all = all(split for _, split, _ in found.images)
    records = [
        Record(name, listing.root / name, (split if in_all else None) or "train", mask=mask)
        for name, split, mask in found.images
    ]
    present = [split for split in SPLITS if split in {record.split for record in records}]
    by = "the names of the files" if any(file.split for file in files) else "their folders"
    clauses = [f"{join(ignored)} {'is' if len(ignored) == 1 else 'are'} ignored"] if ignored else []
    clauses += [f"splits by {by}"] if len(present) > 1 else []
    return Collection(
        root=str(listing.root),
        format="coco",
        task="segment",
        records=records,
        explanation=f"{count(len(records), 'image')} ({kinds([r.id for r in records])}) with the outlines of "
        f"{count(found.objects, 'object')} in {said}: "
        + "; ".join([f"segmentation, {count(len(class_names), 'class', 'classes')}", *clauses]),
        class_names=class_names,
        notes=tuple(notes),
        split_origin=dict.fromkeys(present, by if len(present) > 1 else said),
        findings=tuple(boxes_only(found)),
    )


def number(categories: dict[int, str], ignore: str | None) -> tuple[dict[int, int], tuple[str, ...], list[str]]:
    """The class of each category, the names of the classes (background first, then by the categories' ids), and what
    is ignored; category -1 stands for the background.

    Raises UserError where there are more classes than a byte tells, and for an unknown name to ignore.
    """
    categories = {-1: BACKGROUND, **dict(sorted(categories.items()))}
    names = list(dict.fromkeys(categories.values()))
    if len(names) > MOST_CLASSES:
        raise UserError(f"There are {len(names):,} categories, and at most {MOST_CLASSES - 1} are read here.")
    gone = ignored_classes(names, ignore) | {k for k, name in enumerate(names) if is_void(name)}
    kept = [name for k, name in enumerate(names) if k not in gone]
    classes = {id: kept.index(name) if name in kept else IGNORE for id, name in categories.items()}
    return classes, tuple(kept), [f"'{names[k]}'" for k in sorted(gone)]


def collect(file: CocoFile, listing: Listing, classes: dict[int, int], found: Found) -> None:
    """Add the images of a file and their masks."""
    path = listing.root / file.name
    finder = Finder(listing.root, path.parent, lambda: listing)
    for image in file.images:
        name = finder.find(str(image["file_name"]), file.split)
        if name is None:
            found.missing.append(str(image["file_name"]))
            continue
        if name in found.names:
            raise UserError(f"{file.name} lists {name}, which was listed before: keep every image once, in one split.")
        found.names.add(name)
        objects = sorted(file.annotations.get(image["id"], []), key=drawing_order)
        outlines = tuple(outline for one in objects if (outline := outline_of(one, classes)))
        if len(outlines) < len(objects):
            found.boxed.append(name)
        found.objects += len(outlines)
        mask = CocoMask(path, image["id"], int(image["height"]), int(image["width"]), classes[-1], outlines)
        found.images.append((name, file.split or split_above(name), mask))


def drawing_order(annotation: dict[str, Any]) -> tuple[bool, float]:
    """Crowds first, then the larger objects: what is drawn later covers what is drawn before."""
    box = annotation.get("bbox") or (0, 0, 0, 0)
    return not annotation.get("iscrowd"), -float(annotation.get("area") or box[2] * box[3])


def outline_of(annotation: dict[str, Any], classes: dict[int, int]) -> Outline | None:
    """An annotation's outline; None where it has none."""
    label = IGNORE if annotation.get("iscrowd") else classes[annotation["category_id"]]
    drawn = annotation.get("segmentation")
    if isinstance(drawn, dict) and drawn.get("counts"):
        counts = drawn["counts"]
        return Outline(label, runs=tuple(counts) if isinstance(counts, list) else counts)
    lists = [points for points in drawn or () if isinstance(points, list)]
    polygons = [points for points in lists if len(points) >= 6 and len(points) % 2 == 0]
    return Outline(label, tuple(np.array(points, np.float32).tobytes() for points in polygons)) if polygons else None


def absences(found: Found, said: str, listing: Listing, config: DataConfig) -> list[str]:
    """A note that images which are not there are left out. Raises UserError where that is not allowed, where none is
    there, and where no object has an outline."""
    if found.images and not found.objects:
        raise UserError(f"{said} has boxes and no outlines of objects, which segmentation needs: give the outlines.")
    if not found.missing:
        return []
    what = f"{said} names {count(len(found.missing), 'image')} not found below {listing.root} ({shown(found.missing)})"
    if "missing-files" not in config.allow or not found.images:
        raise UserError(f"{what}: put them there, or leave them out with --allow missing-files.")
    return [f"{what}: left out."]


def shown(names: Sequence[str]) -> str:
    return f"first: {join(names[:3])}"


def boxes_only(found: Found) -> Iterator[Finding]:
    """Objects that are not drawn."""
    if found.boxed:
        what = f"{count(len(found.boxed), 'image')} with objects that have a box and no outline, left as background"
        yield finding(
            "warning", "no-outline", what, "Outline them: what is background there is learnt as such.", found.boxed
        )
