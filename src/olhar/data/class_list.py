"""Files that say what the classes of masks are called: classes.txt, label_colors.txt, class_dict.csv, labels.json.

What is read, a class a line or an element: a name; a number and a name; a colour (r g b) and a name, in any order.
"""

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from olhar.data.header import IMAGE_EXTENSIONS
from olhar.data.listing import Listing, extension
from olhar.data.sample import Colour
from olhar.data.table_file import read_separated, read_text
from olhar.errors import UserError

TELLING = re.compile(r"class|label|categor|palette|colou?r|legend|names|codes", re.IGNORECASE)
LARGEST_FILE = 1 << 20  # bytes: a list of 255 names is far smaller
MOST_CLASSES = 255  # a byte a pixel, and one value for "not known"

RGB = r"(?P<colour>\d{1,3}[\s,;]+\d{1,3}[\s,;]+\d{1,3})"
FORMS = tuple(
    re.compile(form)
    for form in (
        RGB + r"[\s,;:]+(?P<name>.*\D.*)",
        r"(?P<name>.*[^\s\d,;:].*?)[\s,;:]+" + RGB + r"\D*",
        r"(?P<value>\d{1,3})[\s:,;=.)]\s*(?P<name>.*\D.*)",
        r"(?P<name>.*\D.*?)\s*[\s:,;=]\s*(?P<value>\d{1,3})",
    )
)
HEADING = re.compile(r"name|class|label|colou?r|index|value|\brgb?\b|\bid\b", re.IGNORECASE)
HEX = re.compile(r"#?([0-9a-f]{6})", re.IGNORECASE)

NAME_KEYS = ("name", "class", "class_name", "label", "label_name", "category", "title", "readable")
VALUE_KEYS = ("value", "id", "index", "class_id", "label_id", "pixel", "pixel_value", "number")
COLOUR_KEYS = ("color", "colour", "rgb", "hex", "color_hex_code", "rgb_color")
WRAPPERS = ("classes", "labels", "names", "categories", "class_names")


@dataclass(frozen=True)
class Entry:
    name: str
    value: int | None = None  # of its pixels, where the file says it
    colour: Colour | None = None


@dataclass(frozen=True)
class ClassList:
    """The classes that one file names, in its order."""

    file: str  # below the root
    entries: tuple[Entry, ...]

    @property
    def has_colours(self) -> bool:
        return all(entry.colour is not None for entry in self.entries)


def class_lists(listing: Listing, folders: Iterable[str]) -> list[ClassList]:
    """The files that name classes, in one of `folders` (of the masks) or above it, the nearest to the root first."""
    above = {"/".join(folder.split("/")[:n]) for folder in {*folders, ""} for n in range(folder.count("/") + 2)}
    found = []
    for name in sorted((*listing.texts, *listing.tables), key=lambda name: (name.count("/"), name)):
        folder, _, file = name.rpartition("/")
        told = TELLING.search(file) is not None
        if folder not in above or not (told or extension(file) == ".json"):
            continue
        path = listing.root / name
        entries = read_entries(path, name, told) if path.stat().st_size <= LARGEST_FILE else ()
        if usable(entries):
            found.append(ClassList(name, tuple(entries)))
    return found


def usable(entries: Sequence[Entry]) -> bool:
    """Whether these are names of classes: each once, and no file among them."""
    names = [entry.name for entry in entries]
    files = any(extension(name) in IMAGE_EXTENSIONS for name in names)
    return 1 <= len(set(names)) == len(names) <= MOST_CLASSES and not files and all(names)


def read_entries(path: Path, name: str, told: bool) -> Sequence[Entry]:
    """The classes in a file; none where it is of another kind. A JSON file whose name does not say that it holds
    classes (`told`) must say so inside."""
    text = read_text(path)
    if extension(name) == ".json":
        try:
            tree = json.loads(text)
        except (ValueError, RecursionError):
            return ()
        return of_json(tree) if told or (isinstance(tree, dict) and {*WRAPPERS} & {*tree}) else ()
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("# ")]
    entries = of_lines(lines)
    if extension(name) == ".txt" or (entries and entries[0].colour):
        return entries
    try:
        columns, rows = read_separated(text, name)
    except UserError:
        return ()
    named = [{key.strip().lower(): cells[i] for key, cells in columns.items()} for i in range(len(rows))]
    return of_json(named) or (entries if len(columns) == 1 else ())


def of_lines(lines: Sequence[str]) -> list[Entry]:
    """A class a line. A form is taken only where every line has it: a name may begin or end with a number."""
    for form in FORMS:
        fits = [form.fullmatch(line) for line in lines]
        if fits[1:] and fits[0] is None and HEADING.search(lines[0]):
            fits = fits[1:]
        if fits and all(fits):
            groups = [match.groupdict() for match in fits if match]
            return [_entry(g["name"], g.get("value"), g.get("colour")) for g in groups]
    return [Entry(line.strip("\"', ")) for line in lines]


def of_json(tree: Any) -> list[Entry]:
    """Classes in any of the shapes people write them: a list of names, names by number, objects with a name."""
    if isinstance(tree, dict):
        wrapped = next((tree[key] for key in WRAPPERS if isinstance(tree.get(key), list | dict)), None)
        if wrapped is not None:
            return of_json(wrapped)
        if all(isinstance(value, str) for value in tree.values()) and all(str(key).isdigit() for key in tree):
            return [_entry(value, key, None) for key, value in sorted(tree.items(), key=lambda item: int(item[0]))]
        if all(isinstance(value, int) and not isinstance(value, bool) for value in tree.values()):
            return [_entry(key, value, None) for key, value in sorted(tree.items(), key=lambda item: item[1])]
        if all(colour_of(value) for value in tree.values()):
            return [_entry(key, None, value) for key, value in tree.items()]
        return []
    if not isinstance(tree, list):
        return []
    if all(isinstance(item, str) for item in tree):
        return [Entry(item.strip()) for item in tree]
    entries = [_of_object(item) for item in tree]
    return [entry for entry in entries if entry is not None] if all(entries) else []


def _of_object(item: Any) -> Entry | None:
    """One class as an object or as a row of a table."""
    if not isinstance(item, dict):
        return None
    item = {str(key).lower(): value for key, value in item.items()}
    name = next((item[key] for key in NAME_KEYS if isinstance(item.get(key), str)), None)
    if name is None:
        return None
    value = next((item[key] for key in VALUE_KEYS if str(item.get(key, "")).strip().isdigit()), None)
    channels = [item.get(short, item.get(long)) for short, long in (("r", "red"), ("g", "green"), ("b", "blue"))]
    colour = next((item[key] for key in COLOUR_KEYS if key in item), None)
    return _entry(name, value, colour if None in channels else channels)


def _entry(name: str, value: Any, colour: Any) -> Entry:
    number = None if value is None else int(value)
    return Entry(name.strip("\"', "), number, None if colour is None else colour_of(colour))


def colour_of(value: Any) -> Colour | None:
    """A colour as a list of three numbers, "64 128 64", "[64, 128, 64]" or "#408040"; None for anything else."""
    if isinstance(value, str):
        match = HEX.fullmatch(value.strip())
        value = bytes.fromhex(match[1]) if match else re.findall(r"\d+", value)
    try:
        red, green, blue = (int(channel) for channel in value)
    except (TypeError, ValueError):
        return None
    return (red, green, blue) if min(red, green, blue) >= 0 and max(red, green, blue) <= 255 else None
