"""Which column of a table names the images, which the split, and which is to be learnt.

What cannot be told apart is shown, and left to the user.
"""

import os
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from functools import cached_property
from itertools import pairwise
from pathlib import Path

from olhar.config import DataConfig
from olhar.data.header import IMAGE_EXTENSIONS
from olhar.data.labels import is_indicator, is_missing, is_number
from olhar.data.listing import Listing, extension, split_of
from olhar.data.sample import SPLITS, Split
from olhar.data.table_file import Cell, Table
from olhar.errors import UserError, nearest

FILE_NAMES = frozenset(
    {"file", "filename", "file_name", "filepath", "file_path", "path", "id", "img", "img_path"}
    | {"image", "image_name", "image_path", "image_file", "image_id"}
)
LABEL_NAMES = frozenset({"label", "labels", "class", "classes", "category", "categories", "tags", "target", "y"})
SPLIT_NAMES = frozenset({"split", "subset", "set", "partition"})
INDEX_NAMES = frozenset({"index", "id", "unnamed: 0", "column 1"})
SAMPLED = 200  # cells that are looked at before a column is taken for files


def endings(names: Iterable[str]) -> dict[str, list[str]]:
    """Every ending of every path, with and without its extension, in lower case, and the paths that it fits."""
    index: dict[str, list[str]] = defaultdict(list)
    for name in names:
        parts = name.lower().split("/")
        for start in range(len(parts)):
            key = "/".join(parts[start:])
            index[key].append(name)
            index[key.rpartition(".")[0]].append(name)
    return index


class Finder:
    """From what a table writes to the file it means.

    A value is a path from the table's folder, or any ending of the path of an image below that folder, with or
    without its extension, whatever the case. Where it fits several, the folder named after the row's split decides.
    """

    def __init__(self, root: Path, folder: Path, listing: Callable[[], Listing]):
        self.root, self.folder, self.listing = root, folder, listing

    @cached_property
    def endings(self) -> dict[str, list[str]]:
        return endings(self.listing().images)

    def direct(self, value: Cell) -> str | None:
        """The file at this path from the table's folder, as a path from the root."""
        written = str(value).strip().replace("\\", "/")
        if not written or not os.path.isfile(self.folder / written):  # noqa: PTH113 (a long caption is an error to Path)
            return None
        return os.path.relpath(self.folder / written, self.root).replace(os.sep, "/")

    def find(self, value: Cell, split: Split | None = None) -> str | None:
        """The file a value means, as a path from the root; None where there is none, or more than one."""
        if direct := self.direct(value):
            return direct
        fits = self.endings.get(str(value).strip().replace("\\", "/").removeprefix("./").lower(), [])
        if len(fits) > 1 and split is not None:
            fits = [name for name in fits if split in map(split_of, name.split("/"))]
        return fits[0] if len(fits) == 1 else None


def file_columns(table: Table, finder: Finder) -> list[str]:
    """The columns whose cells are mostly files as they stand; else those that fit files somewhere below the table;
    else those that look like names of images, none of which is there."""
    samples: dict[str, list[tuple[Cell, Split | None]]] = {
        name: [(cell, table.splits[i]) for i, cell in enumerate(cells[:SAMPLED]) if not is_missing(cell)]
        for name, cells in table.columns.items()
    }
    tests: tuple[Callable[[Cell, Split | None], object], ...] = (
        lambda cell, split: finder.direct(cell),
        finder.find,
        lambda cell, split: extension(str(cell).strip()) in IMAGE_EXTENSIONS,
    )
    for test in tests:
        hits = [name for name, cells in samples.items() if 2 * sum(bool(test(*c)) for c in cells) > len(cells)]
        if hits:
            # few different values that fit files are labels: class 1 beside 1.jpg
            different = {name: len({cell for cell, _ in samples[name]}) for name in hits}
            return [name for name in hits if 2 * different[name] > max(different.values())]
    return []


def choose_file_column(table: Table, hits: Sequence[str], finder: Finder, config: DataConfig) -> str:
    """The one column of files. Raises UserError where there are several, or not the one that is asked for."""
    if config.file_column is not None:
        must_know(config.file_column, table)
        return config.file_column
    named = [name for name in hits if name.lower() in FILE_NAMES]
    if len(named) == 1 or len(hits) == 1:
        return (named or list(hits))[0]
    found = [list(map(finder.find, table.columns[name], table.splits)) for name in hits]
    if all(files == found[0] for files in found):
        return hits[0]
    raise UserError(ambiguous(table, hits, "names the images", "--data.file-column"))


def choose_split_column(table: Table, file_column: str, config: DataConfig) -> str | None:
    """The column in which every cell names a split. Raises UserError where one called split holds something else."""
    for name, cells in table.columns.items():
        if name in (file_column, config.label_column):
            continue
        odd = next((i for i, cell in enumerate(cells) if split_of(str(cell)) is None), None)
        if odd is None and (name.lower() in SPLIT_NAMES or len(set(cells)) > 1):
            return name
        if odd is not None and name.lower() == "split":
            raise UserError(
                f"Column '{name}' says '{shorten(cells[odd])}' in {table.place(odd)}: write train, val or test, or "
                "rename the column if it means something else."
            )
    return None


def place_splits(table: Table, names: Sequence[str], split_column: str | None) -> tuple[list[Split], dict[str, str]]:
    """The split of every row and what it comes from: a column, the tables' names, or the folders of the images."""
    splits: list[Split | None] = table.splits
    source = f"column '{split_column}'" if split_column else f"the names of {table.name}"
    if not any(splits):
        folders = [map(split_of, name.split("/")[:-1]) for name in names]
        splits = [next((split for split in found if split), None) for found in folders]
        source = "the images' folders"
    known: list[Split] = [split for split in splits if split is not None]
    if len(known) < len(splits) or ("train" not in known and not split_column):
        return ["train"] * len(names), {"train": table.name}
    return known, {split: source for split in SPLITS if split in known}


def choose_label_columns(table: Table, taken: Sequence[str | None], config: DataConfig) -> list[str]:
    """One column of labels, or several of 0 and 1; `taken` mean something else.

    Raises UserError where no column is left, or where several are and none says that it is the label.
    """
    if config.label_column is not None:
        names = [config.label_column]
        if config.label_column not in table.columns:
            names = [name.strip() for name in config.label_column.split(",")]
        for name in names:
            must_know(name, table)
        return names
    left = [name for name, cells in table.columns.items() if name not in taken and not is_index(name, cells)]
    if not left:
        raise UserError(f"{table.name} names images but no labels: add a column of classes or of numbers.")
    named = [name for name in left if name.lower() in LABEL_NAMES]
    if len(named) > 1 and all(same_partition(table.columns[named[0]], table.columns[name]) for name in named[1:]):
        named = [next((name for name in named if not all(map(is_number, table.columns[name]))), named[0])]
    if len(named) == 1 or len(left) == 1:
        return named or left
    if all(is_indicator(table.columns[name]) for name in left):
        return left
    raise UserError(ambiguous(table, named or left, "is to be learnt", "--data.label-column"))


def is_index(name: str, cells: Sequence[Cell]) -> bool:
    """Whether a column only counts the rows, or holds nothing at all."""
    if all(map(is_missing, cells)):
        return True
    if name.lower() not in INDEX_NAMES or len(cells) < 2 or not all(map(is_number, cells)):
        return False
    return all(float(str(after)) - float(str(before)) == 1 for before, after in pairwise(cells))


def same_partition(one: Sequence[Cell], other: Sequence[Cell]) -> bool:
    """Whether two columns say the same in other words, as the number of a class and its name do."""
    return len(set(one)) == len(set(other)) == len(set(zip(one, other, strict=True)))


def must_know(name: str, table: Table) -> None:
    if name not in table.columns:
        raise UserError(f"{table.name} has no column '{name}': {nearest(name, table.columns)}")


def ambiguous(table: Table, names: Sequence[str], what: str, option: str) -> str:
    """The columns that could be meant, with a cell of each, and the option that chooses."""
    shown = "".join(f"\n  {option} {name}   (such as '{shorten(table.columns[name][0])}')" for name in names[:12])
    return f"Which column of {table.name} {what}? It could be any of {len(names)}; choose one:{shown}"


def shorten(cell: Cell) -> str:
    """A cell short enough to stand as an example."""
    text = "|".join(cell) if isinstance(cell, tuple) else cell
    return text if len(text) <= 40 else text[:37] + "..."
