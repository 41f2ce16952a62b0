"""One walk over a folder, shared by every reader, and what a reader answers: a Candidate."""

import os
import re
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from olhar.data.header import IMAGE_EXTENSIONS
from olhar.data.sample import Collection, Split
from olhar.errors import UserError

TABLE_EXTENSIONS = frozenset({".csv", ".tsv", ".jsonl"})
# names of classes, lists of splits or captions, annotations of one image or of many
TEXT_EXTENSIONS = frozenset({".txt", ".json", ".xml", ".yaml", ".yml", ".names", ".token"})
SPLIT_WORDS: dict[str, Split] = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
    "testing": "test",
}
YEAR = re.compile(r"[-_]?(19|20)\d\d$")
# left behind by operating systems: never data
LITTER = frozenset({"__macosx", "thumbs.db", "desktop.ini"})
FORMAT_NAMES = {".jpg": "JPEG", ".jpeg": "JPEG", ".jpe": "JPEG", ".tif": "TIFF", ".tiff": "TIFF", ".webp": "WebP"}


def split_of(word: str) -> Split | None:
    """The split that a folder's, a table's or a cell's word names, whatever its case, be it with a year as in
    train2017."""
    return SPLIT_WORDS.get(YEAR.sub("", word.strip().lower()))


def split_above(name: str) -> Split | None:
    """The split that a folder above a file names, the outermost where several do."""
    return next((split for folder in name.split("/")[:-1] if (split := split_of(folder))), None)


def extension(name: str) -> str:
    """The extension of a file's name in lower case, with its dot; empty where there is none."""
    stem, dot, ending = name.rpartition("/")[2].rpartition(".")
    return (dot + ending).lower() if stem else ""


@dataclass(frozen=True)
class Listing:
    """The files below `root`, as paths with forward slashes, sorted."""

    root: Path
    images: tuple[str, ...]
    tables: tuple[str, ...] = ()
    texts: tuple[str, ...] = ()  # counted in `others` too
    others: Counter[str] = field(default_factory=Counter)  # how many files of each other extension


@dataclass(frozen=True)
class Candidate:
    """One way to read a folder, before any of its labels is read."""

    reader: str  # what --data.format takes
    what: str  # "class folders", "the table labels.csv"
    sample: str  # one example: "train/cat/1.jpg is a 'cat'"
    choose: str  # the option that chooses this reading
    read: Callable[[], Collection]


def kinds(names: Sequence[str]) -> str:
    """The formats of images by their extensions, the commonest first: "JPEG and PNG"."""
    counts = Counter(extension(name) for name in names)
    return join(list(dict.fromkeys(FORMAT_NAMES.get(ext, ext[1:].upper()) for ext, _ in counts.most_common())))


def join(words: Sequence[str], last: str = "and") -> str:
    """Words as a person lists them: "a, b and c"."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}" if words else ""


def count(n: int, noun: str, plural: str = "") -> str:
    """A number and its noun: "1 image", "2,000 images"."""
    return f"{n:,} {noun if n == 1 else plural or noun + 's'}"


def scan(root: Path) -> Listing:
    """Walk `root` once. Hidden files and what operating systems leave behind are passed over.

    Folders behind symbolic links are entered, but never one that is already being walked.
    Raises UserError for a folder that may not be read.
    """
    images: list[str] = []
    tables: list[str] = []
    texts: list[str] = []
    others: Counter[str] = Counter()
    for name in _walk(str(root), "", (os.path.realpath(root),)):
        ext = extension(name)
        if ext in IMAGE_EXTENSIONS:
            images.append(name)
        elif ext in TABLE_EXTENSIONS:
            tables.append(name)
        else:
            others[ext] += 1
            if ext in TEXT_EXTENSIONS:
                texts.append(name)
    return Listing(root, tuple(sorted(images)), tuple(sorted(tables)), tuple(sorted(texts)), others)


def _walk(folder: str, prefix: str, above: tuple[str, ...]) -> Iterator[str]:
    try:
        entries = os.scandir(folder)
    except PermissionError as error:
        raise UserError(f"{folder} may not be read: change its permissions, or choose another folder.") from error
    with entries:
        for entry in entries:
            if entry.name.startswith(".") or entry.name.lower() in LITTER:
                continue
            if not entry.is_dir():
                yield prefix + entry.name
            elif not entry.is_symlink():
                yield from _walk(entry.path, f"{prefix}{entry.name}/", above)
            elif (real := os.path.realpath(entry.path)) not in above:
                yield from _walk(entry.path, f"{prefix}{entry.name}/", (*above, real))
