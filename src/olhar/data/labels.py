"""What a table's labels are: classes, several classes an image, or a number. Decided from the cells, with the reason.

Where the cells allow two readings, nothing is guessed: the error says how to choose.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from olhar.data.listing import count, join
from olhar.data.table_file import Cell
from olhar.errors import UserError

Answer = int | tuple[int, ...] | float | None  # a class, several classes, a number, or no label

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
DECIMAL_COMMA = re.compile(r"[+-]?\d+(,\d+)?")
YES, NO = frozenset({"1", "1.0", "true"}), frozenset({"0", "0.0", "false"})
# what tables write for "no value"
MISSING = frozenset({"", "na", "n/a", "nan", "null", "none", "-", "?"})
# Column names that promise several labels in a cell, so that spaces and commas in it separate them.
PLURALS = frozenset({"labels", "tags", "classes", "categories", "attributes", "genres", "targets"})
CLASS_WORDS = re.compile(r"class|categor|species|breed", re.IGNORECASE)
# Whole numbers are classes where they are few with many images each, and a quantity where nearly every image has
# its own. Between the two, ages and class indices look the same.
MOST_CLASSES_OF_NUMBERS = 20
FEWEST_IMAGES_A_NUMBER = 5
# Words that hardly ever repeat are captions or names, not classes.
FEWEST_IMAGES_A_WORD = 2


@dataclass(frozen=True)
class Labels:
    """The answer of every row, and in a clause why the column is read so."""

    task: str
    answers: Sequence[Answer]
    reason: str
    class_names: tuple[str, ...] = ()
    multilabel: bool = False


def is_missing(cell: Cell) -> bool:
    return isinstance(cell, str) and cell.strip().lower() in MISSING


def is_number(cell: Cell) -> bool:
    return isinstance(cell, str) and NUMBER.fullmatch(cell.strip()) is not None


def decide(column: str, cells: Sequence[Cell], task: str | None, place: Callable[[int], str]) -> Labels:
    """Read one column of labels. `place(i)` says where row i stands, for errors; without a `task` it is found here.

    Raises UserError where numbers and words are mixed, and where the cells allow two tasks.
    """
    cells = with_points(column, cells)
    separator = separator_of(column, cells) if task != "regress" else None
    if separator is not None:
        return several_classes(column, cells, separator)
    texts = {i: str(cell).strip() for i, cell in enumerate(cells) if not is_missing(cell)}
    words = [i for i, text in texts.items() if not is_number(text)]
    if not texts:
        raise UserError(f"Column '{column}' is empty: choose another with --data.label-column.")
    if not words and (task or task_of_numbers(column, texts.values())) == "regress":
        return numbers(column, len(cells), texts)
    if words and task != "classify":
        refuse_words(column, texts, words, task, place)
    return classes(column, len(cells), texts, numeric=not words)


def refuse_words(
    column: str, texts: Mapping[int, str], words: list[int], task: str | None, place: Callable[[int], str]
) -> None:
    """Raise UserError where words stand among numbers, or hardly ever repeat."""
    figures = [i for i, text in texts.items() if is_number(text)]
    if task == "regress" or figures:
        odd, kind = (figures[0], "number") if figures and len(figures) < len(words) else (words[0], "word")
        cure = "" if task == "regress" else ", or take every value as the name of a class with --task classify"
        raise UserError(
            f"Column '{column}' holds {count(len(figures), 'number')} and {count(len(words), 'word')} "
            f"(the first {kind} is '{texts[odd]}' in {place(odd)}): correct them, choose another column with "
            f"--data.label-column{cure}."
        )
    different = len(set(texts.values()))
    if len(texts) < FEWEST_IMAGES_A_WORD * different:
        first = next(iter(texts))
        raise UserError(
            f"Column '{column}' holds {different:,} different texts for {count(len(texts), 'image')} (the first is "
            f"'{texts[first]}' in {place(first)}), too many to be classes: choose another column with "
            "--data.label-column, or take them as classes with --task classify."
        )


def with_points(column: str, cells: Sequence[Cell]) -> Sequence[Cell]:
    """Numbers written with a decimal comma, as spreadsheets in much of the world do, with a point instead."""
    present = [cell for cell in cells if not is_missing(cell)]
    if column.lower() in PLURALS or not all(isinstance(c, str) and DECIMAL_COMMA.fullmatch(c.strip()) for c in present):
        return cells
    return [cell.replace(",", ".") if isinstance(cell, str) else cell for cell in cells]


def separator_of(column: str, cells: Sequence[Cell]) -> str | None:
    """What separates several labels in a cell: "" for JSON lists, None for one label a cell.

    A bar or a semicolon always separates. A comma, which names may contain, separates where the parts are fewer
    than the cells that differ; a space only where the column's name is a plural too.
    """
    if any(isinstance(cell, tuple) for cell in cells):
        return ""
    different = {str(cell).strip() for cell in cells if not is_missing(cell)}
    for separator in "|;":
        if any(separator in text for text in different):
            return separator
    for separator in ", ":
        parts = {part for text in different for part in split_cell(text, separator)}
        plural = column.lower() in PLURALS
        if any(separator in text for text in different) and len(parts) < len(different):
            return separator if separator == "," or plural else None
        if separator == "," and plural and any("," in text for text in different):
            return separator
    return None


def split_cell(cell: Cell, separator: str) -> list[str]:
    """The labels of one cell, without the blanks around them."""
    parts = cell if isinstance(cell, tuple) else cell.split(separator) if separator else [cell]
    return [part.strip() for part in parts if not is_missing(part)]


def several_classes(column: str, cells: Sequence[Cell], separator: str) -> Labels:
    """Multi-label classification. A cell without labels is an image that has none of them."""
    rows = [split_cell(cell, separator) for cell in cells]
    names = tuple(sorted({name for row in rows for name in row}))
    index = {name: i for i, name in enumerate(names)}
    how = {"": "in lists", " ": "separated by spaces"}.get(separator, f"separated by '{separator}'")
    reason = (
        f"column '{column}' holds several labels an image, {how}: multi-label classification, {len(names):,} classes"
    )
    return Labels("classify", [tuple(sorted({index[n] for n in row})) for row in rows], reason, names, multilabel=True)


def task_of_numbers(column: str, texts: Iterable[str]) -> str:
    """Classes or a quantity, by how many different numbers there are. Raises UserError where both are likely."""
    values = [float(text) for text in texts]
    different = set(values)
    images_each = len(values) / len(different)
    if not all(value.is_integer() for value in different):
        return "regress"
    few = len(different) <= MOST_CLASSES_OF_NUMBERS and images_each >= FEWEST_IMAGES_A_NUMBER
    if few or len(different) <= 2 or CLASS_WORDS.search(column):
        return "classify"
    if images_each < 2:
        return "regress"
    raise UserError(
        f"Column '{column}' holds {len(different):,} different whole numbers, {min(values):g} to {max(values):g}, for "
        f"{count(len(values), 'image')}: are they classes or a quantity? Choose --task classify or --task regress."
    )


def numbers(column: str, n: int, texts: Mapping[int, str]) -> Labels:
    """Regression."""
    values = {i: float(text) for i, text in texts.items()}
    low, high = min(values.values()), max(values.values())
    reason = f"column '{column}' holds {len(set(values.values())):,} different numbers, {low:g} to {high:g}: regression"
    return Labels("regress", [values.get(i) for i in range(n)], reason)


def classes(column: str, n: int, texts: Mapping[int, str], numeric: bool) -> Labels:
    """Classification. Words are sorted as plain text; numbers by value, so that 10 follows 9."""
    if numeric:
        texts = {i: plain(float(text)) for i, text in texts.items()}
    names = tuple(sorted(set(texts.values()), key=float if numeric else None))
    index = {name: i for i, name in enumerate(names)}
    kind = "numbers" if numeric else "words"
    reason = f"column '{column}' holds {len(names):,} different {kind}: classification, {len(names):,} classes"
    return Labels("classify", [index[texts[i]] if i in texts else None for i in range(n)], reason, names)


def plain(value: float) -> str:
    """A number as a person writes it: 3, not 3.0."""
    return str(int(value)) if value.is_integer() else str(value)


def indicators(columns: Mapping[str, Sequence[Cell]]) -> Labels:
    """Columns of 0 and 1, one a class. One 1 in every row is classification, anything else multi-label."""
    names = tuple(columns)
    rows = [
        tuple(k for k, cell in enumerate(row) if str(cell).strip().lower() in YES)
        for row in zip(*columns.values(), strict=True)
    ]
    listed = join([f"'{name}'" for name in names]) if len(names) <= 4 else f"'{names[0]}' to '{names[-1]}'"
    if all(len(row) == 1 for row in rows):
        reason = f"columns {listed} hold one 1 a row: classification, {len(names):,} classes"
        return Labels("classify", [row[0] for row in rows], reason, names)
    reason = f"columns {listed} hold 0 and 1: multi-label, {len(names):,} classes"
    return Labels("classify", rows, reason, names, multilabel=True)


def is_indicator(cells: Sequence[Cell]) -> bool:
    """Whether a column holds nothing but 0 and 1, in any of their spellings."""
    return {str(cell).strip().lower() for cell in cells} <= YES | NO
