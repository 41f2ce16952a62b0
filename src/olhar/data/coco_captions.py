"""Captions from COCO's JSON (X. Chen et al., "Microsoft COCO Captions", 2015): several for each image."""

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

from olhar.config import DataConfig
from olhar.data.captions import CAPTIONED, Said, absences, collection_of
from olhar.data.coco import group_of
from olhar.data.coco_file import OF_OBJECTS, PEEKED, split_of_file
from olhar.data.columns import Finder
from olhar.data.listing import Candidate, Listing, extension, join, scan, split_above
from olhar.data.sample import Collection
from olhar.errors import UserError

KEYS = re.compile(rb'"(images|annotations|image_id|caption|categories|category_id|segmentation|bbox)"\s*:')
SHARED = {b"images", b"annotations", b"image_id"}


def probe(listing: Listing, config: DataConfig) -> list[Candidate]:
    """COCO's files of captions in a folder; those that differ by the name of a split are one."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in listing.texts:
        if extension(name) == ".json" and holds_captions(listing.root / name):
            groups[group_of(name)].append(name)
    candidates = []
    for names in groups.values():
        choose = (
            f"give {listing.root / names[0]} instead of the folder" if len(groups) > 1 else f"--task {CAPTIONED[0]}"
        )
        sample = f"{names[0]} has captions of its images"
        read_it = partial(read, listing, names, config)
        candidates.append(Candidate("captions", f"COCO's captions in {join(names)}", sample, choose, read_it))
    return candidates


def holds_captions(path: Path) -> bool:
    """Whether the ends of a file hold the words that COCO's files of captions have, and no objects."""
    with path.open("rb") as file:
        ends = file.read(PEEKED)
        if path.stat().st_size > PEEKED:
            file.seek(max(PEEKED, path.stat().st_size - PEEKED))
            ends += file.read()
    words = {match[1] for match in KEYS.finditer(ends)}
    return b"caption" in words and len(words & SHARED) >= 2 and not words & (OF_OBJECTS - {b"categories"})


def read_file(path: Path, config: DataConfig) -> Collection:
    """The collection of one file. Raises UserError where it cannot be read."""
    listing = scan(path.parent)
    if not listing.images and path.parent.name.lower().startswith("annotation"):
        listing = scan(path.parent.parent)
    return read(listing, [path.relative_to(listing.root).as_posix()], config)


def read(listing: Listing, names: Sequence[str], config: DataConfig) -> Collection:
    """The images of these files with their captions.

    Raises UserError where a file is no JSON or lacks what it should have, and where images are missing and not allowed
    to be.
    """
    rows: list[Said] = []
    missing: list[str] = []
    by_name = any(split_of_file(name) for name in names)
    for name in names:
        finder, split = Finder(listing.root, (listing.root / name).parent, lambda: listing), split_of_file(name)
        for file, texts in captions_of(listing.root / name):
            found = finder.find(file, split)
            if found is None:
                missing.append(file)
            else:
                rows.append(Said(found, split or split_above(found), texts))
    where = join(list(names))
    notes = absences(missing, rows, where, listing.root, config)
    says = (f"{where} {'say' if len(names) > 1 else 'says'} what", "show")
    origin = "the names of the files" if by_name else "their folders"
    return collection_of(listing.root, rows, config.task, says, where, origin, notes)


def captions_of(path: Path) -> list[tuple[str, tuple[str, ...]]]:
    """(file name, captions) of each image that a file lists. Raises UserError where it is not as COCO has it."""
    try:
        tree = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not proper JSON ({str(error)[:80]}): write it again.") from error
    by_image: dict[Any, list[str]] = defaultdict(list)
    try:
        for annotation in tree["annotations"]:
            by_image[annotation["image_id"]].append(str(annotation["caption"]))
        images = [(str(image["file_name"]), tuple(by_image.pop(image["id"], ()))) for image in tree["images"]]
    except (KeyError, TypeError) as error:
        raise UserError(f"{path} lacks {error} where COCO's files of captions have it: write it again.") from error
    if by_image:
        raise UserError(
            f"{path} has captions of an image {next(iter(by_image))} that it does not list: write it again."
        )
    return images
