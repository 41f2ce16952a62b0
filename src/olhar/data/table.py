"""A table that names image files and what is true of them: from a folder or a file to a Collection."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path, PurePosixPath

from olhar.config import DataConfig
from olhar.data import box_table, caption_table
from olhar.data.captions import CAPTIONED
from olhar.data.columns import (
    Finder,
    choose_file_column,
    choose_label_columns,
    choose_split_column,
    file_columns,
    place_splits,
    shorten,
)
from olhar.data.labels import Labels, decide, indicators, is_indicator
from olhar.data.listing import Candidate, Listing, count, extension, join, kinds, scan, split_of
from olhar.data.sample import Collection, Record, Split
from olhar.data.table_file import Table, concatenate, read_table
from olhar.errors import UserError


def probe(listing: Listing, config: DataConfig) -> list[Candidate]:
    """Every table of a folder in which a column names images; train.csv, val.csv and test.csv are one table.

    A file that is no proper table is passed over: class folders may well have one beside them.
    """
    groups: dict[str, list[tuple[str, Split | None]]] = defaultdict(list)
    for name in listing.tables:
        split, rest = split_in_name(name)
        groups[rest if split else name].append((name, split))
    candidates = []
    for group in groups.values():
        try:
            tables = [read_table(listing.root / name, name, split) for name, split in group]
        except UserError:
            continue
        finder = Finder(listing.root, (listing.root / group[0][0]).parent, lambda: listing)
        candidates += candidate_of(tables, finder, config)
    return candidates


def must_be_readable(listing: Listing) -> None:
    """Raise the UserError of the first table of a folder that cannot be read."""
    for name in listing.tables:
        read_table(listing.root / name, name)


def split_in_name(name: str) -> tuple[Split | None, str]:
    """The split that a table's name says and the name without it: data/train_labels.csv -> train, data/labels.csv."""
    path = PurePosixPath(name)
    words = path.stem.replace("-", "_").replace(".", "_").split("_")
    splits: list[Split] = [split for word in words if (split := split_of(word))]
    rest = "_".join(word for word in words if not split_of(word))
    return (splits[0] if len(splits) == 1 else None), f"{path.parent}/{rest}{path.suffix}"


def candidate_of(tables: Sequence[Table], finder: Finder, config: DataConfig) -> list[Candidate]:
    """The way to read these tables as one; none where no column names images."""
    table = concatenate([header_or_not(table, finder) for table in tables])
    files = file_columns(table, finder)
    if not files and config.file_column not in table.columns:
        return []
    if config.task in (None, "detect"):
        boxed = box_table.candidate_of(table, files, finder, config)
        if boxed is not None or config.task == "detect":
            return [boxed] if boxed else []
    captioned = caption_table.candidate_of(table, files, finder, config) if config.task in (None, *CAPTIONED) else None
    if config.task in CAPTIONED or (captioned and not caption_table.is_labelled(table, config)):
        return [captioned] if captioned else []
    sample = ", ".join(f"{name}={shorten(cells[0])}" for name, cells in list(table.columns.items())[:4])
    choose = f"give {finder.root / tables[0].name} instead of the folder"
    if captioned:
        choose = f"--data.label-column {caption_table.is_labelled(table, config)}"
    labelled = Candidate("table", f"the table {table.name}", sample, choose, lambda: read(table, files, finder, config))
    return [labelled, *([captioned] if captioned else [])]


def header_or_not(table: Table, finder: Finder) -> Table:
    """The table; where its first line names a file, that line is an example like the others."""
    is_example = any(extension(name) and finder.find(name) for name in table.columns)
    return table.without_header() if is_example else table


def read_file(path: Path, config: DataConfig) -> Collection:
    """The table at `path`. Raises UserError where none of its columns names images."""
    table = read_table(path, path.name)
    finder = Finder(path.parent, path.parent, lambda: scan(path.parent))
    candidates = candidate_of([table], finder, config)
    if not candidates:
        columns = join([f"'{name}'" for name in table.columns]) or "no columns"
        raise UserError(
            f"No column of {path} names images below {path.parent}: it has {columns}. "
            "Correct the paths, or choose the column with --data.file-column."
        )
    return replace(candidates[0].read(), root=str(path))


def read(table: Table, files: Sequence[str], finder: Finder, config: DataConfig) -> Collection:
    """The images and labels of a table, of which the columns `files` may name the images.

    Raises UserError where a column cannot be told, where files or labels are missing and `config.allow` does not
    let their rows be left out, and where an image has two labels.
    """
    file_column = choose_file_column(table, files, finder, config)
    split_column = choose_split_column(table, file_column, config)
    label_columns = choose_label_columns(table, (*files, file_column, split_column), config)
    if split_column:
        table = replace(table, splits=[split_of(str(cell)) for cell in table.columns[split_column]])
    notes: list[str] = []

    names = list(map(finder.find, table.columns[file_column], table.splits))
    absent = [i for i, name in enumerate(names) if name is None]
    if absent:
        notes.append(leave_out_files(table, file_column, absent, finder, config))
        table, names = table.without(absent), [name for name in names if name is not None]

    labels = read_labels(table, label_columns, config)
    unanswered = [i for i, answer in enumerate(labels.answers) if answer is None]
    if unanswered:
        notes += leave_out_rows(table, label_columns[0], unanswered, config)

    splits, origin = place_splits(table, [str(name) for name in names], split_column)
    records = [
        record(finder.root, str(name), split, labels, i)
        for i, (name, split) in enumerate(zip(names, splits, strict=True))
        if labels.answers[i] is not None
    ]
    records = once_each(records, table)
    by = f"; splits by {next(iter(origin.values()))}" if split_column or len(origin) > 1 else ""
    kind = kinds([record.id for record in records])
    return Collection(
        root=str(finder.root),
        format="table",
        task=labels.task,
        records=records,
        explanation=f"{table.name} names {len(records):,} {kind} in column '{file_column}'; {labels.reason}{by}",
        class_names=labels.class_names,
        multilabel=labels.multilabel,
        target_name=label_columns[0] if labels.task == "regress" else "",
        notes=tuple(notes),
        split_origin=origin,
    )


def read_labels(table: Table, columns: Sequence[str], config: DataConfig) -> Labels:
    """One column, or several of 0 and 1. Raises UserError where several hold anything else."""
    if len(columns) == 1:
        return decide(columns[0], table.columns[columns[0]], config.task, table.place)
    odd = next((name for name in columns if not is_indicator(table.columns[name])), None)
    if odd or config.task == "regress":
        raise UserError(
            f"Several label columns must hold 0 and 1 for classification, and {f'{odd!r} does' if odd else 'these do'} "
            "not: choose one column with --data.label-column."
        )
    return indicators({name: table.columns[name] for name in columns})


def leave_out_files(table: Table, column: str, absent: Sequence[int], finder: Finder, config: DataConfig) -> str:
    """A note that rows without a file are left out. Raises UserError where that is not allowed."""
    first = join([str(table.columns[column][i]) or "an empty cell" for i in absent[:3]])
    what = f"{table.name} names {count(len(absent), 'file')} not found below {finder.folder} (first: {first})"
    if "missing-files" not in config.allow or len(absent) == len(table.places):
        raise UserError(f"{what}: correct column '{column}', or leave those rows out with --allow missing-files.")
    return f"{what}: left out."


def leave_out_rows(table: Table, column: str, unanswered: Sequence[int], config: DataConfig) -> list[str]:
    """Notes that rows without a label are left out: a table without any, such as a test to be handed in, or where
    `config.allow` lets them be. Raises UserError for others."""
    by_table: dict[str, list[int]] = defaultdict(list)
    for i in unanswered:
        by_table[table.places[i][0]].append(i)
    notes = []
    for name, rows in by_table.items():
        whole = len(rows) == sum(place[0] == name for place in table.places)
        what = f"{name} has no label in {count(len(rows), 'row')} of column '{column}'"
        if not whole and "missing-labels" not in config.allow:
            raise UserError(
                f"{what} (first: line {table.places[rows[0]][1]}): fill them in, or leave those rows out with "
                "--allow missing-labels."
            )
        notes.append(f"{what}: left out.")
    return notes


def record(root: Path, name: str, split: Split, labels: Labels, row: int) -> Record:
    """One row as a record of its task."""
    answer = labels.answers[row]
    if isinstance(answer, tuple):
        return Record(name, root / name, split, labels=answer)
    if isinstance(answer, float):
        return Record(name, root / name, split, target=answer)
    return Record(name, root / name, split, label=answer)


def once_each(records: Sequence[Record], table: Table) -> list[Record]:
    """Every image once. Raises UserError where two rows say different things about one image."""
    seen: dict[str, Record] = {}
    for record in records:
        if seen.setdefault(record.id, record) != record:
            raise UserError(
                f"{table.name} names {record.id} more than once with different labels or splits: keep one row an "
                "image, and separate several labels by |."
            )
    return list(seen.values())
