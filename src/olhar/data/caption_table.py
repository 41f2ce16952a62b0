"""A table of captions: a row for each, with a column of files and one of texts, or several.

    file_name,text                      image,caption_1,caption_2        image<TAB>title
    {"file_name": "1.png", "text": ["a dog", "um cachorro"]}

Rows of one image are its captions together.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from olhar.config import DataConfig
from olhar.data import caption_checks
from olhar.data.captions import CAPTIONED, Said, absences, collection_of, listed, word_count
from olhar.data.columns import (
    LABEL_NAMES,
    Finder,
    ambiguous,
    choose_file_column,
    choose_split_column,
    is_index,
    must_know,
    place_splits,
    shorten,
)
from olhar.data.header import IMAGE_EXTENSIONS
from olhar.data.labels import is_missing, is_number
from olhar.data.listing import Candidate, Listing, extension, split_of
from olhar.data.sample import Collection, Finding
from olhar.data.table_file import TEXT_NAMES, Cell, Table, read_table
from olhar.errors import UserError

SAMPLED = 1000  # cells that are looked at before a column is taken for captions
MANY_WORDS = 3  # in the middle: classes seldom have so long names


def candidate_of(table: Table, files: Sequence[str], finder: Finder, config: DataConfig) -> Candidate | None:
    """The way to read a table as captions; None where no column is one."""
    columns = text_columns(table, files, config)
    if not columns:
        return None
    cells = table.columns[columns[0]]
    shown = next((cell for cell in cells if not is_missing(cell)), "")
    sample = f"column '{columns[0]}' says '{shorten(shown)}'"
    first = finder.root / table.places[0][0]
    choose = (
        f"--task {config.task or CAPTIONED[0]}" if is_labelled(table, config) else f"give {first} instead of the folder"
    )
    read_it = partial(read, table, files, columns, finder, config)
    return Candidate("table", f"captions in the table {table.name}", sample, choose, read_it)


def text_columns(table: Table, files: Sequence[str], config: DataConfig) -> list[str]:
    """The columns of captions: those that were asked for, else by name, else those of many different texts of several
    words. None where no column is one, and where a column of classes was asked for.

    Raises UserError where a column that was asked for is not there.
    """
    if config.text_column is not None:
        whole = config.text_column in table.columns
        names = [config.text_column] if whole else [name.strip() for name in config.text_column.split(",")]
        for name in names:
            must_know(name, table)
        return names
    if config.label_column is not None and config.task is None:
        return []
    taken = {
        *(name for name in files if base(name) not in TEXT_NAMES),
        *([config.file_column] if config.file_column else []),
    }
    left = [name for name, cells in table.columns.items() if name not in taken and not is_index(name, cells)]
    left = [name for name in left if is_text(table.columns[name])]  # of the others none can be a caption
    must = config.task in CAPTIONED
    for known in TEXT_NAMES:  # of several the first, as a caption says more than a title
        named = [name for name in left if base(name) == known]
        if named and (must or reads_like_captions(table.columns[named[0]])):
            return named
    wordy = [name for name in left if many_different(table.columns[name])]
    if must and not wordy:
        wordy = [name for name in left if base(name) not in LABEL_NAMES]
    return wordy


def base(name: str) -> str:
    """A column's name without its number: caption_1 -> caption."""
    return re.sub(r"[\s_.-]*\d+$", "", name.strip().lower()) or name.lower()


def texts_of(cells: Sequence[Cell]) -> list[str]:
    """The texts of some cells, spread over all."""
    some = [cell for cell in cells[:: max(1, len(cells) // SAMPLED)] if not is_missing(cell)]
    return [text for cell in some for text in (cell if isinstance(cell, tuple) else (cell,)) if text.strip()]


def is_text(cells: Sequence[Cell]) -> bool:
    """Whether most cells are neither numbers, nor names of files, nor addresses, nor words for splits."""
    texts = texts_of(cells)
    other = sum(
        is_number(text)
        or "://" in text
        or split_of(text) is not None
        or (" " not in text.strip() and extension(text.strip()) in IMAGE_EXTENSIONS)
        for text in texts
    )
    return 2 * other < len(texts)


def many_different(cells: Sequence[Cell]) -> bool:
    """Whether texts hardly repeat and have more than a word: then they are captions whatever their column is called."""
    texts = texts_of(cells)
    return 2 * len(set(texts)) > len(texts) and sum(map(word_count, texts)) >= 2 * len(texts)


def reads_like_captions(cells: Sequence[Cell]) -> bool:
    """Whether the texts of a column called text or caption are captions, and not a few short classes."""
    texts = texts_of(cells)
    words = sorted(map(word_count, texts))
    return 2 * len(set(texts)) > len(texts) or words[len(words) // 2] >= MANY_WORDS


def is_labelled(table: Table, config: DataConfig) -> str:
    """The column called label or class where there is one, else "": with it a table can be read in two ways, unless
    the captions are asked for."""
    if config.text_column is not None:
        return ""
    return next((name for name in table.columns if name.lower() in LABEL_NAMES), "")


def read(table: Table, files: Sequence[str], columns: Sequence[str], finder: Finder, config: DataConfig) -> Collection:
    """The images of a table with their captions.

    Raises UserError where a column cannot be told, and where files are missing and not allowed to be.
    """
    file_column = choose_file_column(table, files, finder, config)
    split_column = choose_split_column(table, file_column, config)
    if len({base(name) for name in columns}) > 1 and config.text_column is None:
        raise UserError(ambiguous(table, columns, "says what the images show", "--data.text-column"))
    if split_column:
        table = replace(table, splits=[split_of(str(cell)) for cell in table.columns[split_column]])
    names = list(map(finder.find, table.columns[file_column], table.splits))
    notes, kept = leave_out(table, file_column, names, finder, config)
    table, found = table.without(kept.absent), kept.found
    splits, origin = place_splits(table, found, split_column)
    several = len(origin) > 1 or split_column
    texts = zip(*(table.columns[name] for name in columns), strict=True)
    rows = [
        Said(name, split if several else None, tuple(text for cell in cells for text in strings(cell)))
        for name, split, cells in zip(found, splits, texts, strict=True)
    ]
    notes += others(table, columns, files, config)
    where = f"in column{'s' if len(columns) > 1 else ''} {listed(columns)}"
    says = (f"{table.name} names", f"in column '{file_column}' and says what they show {where}")
    by = next(iter(origin.values()))
    findings = file_findings(finder, table)
    return collection_of(finder.root, rows, config.task, says, table.name, by, notes, findings)


def strings(cell: Cell) -> tuple[str, ...]:
    """The captions of one cell: none where it says "nan" or nothing, for images without one."""
    return tuple(cell) if isinstance(cell, tuple) else () if is_missing(cell) else (cell,)


class Kept:
    """Which rows have their file, and which have not."""

    def __init__(self, names: Sequence[str | None]):
        self.absent = [i for i, name in enumerate(names) if name is None]
        self.found = [name for name in names if name is not None]


def leave_out(
    table: Table, column: str, names: Sequence[str | None], finder: Finder, config: DataConfig
) -> tuple[list[str], Kept]:
    """Notes on rows without their image. Raises UserError where these are not allowed to be."""
    kept = Kept(names)
    missing = list(dict.fromkeys(str(table.columns[column][i]) or "an empty cell" for i in kept.absent))
    return absences(missing, kept.found, f"column '{column}' of {table.name}", finder.folder, config), kept


def others(table: Table, columns: Sequence[str], files: Sequence[str], config: DataConfig) -> list[str]:
    """A note on other columns that hold texts too."""
    if config.text_column is not None:
        return []
    left = [name for name in table.columns if name not in (*columns, *files) and base(name) in TEXT_NAMES]
    left = [name for name in left if is_text(table.columns[name])]
    return [f"Column {listed(left)} holds texts too: --data.text-column takes it instead."] if left else []


def file_findings(finder: Finder, table: Table) -> list[Finding]:
    """What is to be said of the files themselves: their encoding, and tabs in what is called .csv."""
    files = list(dict.fromkeys(name for name, _ in table.places))
    found = []
    if odd := [name for name in files if not is_utf8((finder.root / name).read_bytes())]:
        found.append(caption_checks.not_utf8(odd))
    if tabbed := [name for name in files if extension(name) == ".csv" and table.separator == "\t"]:
        found.append(caption_checks.separator(tabbed))
    return found


def is_utf8(data: bytes) -> bool:
    """Whether bytes are UTF-8, or UTF-16 that says so."""
    try:
        data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8")
    except UnicodeDecodeError:
        return False
    return True


def columns_found(listing: Listing) -> str:
    """The tables of a folder and their columns, for an error; empty where there is none."""
    said = []
    for name in listing.tables[:3]:
        try:
            said.append(f"{name} has columns {listed(list(read_table(listing.root / name, name).columns))}")
        except UserError as error:
            said.append(str(error).rstrip("."))
    return "; ".join(said)
