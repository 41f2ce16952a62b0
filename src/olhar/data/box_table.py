"""A table of boxes: a row for each object, with a column of files, four of numbers, and one of classes.

    filename,width,height,class,xmin,ymin,xmax,ymax
    image_id,width,height,bbox          "[x, y, width, height]" in one cell
    images/1.jpg,10,20,60,80,cat        without names of columns; an image without objects has empty cells

A row without a box says that its image has no object.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from olhar.config import DataConfig
from olhar.data.boxes import Annotated, Form, Found, understand
from olhar.data.columns import LABEL_NAMES, Finder, choose_file_column, choose_split_column, is_index
from olhar.data.labels import is_missing, is_number
from olhar.data.listing import Candidate, count, join, kinds, split_of
from olhar.data.sample import Box, Collection
from olhar.data.table_file import Cell, Table
from olhar.errors import UserError

# Names of columns without case, and without what is no letter or digit; longer ones may begin with bbox or box.
FORMS: tuple[tuple[tuple[str, str, str, str], Form], ...] = (
    (("xmin", "ymin", "xmax", "ymax"), "corners"),
    (("x0", "y0", "x1", "y1"), "corners"),
    (("x1", "y1", "x2", "y2"), "corners"),
    (("left", "top", "right", "bottom"), "corners"),
    (("xcenter", "ycenter", "width", "height"), "centre"),
    (("xcentre", "ycentre", "width", "height"), "centre"),
    (("cx", "cy", "w", "h"), "centre"),
    (("x", "y", "w", "h"), "corner"),
    (("x", "y", "width", "height"), "corner"),
    (("left", "top", "width", "height"), "corner"),
    (("xmin", "ymin", "width", "height"), "corner"),
)
ONE_CELL = ("bbox", "box", "boundingbox")
SEPARATOR = re.compile(r"[\s,;]+")
ANYTHING = "object"  # the class where no column names one


def plain(name: str) -> str:
    """A column's name as FORMS has it."""
    letters = re.sub(r"[^a-z0-9]", "", name.lower())
    return re.sub(r"^(bbox|boundingbox|box)(?=.)", "", letters)


def box_columns(table: Table) -> tuple[list[str], Form] | None:
    """The four columns of boxes, or the one that holds all four numbers, and how they are meant; None without any."""
    by_name = {plain(name): name for name in reversed(table.columns)}
    for names, form in FORMS:
        if set(names) <= set(by_name):
            return [by_name[name] for name in names], form
    for name, cells in table.columns.items():
        written = [cell for cell in cells[:50] if not is_missing(cell)]
        if plain(name) in ONE_CELL and written and all(four(cell) for cell in written):
            return [name], "corner"
    if all(name.startswith("column ") for name in table.columns) and len(table.columns) in (5, 6):
        names = list(table.columns)[1:5]
        rows = [row for row in zip(*(table.columns[n] for n in names), strict=True) if not all(map(is_missing, row))]
        if rows and all(is_number(cell) for row in rows for cell in row):
            return names, "corners"
    return None


def four(cell: Cell) -> Box | None:
    """Four numbers in one cell, such as "[1, 2, 30, 40]"; None for anything else."""
    parts = list(cell) if isinstance(cell, tuple) else SEPARATOR.split(cell.strip(" []()"))
    if len(parts) != 4 or not all(is_number(part) for part in parts):
        return None
    first, second, third, fourth = (float(part) for part in parts)
    return first, second, third, fourth


def candidate_of(table: Table, files: Sequence[str], finder: Finder, config: DataConfig) -> Candidate | None:
    """The way to read a table as one of boxes; None where it has none."""
    columns = box_columns(table)
    if columns is None:
        return None
    what = f"the boxes of the table {table.name}"
    sample = f"columns {join(columns[0])}"
    choose = f"give {finder.root / table.places[0][0]} instead of the folder"
    return Candidate("table", what, sample, choose, partial(read, table, files, *columns, finder, config))


def read(
    table: Table, files: Sequence[str], columns: Sequence[str], form: Form, finder: Finder, config: DataConfig
) -> Collection:
    """The images of a table with their boxes.

    Raises UserError where a column cannot be told, where images are missing and not allowed to be, and where a row has
    some numbers of a box and lacks others.
    """
    file_column = choose_file_column(table, files, finder, config)
    split_column = choose_split_column(table, file_column, config)
    if split_column:
        table = replace(table, splits=[split_of(str(cell)) for cell in table.columns[split_column]])
    taken = {*columns, file_column, *([split_column] if split_column else []), *files}
    label_column = choose_class_column(table, taken, config)
    names = list(map(finder.find, table.columns[file_column], table.splits))
    notes = missing(table, file_column, names, finder, config)
    found: dict[str, Annotated] = {}
    read_row = reader(table, columns)
    for row, name in enumerate(names):
        if name is None:
            continue
        one = found.setdefault(name, Annotated(name, table.splits[row], table.places[row][0]))
        if one.split != table.splits[row]:
            raise UserError(f"{table.place(row)} puts {name} into another split than a row before: keep it in one.")
        if (box := read_row(row)) is not None:
            label = str(table.columns[label_column][row]) if label_column else ANYTHING
            one.objects.append(Found(box, label))
    images = list(found.values())
    if not all(one.split for one in images):
        images = [replace(one, split=None) for one in images]
    numbers = [value for one in images for thing in one.objects for value in thing.numbers]
    relative = bool(numbers) and max(numbers) <= 1.0
    understood = understand(finder.listing(), images, form, relative)
    total = sum(len(record.boxes or ()) for record in understood.records)
    origin = f"column '{split_column}'" if split_column else table.name
    by = f"; splits by {origin}" if len({one.split for one in images}) > 1 else ""
    classes = count(len(understood.class_names), "class", "classes")
    how = f" in column '{label_column}'" if label_column else f" ('{ANYTHING}', as no column names any)"
    return Collection(
        root=str(finder.root),
        format="table",
        task="detect",
        records=understood.records,
        explanation=f"{table.name} has {count(total, 'box', 'boxes')} in columns {join(columns)} for "
        f"{count(len(images), 'image')} ({kinds(list(found))}): detection, {classes}{how}{by}",
        class_names=understood.class_names,
        notes=tuple(notes),
        split_origin={record.split: origin for record in understood.records},
        findings=understood.findings,
    )


def choose_class_column(table: Table, taken: set[str], config: DataConfig) -> str | None:
    """The column of classes, by its name or because it alone holds words; None where there is none.

    Raises UserError where the column that was asked for is not there.
    """
    if config.label_column is not None:
        if config.label_column not in table.columns:
            raise UserError(f"{table.name} has no column '{config.label_column}' to name the classes of boxes.")
        return config.label_column
    left = [name for name, cells in table.columns.items() if name not in taken and not is_index(name, cells)]
    named = [name for name in left if plain(name) in LABEL_NAMES | {"name", "classname", "labelname", "classid"}]
    words = [name for name in left if not all(is_number(c) for c in table.columns[name] if not is_missing(c))]
    return (named or words or [None])[0]


def missing(table: Table, column: str, names: Sequence[str | None], finder: Finder, config: DataConfig) -> list[str]:
    """A note that rows without their image are left out. Raises UserError where that is not allowed."""
    absent = list(dict.fromkeys(str(table.columns[column][i]) for i, name in enumerate(names) if name is None))
    if not absent:
        return []
    what = f"{table.name} has boxes of {count(len(absent), 'image')} not found below {finder.folder}"
    what += f" (first: {join([name or 'an empty cell' for name in absent[:3]])})"
    if "missing-files" not in config.allow or not any(names):
        raise UserError(f"{what}: correct column '{column}', or leave those rows out with --allow missing-files.")
    return [f"{what}: left out."]


def reader(table: Table, columns: Sequence[str]) -> Callable[[int], Box | None]:
    """How to read the box of a row; None for a row without one. Raises UserError for half a box."""

    def of_row(row: int) -> Box | None:
        cells = [table.columns[name][row] for name in columns]
        if all(map(is_missing, cells)):
            return None
        box = four(cells[0] if len(cells) == 1 else tuple(map(str, cells)))
        if box is None:
            shown = join([f"'{cell}'" for cell in cells])
            raise UserError(f"{table.place(row)} has {shown} where the numbers of a box belong: correct that row.")
        return box

    return of_row
