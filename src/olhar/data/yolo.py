"""YOLO's text files: a line for each object of an image, `class x y width height` as shares of the image's sides.

x and y are the centre's. A line with more pairs of numbers outlines the object: the box around it is taken. Names of
classes stand in a YAML file (data.yaml) beside the splits, or in classes.txt; an image without a file has no objects.
"""

import math
import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from olhar.config import DataConfig
from olhar.data import leftovers
from olhar.data.box_files import Paired, Placed, folder_of, pair, place, read_each
from olhar.data.boxes import Annotated, Found, understand
from olhar.data.listing import Candidate, Listing, count, extension, kinds, split_of
from olhar.data.pairing import Part
from olhar.data.sample import SPLITS, Box, Collection, Split
from olhar.data.table_file import read_text
from olhar.errors import UserError

NAMES = re.compile(r"(classes|obj|names|labels|class_names|predefined_classes)\.(txt|names)", re.IGNORECASE)
LINE = re.compile(r"\d+(\s+-?[\d.]+(e[+-]?\d+)?){4,}", re.IGNORECASE)
MOST_CLASSES = 99_999  # the greatest number that is a class and not a slip of the hand: each has outputs of its own
PEEKED = 20  # files whose first lines must look like boxes


def probe(listing: Listing, config: DataConfig) -> list[Candidate]:
    """The text files of a folder that fit its images and hold a number and four shares a line."""
    files = [name for name in listing.texts if extension(name) == ".txt"]
    if not files or not listing.images:
        return []
    paired = pair(listing, files)
    if paired is None or not looks_like_yolo([listing.root / file.name for _, file in paired.pairs]):
        return []
    image, file = paired.pairs[0]
    what = f"YOLO's boxes ({len(paired.pairs):,} text files)"
    sample = f"{file.name} has the boxes of {image.name}"
    return [Candidate("yolo", what, sample, "--data.format yolo", partial(read, listing, paired, config))]


def looks_like_yolo(paths: Sequence[Path]) -> bool:
    """Whether most of some files that are not empty begin with a line of numbers as YOLO has them."""
    step = max(1, len(paths) // PEEKED)
    first = [line for path in paths[::step] if (line := read_text(path).strip().partition("\n")[0])]
    return 2 * sum(LINE.fullmatch(line.strip()) is not None for line in first) > len(first)


def read(listing: Listing, paired: Paired, config: DataConfig) -> Collection:
    """The images with their boxes, and the images without a file as background.

    Raises UserError where the YAML file cannot be read.
    """
    settings, source = read_yaml(listing)
    everything = [*(image for image, _ in paired.pairs), *paired.alone]
    placed = by_yaml(listing, everything, settings, source) or place(listing, everything)
    found, broken = read_each(paired.pairs, placed.splits, partial(read_one, listing.root))
    empty = [p for p in paired.alone if p.name in placed.splits]
    found += [Annotated(p.name, placed.splits[p.name], "") for p in empty]
    names, named = class_names(listing, settings, source, found)
    understood = understand(listing, found, "centre", relative=True, class_names=names)
    total = sum(len(record.boxes or ()) for record in understood.records)
    folder = folder_of(file for _, file in paired.pairs)
    orphans = [p.name for p in paired.orphans if is_boxes(listing, p)]
    return Collection(
        root=str(listing.root),
        format="yolo",
        task="detect",
        records=understood.records,
        explanation=f"{count(len(found), 'image')} ({kinds([one.image for one in found])}) with "
        f"{count(total, 'box', 'boxes')} in YOLO's text files in {folder}: detection, "
        f"{count(len(understood.class_names), 'class', 'classes')} {named}{placed.clause}",
        class_names=understood.class_names,
        notes=placed.notes,
        split_origin=placed.origin,
        findings=(
            *placed.findings,
            *broken,
            *leftovers.without_partner(orphans, len(paired.pairs), "missing-image", "annotation", "image", "images"),
            *understood.findings,
        ),
    )


def is_boxes(listing: Listing, file: Part) -> bool:
    """Whether a text file without an image holds boxes, and is not a list or a licence."""
    if NAMES.fullmatch(file.name.rpartition("/")[2]) or not read_text(listing.root / file.name).strip():
        return False
    return looks_like_yolo([listing.root / file.name])


def read_one(root: Path, image: str, file: str) -> Annotated:
    """One file. Raises UserError, with the line, where a line is no box."""
    objects = []
    for number, line in enumerate(read_text(root / file).splitlines(), 1):
        if not line.strip():
            continue
        try:
            label, *values = line.split()
            number_of_class = float(label)
            if not number_of_class.is_integer() or abs(number_of_class) > MOST_CLASSES:
                raise ValueError
            objects.append(Found(box_of([float(value) for value in values]), int(number_of_class)))
        except ValueError:
            what = f"'{line.strip()[:40]}' in line {number}"
            raise UserError(f"{file} has {what}, where a class and four shares belong") from None
    return Annotated(image, None, file, objects)


def box_of(values: Sequence[float]) -> Box:
    """Centre and size of a box, or of the box around an outline; a fifth number is how sure somebody was."""
    if not all(map(math.isfinite, values)):
        raise ValueError
    if len(values) in (4, 5):
        return values[0], values[1], values[2], values[3]
    if len(values) < 6 or len(values) % 2:
        raise ValueError
    x0, x1, y0, y1 = min(values[::2]), max(values[::2]), min(values[1::2]), max(values[1::2])
    return (x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0


def read_yaml(listing: Listing) -> tuple[dict[str, Any], str]:
    """The YAML file that names classes, and its name. Raises UserError where there are several, or it is no YAML."""
    found = []
    for name in listing.texts:
        if extension(name) not in (".yaml", ".yml"):
            continue
        try:
            tree = yaml.safe_load(read_text(listing.root / name))
        except yaml.YAMLError as error:
            problem = getattr(error, "problem", "") or "it is no YAML"
            raise UserError(f"{listing.root / name} cannot be read ({problem}): write it again.") from error
        if isinstance(tree, dict) and isinstance(tree.get("names"), list | dict):
            found.append((tree, name))
    if len(found) > 1:
        raise UserError(
            f"{found[0][1]} and {found[1][1]} both name classes in {listing.root}: keep the one that is right."
        )
    return found[0] if found else ({}, "")


def class_names(
    listing: Listing, settings: dict[str, Any], source: str, images: Sequence[Annotated]
) -> tuple[list[str], str]:
    """The names of the classes in the order of their numbers, and in a clause where they come from."""
    if names := settings.get("names"):
        if isinstance(names, dict):
            names = numbered(names, listing.root / source)
        return [str(name) for name in names], f"named in {source}"
    for name in (*listing.texts, *listing.tables):
        if NAMES.fullmatch(name.rpartition("/")[2]):
            lines = [line.strip() for line in read_text(listing.root / name).splitlines() if line.strip()]
            if lines and not all(LINE.fullmatch(line) for line in lines):
                return lines, f"named in {name}"
    most = max((int(found.label) for one in images for found in one.objects), default=0)
    return [str(k) for k in range(most + 1)], "called by their numbers, as no data.yaml or classes.txt names them"


def numbered(names: dict[Any, Any], path: Path) -> list[Any]:
    """The names of classes that are given by their numbers. Raises UserError where these are no numbers of classes."""
    strange = [key for key in names if not str(key).isdigit() or int(key) > MOST_CLASSES]
    if strange or not names:
        what = f"numbers a class '{strange[0]}'" if strange else "names no class"
        raise UserError(f"{path} {what}: number the names of the classes from 0 on.")
    return [names.get(k, names.get(str(k), str(k))) for k in range(1 + max(int(k) for k in names))]


def by_yaml(listing: Listing, images: Sequence[Part], settings: dict[str, Any], source: str) -> Placed | None:
    """The splits that the YAML file gives, as folders of images or as lists of them; None where it gives none."""
    splits: dict[str, Split] = {}
    for word, value in settings.items():
        split = split_of(str(word))
        for folder in (value if isinstance(value, list) else [value]) if split else ():
            found = inside(listing, [p.name for p in images], str(folder or ""))
            splits |= {name: split for name in found if split is not None}
    if "train" not in splits.values():
        return None
    left = [p.name for p in images if p.name not in splits]
    notes = (f"{count(len(left), 'image')} in no split of {source} left out (first: {left[0]}).",) if left else ()
    present = set(splits.values())
    return Placed(splits, {split: source for split in SPLITS if split in present}, notes)


def inside(listing: Listing, images: Sequence[str], folder: str) -> list[str]:
    """The images below a folder, or in a list, however far above the root its path begins: of its last folders as many
    count as exist here."""
    parts = [piece for piece in folder.replace("\\", "/").split("/") if piece not in ("", ".", "..")]
    for start in range(len(parts)):
        name = "/".join(parts[start:])
        if name in listing.texts:
            stems = {Path(line.strip()).stem for line in read_text(listing.root / name).splitlines() if line.strip()}
            return [image for image in images if Path(image).stem in stems]
        if found := [image for image in images if image.startswith(f"{name}/")]:
            return found
    return []
