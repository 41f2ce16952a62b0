"""Captions in files that are no tables: lists of images and captions, text files beside the images, COCO's JSON.

captions.txt           a.jpg,A dog on a sofa .            (Flickr8k; any .txt whose lines begin with an image)
Flickr8k.token.txt     a.jpg#0<TAB>A dog on a sofa .
a.jpg  a.txt           the text of a.txt; each line of it is a caption
captions_train2017.json
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from olhar.config import DataConfig
from olhar.data import caption_checks, coco_captions, leftovers
from olhar.data.box_files import Paired, pair
from olhar.data.caption_table import is_utf8, reads_like_captions
from olhar.data.captions import CAPTIONED, Said, absences, collection_of
from olhar.data.columns import FILE_NAMES, Finder, endings
from olhar.data.header import IMAGE_EXTENSIONS
from olhar.data.listing import Candidate, Listing, count, extension, join, scan, split_above, split_of
from olhar.data.sample import Collection, Finding, Split
from olhar.data.split_lists import named_by
from olhar.data.table_file import read_text
from olhar.data.yolo import LINE as BOX_LINE
from olhar.errors import UserError

# An image's name, perhaps with the number of the caption, what separates, and the caption.
ENDINGS = "|".join(ending[1:] for ending in sorted(IMAGE_EXTENSIONS))
LINE = re.compile(rf"\s*(?P<image>\S[^\t,;|]*?\.(?:{ENDINGS}))(?:#\d+)?\s*[\t,;|]\s*(?P<said>.*)", re.IGNORECASE)
LISTS_OF = (".txt", ".token")  # extensions of files in which each line is an image and a caption
PEEKED = 50  # lines, or files, that must mostly be captions
LISTS = re.compile(r"(train|val|dev|test)_?images$", re.IGNORECASE)  # of Flickr8k: Flickr_8k.devImages.txt
LEAST_LETTERS = 0.5  # of the signs of a caption; numbers are something else


def probe(listing: Listing, config: DataConfig) -> list[Candidate]:
    """The ways to read captions of a folder that are in no table."""
    if not listing.images:
        return []
    candidates = []
    lists = [name for name in listing.texts if extension(name) in LISTS_OF and is_list(listing, name, config)]
    if lists:
        first = next(line for line in read_text(listing.root / lists[0]).splitlines() if LINE.match(line))
        what = f"captions in {join(lists[:3])}"
        read = partial(read_lists, listing, lists, config)
        candidates.append(Candidate("captions", what, first.strip()[:80], chosen_by(config), read))
    if beside := sidecars(listing):
        image, file = beside.pairs[0]
        what = f"captions beside the images ({len(beside.pairs):,} text files)"
        read = partial(read_beside, listing, beside, config)
        sample = f"{file.name} says what {image.name} shows"
        candidates.append(Candidate("captions", what, sample, chosen_by(config), read))
    return [*candidates, *coco_captions.probe(listing, config)]


def chosen_by(config: DataConfig) -> str:
    return f"--task {config.task or CAPTIONED[0]} --data.format captions"


def read_file(path: Path, config: DataConfig) -> Collection:
    """The collection of one list. Raises UserError where it is none."""
    listing = scan(path.parent)
    if not listing.images or not is_list(listing, path.name, config):
        raise UserError(f"{path} is no list of images and captions: write its lines as image.jpg,caption.")
    return read_lists(listing, [path.name], config)


def is_list(listing: Listing, name: str, config: DataConfig) -> bool:
    """Whether most of the first lines of a file are an image's name and a caption; unless captions are asked for, no
    few short ones, which may be classes."""
    lines = [line for line in read_text(listing.root / name).splitlines()[: 2 * PEEKED] if line.strip()][:PEEKED]
    found = [match["said"] for line in lines if (match := LINE.match(line)) and is_prose(match["said"])]
    return 2 * len(found) > len(lines) and (config.task in CAPTIONED or reads_like_captions(found))


def is_prose(text: str) -> bool:
    """Whether letters make up most of a text."""
    signs = [sign for sign in text if not sign.isspace()]
    return sum(sign.isalpha() for sign in signs) > LEAST_LETTERS * len(signs)


def read_lists(listing: Listing, names: Sequence[str], config: DataConfig) -> Collection:
    """Images and captions of files in which each line is both.

    Raises UserError where a line is neither, and where images are missing and not allowed to be.
    """
    rows: list[tuple[str, str, Split | None]] = []
    for name in names:
        split: Split | None = split_of(name.rpartition("/")[2].rpartition(".")[0])
        rows.extend((image, text, split) for image, text in lines_of(listing, name))
    finder = Finder(listing.root, listing.root, lambda: listing)
    files = {image: finder.find(image) for image, _, _ in rows}
    missing = [image for image, file in files.items() if file is None]
    where = join(list(names[:3]))
    there = [file for file in files.values() if file]
    notes = absences(missing, there, where, listing.root, config)
    placed = splits_of(listing, there)
    notes += placed.notes
    said = [Said(file, split or placed.of(file), (text,)) for image, text, split in rows if (file := files[image])]
    by = "the names of the files" if any(split for _, _, split in rows) else placed.origin
    said = [one for one in said if one.split or not placed.notes]
    says = f"{where} {'say' if len(names) > 1 else 'says'} what"
    findings = encoding(listing, names)
    return collection_of(listing.root, said, config.task, (says, "show"), where, by, notes, findings)


def lines_of(listing: Listing, name: str) -> Iterator[tuple[str, str]]:
    """(image, caption) of each line. Raises UserError for a line that names no image, but for a first one of titles."""
    for number, line in enumerate(read_text(listing.root / name).split("\n"), 1):
        if not line.strip():
            continue
        match = LINE.match(line)
        if match is None:
            if number == 1 and re.split(r"[\t,;|]", line)[0].strip().lower() in FILE_NAMES:
                continue
            raise UserError(
                f"{name}, line {number} does not begin with the name of an image ('{line.strip()[:40]}'): write it as "
                "image.jpg,caption."
            )
        text = match["said"].strip()
        quoted = len(text) > 1 and text[0] == text[-1] == '"'
        yield match["image"], text[1:-1].replace('""', '"') if quoted else text


@dataclass(frozen=True)
class Placed:
    """The split of each image that has one, what says so, and a note on those that a list does not name."""

    splits: dict[str, Split]
    origin: str = ""
    notes: tuple[str, ...] = ()

    def of(self, image: str) -> Split | None:
        return self.splits.get(image)


def splits_of(listing: Listing, images: Sequence[str]) -> Placed:
    """The splits of images from the folders above them, or from lists: Flickr_8k.trainImages.txt, or train.txt."""
    above: dict[str, Split] = {name: split for name in images if (split := split_above(name))}
    if len(above) == len(images):
        return Placed(above, "their folders")
    lists = split_lists(listing)
    index = endings(dict.fromkeys([*listing.images, *images])) if lists else {}
    captioned = frozenset(images)
    found: dict[str, tuple[int, Split]] = {}  # the folders that were left off a name before it fitted, the fewest
    unsure: dict[str, str] = {}
    used = []
    for file, split in lists.items():
        text = read_text(listing.root / file)
        lines = [named_by(line, index) for line in text.splitlines() if line.strip()]
        named = [(line, known) for line in lines if (known := [n for n in line.images if n in captioned])]
        if 2 * len(named) <= len(lines):
            continue
        used.append(file)
        for line, fits in named:
            if len(fits) > 1:
                says = f"{file} names '{line.text}', which may be {join(fits[:3], 'or')}"
                unsure |= {name: says for name in fits if name not in unsure}
            elif line.off <= found.get(fits[0], (line.off,))[0]:
                found[fits[0]] = line.off, split
    if between := [says for name, says in unsure.items() if name not in found]:
        raise UserError(f"{between[0]}: write its path below {listing.root} there, or leave the line out.")
    return placed_by(used, {name: split for name, (_, split) in found.items()}, images)


def split_lists(listing: Listing) -> dict[str, Split]:
    """The text files that bear a split's name."""
    lists: dict[str, Split] = {}
    for name in listing.texts:
        stem = name.rpartition("/")[2].rpartition(".")[0]
        match = LISTS.search(stem)
        word = match[1] if match else stem
        split = split_of("val" if word.lower() == "dev" else word)
        if extension(name) == ".txt" and split is not None:
            lists[name] = split
    return lists


def placed_by(lists: Sequence[str], found: dict[str, Split], images: Sequence[str]) -> Placed:
    """What lists say of images."""
    if not found:
        return Placed({})
    unnamed = [name for name in images if name not in found]
    notes = (
        (f"{count(len(unnamed), 'image')} in no list of a split left out (first: {unnamed[0]}).",) if unnamed else ()
    )
    return Placed(found, f"the lists {join(lists)}", notes)


def sidecars(listing: Listing) -> Paired | None:
    """Text files that bear the names of images and hold words; None where there are none."""
    files = [name for name in listing.texts if extension(name) == ".txt"]
    stems = {name.rpartition("/")[2].rpartition(".")[0] for name in listing.images}
    if not any(name.rpartition("/")[2].rpartition(".")[0] in stems for name in files):
        return None
    found = pair(listing, files)
    if found is None or 2 * len(found.pairs) < len(listing.images):
        return None
    some = [file.name for _, file in found.pairs[:: max(1, len(found.pairs) // PEEKED)]]
    texts = [text for name in some if (text := read_text(listing.root / name).strip())]
    prose = [text for text in texts if is_prose(text) and not BOX_LINE.match(text)]
    return found if texts and 2 * len(prose) > len(texts) else None


def read_beside(listing: Listing, beside: Paired, config: DataConfig) -> Collection:
    """Images with the text of the file beside each: every line of it that is not empty is a caption."""
    rows = [
        Said(image.name, image.split, tuple(read_text(listing.root / file.name).splitlines()))
        for image, file in beside.pairs
    ]
    placed = splits_of(listing, [row.image for row in rows])
    if not all(row.split for row in rows):
        rows = [Said(row.image, placed.of(row.image), row.captions) for row in rows]
    rows = [row for row in rows if row.split or not placed.notes]
    alone = [part.name for part in beside.alone]
    findings = [
        *leftovers.without_partner(alone, len(rows), "image-without-caption", "image", "text file", "text files"),
        *encoding(listing, [file.name for _, file in beside.pairs]),
    ]
    where = "the text files beside the images"
    says = ("A text file beside each of", "says what it shows")
    return collection_of(
        listing.root, rows, config.task, says, where, placed.origin or "their folders", placed.notes, findings
    )


def encoding(listing: Listing, names: Sequence[str]) -> list[Finding]:
    """What is to be said of files that are not in UTF-8."""
    odd = [name for name in names if not is_utf8((listing.root / name).read_bytes())]
    return [caption_checks.not_utf8(odd)] if odd else []
