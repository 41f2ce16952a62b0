"""Detection from COCO's JSON: `bbox` is x, y, width and height in pixels; a crowd need not be found."""

import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from olhar.config import DataConfig
from olhar.data import coco
from olhar.data.boxes import Annotated, Found, understand
from olhar.data.coco_file import PEEKED, CocoFile, coco_files, load
from olhar.data.columns import Finder
from olhar.data.listing import Candidate, Listing, count, join, kinds, scan, split_above
from olhar.data.sample import SPLITS, Collection
from olhar.errors import UserError

OUTLINE = re.compile(rb'"segmentation"\s*:\s*(\[\s*\[|\{)')


def probe(listing: Listing, config: DataConfig) -> list[Candidate]:
    """COCO's files of a folder; those that differ by the name of a split are one."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in coco_files(listing) if listing.images else []:
        groups[coco.group_of(name)].append(name)
    candidates = []
    for names in groups.values():
        what = f"COCO's boxes in {join(names)}"
        choose = f"give {listing.root / names[0]} instead of the folder" if len(groups) > 1 else "--task detect"
        sample = f"{names[0]} has the boxes of what is in its images"
        candidates.append(Candidate("coco", what, sample, choose, partial(read, listing, names, config)))
    return candidates


def probe_both(listing: Listing, config: DataConfig) -> list[Candidate]:
    """To segment and to detect, where the objects are outlined; to detect alone, where they have boxes only."""
    if config.task == "segment":
        return coco.probe(listing, config)
    boxes = probe(listing, config)
    if config.task is None and boxes and any(has_outlines(listing.root / name) for name in coco_files(listing)):
        outlines = coco.probe(listing, config)
        return [
            *(replace(c, choose=c.choose.replace("--data.format coco", "--task segment")) for c in outlines),
            *boxes,
        ]
    return boxes


def has_outlines(path: Path) -> bool:
    """Whether the start of a file draws an object, and does not only box it."""
    with path.open("rb") as file:
        return OUTLINE.search(file.read(PEEKED * 16)) is not None


def read_file(path: Path, config: DataConfig) -> Collection:
    """The collection of one file: its outlines where there are any, unless boxes are asked for.

    Raises UserError where it cannot be read.
    """
    if config.task == "segment" or (config.task is None and has_outlines(path)):
        return coco.read_file(path, config)
    listing = scan(path.parent)
    if not listing.images and path.parent.name.lower().startswith("annotation"):
        listing = scan(path.parent.parent)
    return read(listing, [path.relative_to(listing.root).as_posix()], config)


def read(listing: Listing, names: Sequence[str], config: DataConfig) -> Collection:
    """The images of these files with their boxes.

    Raises UserError where files are missing and not allowed to be, where the files disagree about the categories, and
    where an object has no box.
    """
    files = [load(listing.root / name, name) for name in names]
    for other in files[1:]:
        if other.categories != files[0].categories:
            raise UserError(f"{files[0].name} and {other.name} list different categories: make them the same.")
    categories = dict(sorted(files[0].categories.items()))
    class_of = {id: k for k, id in enumerate(categories)}
    found: list[Annotated] = []
    missing: list[str] = []
    notes = []
    for file in files:
        if file.annotations or len(files) == 1:
            collect(file, listing, class_of, found, missing)
        else:
            notes.append(f"{file.name} has no annotations: its {count(len(file.images), 'image')} are left out.")
    said = join(names)
    notes += absences(found, missing, said, listing, config)
    if not all(one.split for one in found):
        for one in found:
            one.split = None
    understood = understand(listing, found, "corner", class_names=list(categories.values()))
    total, classes = sum(len(record.boxes or ()) for record in understood.records), len(understood.class_names)
    present = [split for split in SPLITS if split in {record.split for record in understood.records}]
    by = "the names of the files" if any(file.split for file in files) else "their folders"
    splits = f"; splits by {by}" if len(present) > 1 else ""
    return Collection(
        root=str(listing.root),
        format="coco",
        task="detect",
        records=understood.records,
        explanation=f"{count(len(found), 'image')} ({kinds([one.image for one in found])}) with "
        f"{count(total, 'box', 'boxes')} in {said}: detection, {count(classes, 'class', 'classes')}{splits}",
        class_names=understood.class_names,
        notes=tuple(notes),
        split_origin=dict.fromkeys(present, by if len(present) > 1 else said),
        findings=understood.findings,
    )


def collect(
    file: CocoFile, listing: Listing, class_of: dict[int, int], found: list[Annotated], missing: list[str]
) -> None:
    """Add the images of a file. Raises UserError for an object without a box."""
    finder = Finder(listing.root, (listing.root / file.name).parent, lambda: listing)
    for image in file.images:
        name = finder.find(str(image["file_name"]), file.split)
        if name is None:
            missing.append(str(image["file_name"]))
            continue
        objects = [object_of(one, class_of, file.name) for one in file.annotations.get(image["id"], [])]
        size = int(image["height"]), int(image["width"])
        found.append(Annotated(name, file.split or split_above(name), file.name, objects, size))


def object_of(annotation: dict[str, Any], class_of: dict[int, int], file: str) -> Found:
    """One annotation."""
    try:
        x, y, width, height = (float(value) for value in annotation["bbox"])
    except (KeyError, TypeError, ValueError):
        what = f"an annotation (id {annotation.get('id')}) without a 'bbox' of four numbers"
        raise UserError(f"{file} has {what}: add its box, or delete the annotation.") from None
    return Found((x, y, width, height), class_of[annotation["category_id"]], bool(annotation.get("iscrowd")))


def absences(
    found: Sequence[Annotated], missing: Sequence[str], said: str, listing: Listing, config: DataConfig
) -> list[str]:
    """A note that images which are not there are left out. Raises UserError where that is not allowed."""
    if not missing:
        return []
    what = f"{said} names {count(len(missing), 'image')} not found below {listing.root} (first: {join(missing[:3])})"
    if "missing-files" not in config.allow or not found:
        raise UserError(f"{what}: put them there, or leave them out with --allow missing-files.")
    return [f"{what}: left out."]
