"""CSV, TSV and JSON lines as columns of text, with the line every row stands in."""

import contextlib
import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from olhar.data.listing import count, extension, join
from olhar.data.sample import Split
from olhar.errors import UserError

Cell = str | tuple[str, ...]  # several values where a JSON list held them

SEPARATORS = "\t,;|"  # in the order of preference where several fit
SNIFFED = 50  # lines that must agree on a separator
# What columns of captions are called, those first that say most.
TEXT_NAMES = (
    *("caption", "captions", "text", "texts", "description", "descriptions", "prompt", "sentence", "sentences", "raw"),
    *("comment", "comments", "alt", "alt_text", "title", "titles"),
    *("legenda", "legendas", "descrição", "descricao", "texto", "título", "titulo"),  # Portuguese
    *("descripción", "descripcion", "leyenda", "légende", "legende", "beschreibung", "didascalia", "descrizione"),
)


@dataclass(frozen=True)
class Table:
    """Columns of equal length. Every row knows its file, its line and the split that its file's name says."""

    name: str  # as the user knows it: "labels.csv", "train.csv and val.csv"
    columns: dict[str, list[Cell]]
    places: list[tuple[str, int]]
    splits: list[Split | None]
    separator: str = ""  # of its cells; empty for JSON lines

    def place(self, row: int) -> str:
        """Where a row stands, for a person: "labels.csv, line 3"."""
        return "{}, line {}".format(*self.places[row])

    def without(self, rows: Sequence[int]) -> "Table":
        """The table without these rows."""
        gone = set(rows)
        kept = [i for i in range(len(self.places)) if i not in gone]
        columns: dict[str, list[Cell]] = {name: [cells[i] for i in kept] for name, cells in self.columns.items()}
        return Table(self.name, columns, [self.places[i] for i in kept], [self.splits[i] for i in kept], self.separator)

    def without_header(self) -> "Table":
        """The table whose first line is an example like the others; its columns get numbers for names."""
        columns: dict[str, list[Cell]] = {
            f"column {i}": [name, *cells] for i, (name, cells) in enumerate(self.columns.items(), 1)
        }
        splits: list[Split | None] = [*self.splits[:1], *self.splits]
        return Table(self.name, columns, [(self.name, 1), *self.places], splits, self.separator)


def read_table(path: Path, name: str, split: Split | None = None) -> Table:
    """A file whose first line names its columns; for JSON lines every line does.

    Raises UserError, with the line, where a line does not fit the columns or is no JSON object.
    """
    text, separator = read_text(path), ""
    if extension(name) == ".jsonl":
        columns, lines = read_json_lines(text, name)
    else:
        separator = sniff(text)
        columns, lines = read_separated(text, name, separator)
    if not lines:
        raise UserError(f"{name} has no rows: give a table with a line for every image.")
    return Table(name, columns, [(name, line) for line in lines], [split] * len(lines), separator)


def concatenate(tables: Sequence[Table]) -> Table:
    """One table below the other; a column that one of them lacks is empty there."""
    names = dict.fromkeys(name for table in tables for name in table.columns)
    return Table(
        join([table.name for table in tables]),
        {name: [cell for t in tables for cell in t.columns.get(name, [""] * len(t.places))] for name in names},
        [place for table in tables for place in table.places],
        [split for table in tables for split in table.splits],
        tables[0].separator,
    )


def read_text(path: Path) -> str:
    """The text of a file in the encodings that spreadsheets write: UTF-16 by its mark, UTF-8, else Windows-1252."""
    data = path.read_bytes()
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return data.decode("utf-16")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("cp1252", errors="replace")


def sniff(text: str) -> str:
    """The separator on which the first lines agree; of several, the one that makes the most columns.

    Where none agrees, the one with the most cells in the first line, so that the odd line can be named.
    """
    best, most = SEPARATORS[0], (False, 0)
    for separator in SEPARATORS:
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        widths: list[int] = []
        with contextlib.suppress(csv.Error):  # said with its line when the whole file is read
            widths.extend(len(row) for row, _ in zip(rows, range(SNIFFED), strict=False) if row)
        if widths and ((len(set(widths)) == 1 and widths[0] > 1), widths[0]) > most:
            best, most = separator, (len(set(widths)) == 1 and widths[0] > 1, widths[0])
    return best


def read_separated(text: str, name: str, separator: str = "") -> tuple[dict[str, list[Cell]], list[int]]:
    """Columns and line numbers of a CSV or TSV, whatever separates the cells where it is not said.

    Where the last column is one of captions, a separator in it belongs to the caption: people write "a dog, a cat"
    without quotes.
    """
    separator = separator or sniff(text)
    rows: list[list[str]] = []
    lines: list[int] = []
    reader = read_rows(text, name, separator)
    header = unique(next(reader, ([], 0))[0])
    wordy = len(header) > 1 and header[-1].lower() in TEXT_NAMES
    for row, line in reader:
        if not any(cell.strip() for cell in row):
            continue
        extra = any(cell.strip() for cell in row[len(header) :])
        if wordy and extra:
            row = [*row[: len(header) - 1], separator.join(row[len(header) - 1 :])]
        elif extra or len(row) < len(header):
            raise UserError(
                f"{name}, line {line} has {count(len(row), 'cell')} where the first line has {len(header)}: mend that "
                f"line (a cell that holds {separator!r} needs quotes around it)."
            )
        rows.append(row)
        lines.append(line)
    return {column: [row[i] for row in rows] for i, column in enumerate(header)}, lines


def read_rows(text: str, name: str, separator: str) -> Iterator[tuple[list[str], int]]:
    """Every row of a CSV or TSV, and the line in which it ends.

    A quote that is not closed takes in the lines below it, up to the next quote or the end of the file, and csv does
    not mind: their rows would be gone without a word. So a row of several lines must be one to the letter, which it is
    where a program wrote it. Raises UserError, with the line of the quote, where it is not.
    """
    taken: list[str] = []  # the lines of one row

    def lines() -> Iterator[str]:
        for line in io.StringIO(text, newline=""):
            taken.append(line)
            yield line

    reader = csv.reader(lines(), delimiter=separator)
    try:
        for row in reader:
            if len(taken) > 1:
                list(csv.reader(taken, delimiter=separator, strict=True))
            yield row, reader.line_num
            taken.clear()
    except csv.Error as error:
        first, last = reader.line_num - len(taken) + 1, reader.line_num
        down = f"; a quote there is not closed, and takes in the lines down to {last}" if last > first else ""
        raise UserError(f"{name}, line {first} cannot be read ({error}{down}): close the quotes there.") from error


def unique(header: Iterable[str]) -> list[str]:
    """Names of columns that differ: an empty or repeated one gets its place for a name."""
    names: list[str] = []
    for i, cell in enumerate(header, 1):
        name = cell.strip()
        names.append(name if name and name not in names else f"column {i}")
    return names


def read_json_lines(text: str, name: str) -> tuple[dict[str, list[Cell]], list[int]]:
    """Columns and line numbers of one JSON object a line; a key that a line lacks is an empty cell."""
    rows: list[dict[str, Cell]] = []
    lines: list[int] = []
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(f"{name}, line {number} is not JSON ({error.msg}): mend that line.") from error
        if not isinstance(row, dict):
            raise UserError(f"{name}, line {number} is not a JSON object: write it as {{'column': value, ...}}.")
        rows.append({key: json_cell(value) for key, value in row.items()})
        lines.append(number)
    keys = dict.fromkeys(key for row in rows for key in row)
    return {key: [row.get(key, "") for row in rows] for key in keys}, lines


def json_cell(value: Any) -> Cell:
    """A JSON value as a CSV would hold it; lists stay lists."""
    if isinstance(value, list) and all(isinstance(item, str | int | float) for item in value):
        return tuple(str(item) for item in value)
    if isinstance(value, str):
        return value
    return "" if value is None else json.dumps(value)
