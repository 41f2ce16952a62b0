"""COCO's JSON files (T. Lin et al., "Microsoft COCO", 2014): what they hold, read and checked, for every task.

`load` gives images, annotations and categories as the file has them; `decode_rle` draws COCO's run lengths.
Shapes: H W space.
"""

import json
import re
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Bool

from olhar.data.listing import Listing, extension, split_of
from olhar.data.sample import Split
from olhar.errors import UserError

PEEKED = 1 << 16  # bytes at each end of a file that tell what it is: the whole of it can be gigabytes
KEYS = re.compile(rb'"(images|annotations|categories|category_id|image_id|segmentation|bbox)"\s*:')
OF_OBJECTS = {b"categories", b"category_id", b"segmentation", b"bbox"}  # captions have none of them
PANOPTIC = re.compile(rb'"(segments_info|keypoints)"\s*:')  # answers of other tasks, about the same images


@dataclass(frozen=True)
class CocoFile:
    """One file: its images in their order, the annotations of each image by its id, and the categories by theirs."""

    name: str  # below the root
    split: Split | None  # that the file's or its folder's name says
    images: tuple[dict[str, Any], ...]
    annotations: dict[Any, list[dict[str, Any]]]
    categories: dict[int, str]


def coco_files(listing: Listing) -> list[str]:
    """The JSON files of a folder that hold objects in COCO's form, by a look at their ends."""
    return [name for name in listing.texts if extension(name) == ".json" and looks_like_coco(listing.root / name)]


def looks_like_coco(path: Path) -> bool:
    """Whether the ends of a file hold the words that COCO's files of objects have."""
    with path.open("rb") as file:
        ends = file.read(PEEKED)
        if path.stat().st_size > PEEKED:
            file.seek(max(PEEKED, path.stat().st_size - PEEKED))
            ends += file.read()
    words = {match[1] for match in KEYS.finditer(ends)}
    return len(words) >= 3 and bool(words & OF_OBJECTS) and not PANOPTIC.search(ends)


def split_of_file(name: str) -> Split | None:
    """The split that a file's name says, as in instances_train2017.json, or the folder it lies in."""
    folder, _, file = name.rpartition("/")
    words = re.split(r"[\W_]+", file.rpartition(".")[0])
    return next((split for word in (*words, *reversed(folder.split("/"))) if (split := split_of(word))), None)


def must_be_readable(listing: Listing) -> None:
    """Raise UserError where a JSON file is empty or cut short within the words that tell what it is.

    To be asked where nothing else was found in a folder.
    """
    for name in listing.texts:
        path = listing.root / name
        if extension(name) == ".json" and path.stat().st_size <= PEEKED:
            parse(path)


def parse(path: Path) -> Any:
    """What a JSON file holds. Raises UserError where it is empty or no JSON."""
    text = path.read_bytes()
    if not text.strip():
        raise UserError(f"{path} is empty, where COCO's annotations belong: write it again, or delete it.")
    try:
        return json.loads(text)
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not proper JSON ({str(error)[:80]}): write it again.") from error


def load(path: Path, name: str) -> CocoFile:
    """A whole file. Raises UserError where it is no JSON, or lacks what every COCO file has."""
    tree = parse(path)
    for key in ("images", "categories"):
        if not isinstance(tree, dict) or not isinstance(tree.get(key), list):
            raise UserError(f"{path} has no list of '{key}', which COCO's files have: write it again.")
    by_image: dict[Any, list[dict[str, Any]]] = defaultdict(list)
    try:
        images = tuple(tree["images"])
        ids = {image["id"] for image in images if image["file_name"] and int(image["height"]) and int(image["width"])}
        categories = {int(c["id"]): str(c["name"]) for c in tree["categories"]}
        for annotation in tree.get("annotations") or []:
            by_image[annotation["image_id"]].append(annotation)
            if annotation["category_id"] not in categories:
                raise UserError(
                    f"{path} has an annotation (id {annotation.get('id')}) of category {annotation['category_id']}, "
                    "which it does not list: add the category, or delete the annotation."
                )
    except UserError:  # is a ValueError too
        raise
    except (TypeError, ValueError) as error:
        raise UserError(f"{path} is not as COCO's files are ({error}): write it again.") from error
    except KeyError as error:
        raise UserError(f"{path} lacks {error} where COCO's files have it: write it again.") from error
    if absent := [id for id in by_image if id not in ids]:
        raise UserError(f"{path} has annotations of an image {absent[0]} that it does not list: write it again.")
    return CocoFile(name, split_of_file(name), images, dict(by_image), categories)


def decode_rle(counts: str | bytes | Sequence[int], height: int, width: int) -> Bool[np.ndarray, "H W"]:
    """The pixels of an object from COCO's run lengths, as a list or in their compressed text.

    Raises UserError where the lengths do not add up to the image.
    """
    lengths = np.asarray(uncompressed(counts) if isinstance(counts, str | bytes) else counts, np.int64)
    if lengths.sum() != height * width or (len(lengths) and lengths.min() < 0):
        raise UserError(f"run lengths add up to {lengths.sum()} pixels, and the image has {height * width}")
    inside = np.arange(len(lengths)) % 2 == 1  # the first run lies outside, and may be empty
    return np.repeat(inside, lengths).reshape(width, height).T  # columns first


def uncompressed(text: str | bytes) -> list[int]:
    """The lengths in COCO's text: each is a difference to the one two before it (from the third on), in groups of five
    bits, the lowest first; bit 6 says that another group follows, the highest bit of the last is the sign."""
    lengths: list[int] = []
    value = shift = 0
    for byte in text if isinstance(text, bytes) else text.encode("ascii"):
        group = byte - 48  # printable characters begin there
        value |= (group & 0x1F) << shift
        shift += 5
        if group & 0x20:
            continue
        if group & 0x10:
            value -= 1 << shift
        lengths.append(value + lengths[-2] if len(lengths) > 2 else value)
        value = shift = 0
    return lengths
