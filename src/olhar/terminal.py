"""What the command line shows: coloured tables for a person, plain aligned text for a pipe, JSON for a script."""

import csv
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from statistics import fmean
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from olhar.data import caption_checks
from olhar.errors import UserError

MODES = {"L": "grey", "RGB": "in colour", "RGBA": "in colour with alpha", "P": "with a palette"}  # as Pillow names them
MOST_ROWS = 60  # of a table that an instrument gives: its file has all
LEVELS = ("refused", "warning", "repaired")
COLOURS = {"repaired": "green", "warning": "yellow", "refused": "bold red", "allowed": "dim"}


def show_help(text: str) -> None:
    """argparse's help with headings in bold and options in colour."""
    shown = Text(text.rstrip())
    shown.highlight_regex(r"(?m)^[a-z][\w :]*:", "bold")
    shown.highlight_regex(r"(?m)(?<=[ \[(|`])--?[a-zA-Z][\w.-]*", "cyan")
    Console(soft_wrap=True).print(shown)


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def print_json_list(values: Iterable[Any]) -> None:
    """A JSON list, one element a line, each printed when it comes."""
    separator = "["
    for value in values:
        print(separator, json.dumps(value, ensure_ascii=False), sep="\n", end="", flush=True)
        separator = ","
    print("\n]" if separator == "," else "[]")


def show_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "") -> None:
    """A table with lines in a terminal; aligned columns two spaces apart when piped. Numbers stand right."""
    rows = list(rows)
    cells = [[cell(value) for value in row] for row in rows]
    right = [bool(rows) and all(isinstance(row[i], int | float) for row in rows) for i in range(len(columns))]
    if sys.stdout.isatty():
        table = Table(title=title or None, title_justify="left", title_style="bold", box=SIMPLE_HEAD, pad_edge=False)
        for column, numeric in zip(columns, right, strict=True):
            table.add_column(column, justify="right" if numeric else "left", overflow="fold")
        for row in cells:
            table.add_row(*(Text(value) for value in row))
        Console().print(table)
    else:
        print("\n".join(aligned([list(columns), *cells], right)))


def aligned(rows: Sequence[Sequence[str]], right: Sequence[bool], widths: Sequence[int] = ()) -> list[str]:
    """Rows as lines whose columns stand under each other, at least `widths` wide."""
    widths = fitting(rows, widths)
    return [
        "  ".join(v.rjust(w) if r else v.ljust(w) for v, w, r in zip(row, widths, right, strict=True)).rstrip()
        for row in rows
    ]


def fitting(rows: Sequence[Sequence[str]], least: Sequence[int] = ()) -> list[int]:
    """The width each column needs, and no less than it had."""
    needed = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [max(pair) for pair in zip(needed, least or needed, strict=True)]


def cell(value: Any) -> str:
    """Numbers to four significant digits, counts with separators, nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))
    return f"{value:,}" if isinstance(value, int) else str(value)


def show_metrics(values: dict[str, float], title: str = "") -> None:
    """Metrics by name, one a line."""
    show_table(["metric", "value"], [(name.replace("_", " "), value) for name, value in values.items()], title)


# What a run of these tasks is asked first; the others are asked about a photo.
ASKED = {"align": ("search", "'what you look for'"), "diffuse": ("generate", "")}


def show_result(run: Any, as_json: bool) -> int:
    """What a finished `Run` came to, and what to do with it; of several processes one speaks."""
    if os.environ.get("RANK", "0") != "0":
        return 0
    report = run.path / "report.html"
    if as_json:
        print_json({"run": str(run.path), "report": str(report), **run.result})
        return 0
    splits = {"validation": run.result.get("val"), "test": run.result.get("test")}
    splits = {name: values for name, values in splits.items() if values}
    names = dict.fromkeys(name for values in splits.values() for name in values)
    print()
    show_table(
        ["metric", *splits],
        [(name.replace("_", " "), *(values.get(name) for values in splits.values())) for name in names],
    )
    say(f"\nThe weights are those of epoch {run.result['best_epoch']:.0f}, the best on validation.")
    say(f"See what it learnt   {report}")
    verb, what = ASKED.get(run.task.name, ("predict", "PHOTO"))
    say(f"Ask it               olhar {verb} {shlex.quote(str(run.path))} {what}".rstrip())
    return 0


# Below the table of each kind of row.
MODEL_NOTES = {
    "model": "Parameters with 1000 classes on 224 x 224 colour images.",
    "decoder": "Parameters on the levels of resnet18, without it: an output for every pixel needs one of each.",
    "autoencoder": "Parameters of both halves, on colour images.",
    "text encoder": "Parameters with CLIP's 49,408 tokens; of one's own captions there are fewer.",
    "denoiser": "Parameters on colour images, without what they are told of classes and captions.",
}


def show_instruments(found: dict[str, str | None], run: str, as_json: bool) -> int:
    """Those that fit a run, with what they show, and those that do not, with why."""
    from olhar.inspection.instruments import INSTRUMENTS

    rows = [{"name": n, "fits": why is None, "shows": INSTRUMENTS[n].shows, "why": why} for n, why in found.items()]
    if as_json:
        print_json(rows)
        return 0
    show_table(["instrument", "shows"], [(row["name"], row["shows"]) for row in rows if row["fits"]])
    for row in rows:
        if not row["fits"]:
            say(f"\n{row['name']} does not fit this run: {row['why']}")
    say(f"\nLook through one with `olhar inspect {run} {next(iter(found))}`.")
    return 0


def show_look(look: Any, files: Sequence[Any], as_json: bool) -> int:
    """What an instrument saw: its table, in part where it is long, where the figure is, and how to read it."""
    if as_json:
        words = {"reading": look.instrument.reading, "note": look.values.note()}
        print_json(look.values.document() | words | {"files": [str(f) for f in files]})
        return 0
    columns, rows = look.values.table()
    shown = rows if len(rows) <= MOST_ROWS else [*rows[: MOST_ROWS - 5], *rows[-5:]]
    show_table(columns, shown)
    if len(shown) < len(rows):
        say(f"({len(rows) - len(shown)} more lines before the last 5: all are in {files[-1]})")
    say(f"\n{look.instrument.reading}")
    if note := look.values.note():
        say(f"\n{note}")
    for path in files:
        say(f"  {path}")
    return 0


def show_models(rows: Sequence[Any], as_json: bool) -> int:
    """The architectures: a `Row` of `olhar.models.describe()` a line."""
    if as_json:
        print_json([row._asdict() for row in rows])
        return 0
    for kind, note in MODEL_NOTES.items():
        lines = [(row.name, row.parameters, row.figure, row.summary) for row in rows if row.kind == kind]
        show_table([kind, "parameters", "figure", "what it is"], lines)
        print(f"\n{note}\n")
    print("Figures are those of the notes. Also timm:NAME, any encoder of timm, where it is installed.")
    return 0


def show_chain(chain: Any, drawn: Any, as_json: bool) -> int:
    """An expression taken apart: a `Chain` of olhar.theory.chain_rule; `drawn`, the file of its graph, if any."""
    if as_json:
        forward, back = ("name", "operation", "value", "local", "local_value"), ("derivative", "product", "is", "value")
        totals = {name: str(chain.derivative(name)) for name in chain.variables}
        print_json(
            {
                "expression": chain.expression.text,
                "forward": [dict(zip(forward, row, strict=True)) for row in chain.rows()],
                "backward": [dict(zip(back, row, strict=True)) for row in chain.products()],
                "derivatives": totals,
                "gradient": chain.gradient(),
            }
        )
        return 0
    valued = bool(chain.point)

    def show(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
        """Without a point there are no values to show."""
        kept = [i for i, column in enumerate(columns) if valued or not column.startswith("value")]
        say(title)
        show_table([columns[i].removeprefix("value ") for i in kept], [[row[i] for i in kept] for row in rows])

    show("Forward", ("", "is", "value", "local derivative", "value is"), chain.rows())
    show("\nBackward", ("", "product", "comes to", "value"), chain.products())
    print()
    for name, value in chain.gradient().items():
        derivative = str(chain.derivative(name))
        shown = "" if value is None or cell(float(value)) == derivative else f" = {cell(float(value))}"
        say(f"d{chain.result}/d{name} = {derivative}{shown}")
    if drawn:
        say(f"\nIts graph is in {drawn}.")
    return 0


def show_predictions(rows: Iterable[dict[str, Any]]) -> None:
    """Answers as a table in a terminal, with a count while they come; as aligned lines, at once, when piped."""
    if sys.stdout.isatty():
        shown: list[dict[str, Any]] = []
        with Console(stderr=True).status("reading images") as status:
            for row in rows:
                shown.append(row)
                status.update(f"{len(shown):,} images")
        if shown:
            show_table(list(shown[0]), [list(row.values()) for row in shown])
        return
    rows, widths = iter(rows), []
    while block := list(islice(rows, 64)):  # a reader at the other end of the pipe should not wait for all
        header = [] if widths else [list(block[0])]
        lines = header + [[cell(value) for value in row.values()] for row in block]
        widths = fitting(lines, widths)
        print("\n".join(aligned(lines, [False] * len(widths), widths)))


def show_search(found: Any, page: Any) -> None:
    """What was found, a `Search`, and where its pictures are."""
    show_table(["", found.measure, "found"], [(i, hit.similarity, hit.found) for i, hit in enumerate(found.shown, 1)])
    new = f", {found.computed:,} of them read for the first time" if found.computed else ""
    say(f"\n{found.searched:,} {found.kind} searched in {1000 * found.seconds:.1f} ms, by {found.by}{new}.")
    say(f"The page: {page}")


def write_hits(found: Any, path: Any) -> None:
    """The same as a table. Raises UserError where `path` cannot be written."""
    try:
        with path.open("w", newline="", encoding="utf-8") as file:
            rows = [(i, f"{hit.similarity:.6f}", hit.found) for i, hit in enumerate(found.shown, 1)]
            csv.writer(file).writerows([("place", found.measure, "found"), *rows])
    except OSError as error:
        raise UserError(f"Could not write {path}: {error.strerror}.") from error


def show_check(found: Any, allow: Sequence[str], following: str, as_json: bool) -> int:
    """What `olhar check` found: a `CheckReport`; `following` is the command to type next.

    Returns 1 where a finding that is not allowed stops a training.
    """
    collection, report = found.collection, found.report
    stopped = any(f.level == "refused" and f.code not in allow for f in report.findings)
    if as_json:
        print_json(check_document(found) | {"ready": not stopped})
        return int(stopped)
    say(collection.explanation, "bold")
    for note in collection.notes:
        say(note)
    print()
    show_counts(collection, report)
    (h, w), (h0, w0), (h1, w1) = report.sizes.median, report.sizes.smallest, report.sizes.largest
    span = f"{w} x {h} px" if (h0, w0) == (h1, w1) else f"{w0} x {h0} to {w1} x {h1} px, {w} x {h} in the middle"
    kinds = [(n, MODES.get(mode, mode)) for mode, n in report.modes.items()]
    modes = kinds[0][1] if len(kinds) == 1 else ", ".join(f"{n:,} {kind}" for n, kind in kinds)
    say(f"\nImages of {span}; {modes}.")
    if collection.captioned:
        show_captions(collection)
    if found.anchors:
        say(found.anchors.sentence(found.canvas))
    for finding in sorted(report.findings, key=lambda f: LEVELS.index(f.level)):
        level = "allowed" if finding.code in allow else finding.level
        say(f"\n{level}: {finding.code}", COLOURS.get(level, ""))
        say(f"  {finding.message}\n  {finding.cure}")
    say("\nNothing is wrong with them." if not report.findings else "")
    say(f"Next: {following}" if not stopped else "A training would stop here.", "bold")
    return int(stopped)


@contextmanager
def share_done(what: str) -> Iterator[Callable[[float], None]]:
    """A bar with the time left on standard error, where that is a screen; told the share that is done."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty()) as bar:
        task = bar.add_task(what, total=1.0, visible=False)
        yield lambda share: bar.update(task, completed=share, visible=True)


def say(text: str, style: str = "") -> None:
    """A line, coloured where a person reads it."""
    if sys.stdout.isatty():
        Console(highlight=False).print(text, style=style, markup=False)
    else:
        print(text)


def show_counts(collection: Any, report: Any) -> None:
    """Images a split, and where they have classes, a class; of masks the share of each class in the pixels."""
    splits = [name for name in ("train", "val", "test") if collection.split(name)]
    if collection.task == "segment":
        show_pixels(collection, report, splits)
        return
    counts = class_counts(collection, splits)
    rows: list[tuple[Any, ...]] = [("all images", *(len(collection.split(name)) for name in splits))]
    classes = list(counts.items())
    if len(classes) > 24:  # more do not fit a screen: the ends are what matters
        classes.sort(key=lambda item: -item[1][0])
        between = [sum(n) for n in zip(*(n for _, n in classes[10:-10]), strict=True)]
        classes[10:-10] = [(f"({len(classes) - 20} classes between)", between)]
    if collection.task == "detect":
        rows.append(("all objects", *(sum(n[i] for n in counts.values()) for i in range(len(splits)))))
    rows += [(name, *n) for name, n in classes]
    if collection.captioned:
        rows += [(name, *n) for name, n in caption_checks.by_split(collection)]
    if collection.task == "regress":
        targets = [[record.target for record in collection.split(name)] for name in splits]
        for word, of in (("smallest", min), ("mean", fmean), ("largest", max)):
            rows.append((f"{word} {collection.target_name}", *(of(values) for values in targets)))
    show_table(["class" if counts else "", *splits], rows)


def show_captions(collection: Any) -> None:
    """In which language captions are and how long, and a few of them beside their images."""
    say(f"{caption_checks.sentence(collection)}\n")
    show_table(["such as", "caption"], caption_checks.examples(collection))


def show_pixels(collection: Any, report: Any, splits: Sequence[str]) -> None:
    """Images a split, and the share of each class in the pixels that somebody labelled; that of the ignored in all."""
    rows: list[tuple[Any, ...]] = [("all images", *(f"{len(collection.split(name)):7,}" for name in splits))]
    shares = [pixel_shares(report.pixels.get(name, ())) for name in splits]
    for k, name in enumerate((*collection.class_names, "(ignored)")):
        row = [f"{share[k]:7.2%}" if share else "" for share in shares]
        if k < len(collection.class_names) or any(share and share[k] for share in shares):
            rows.append((name, *row))
    show_table(["share of pixels", *splits], rows)
    read, all_masks = sum(report.masks_read.values()), sum(len(collection.split(name)) for name in splits)
    if read < all_masks:
        say(f"\nThe pixels of {read:,} of {all_masks:,} masks were read; `olhar check --full` reads all.")


def pixel_shares(counts: Sequence[int]) -> list[float]:
    """Of each class its share of the labelled pixels; last, the share of all pixels that are ignored."""
    labelled, everything = sum(counts[:-1]), sum(counts)
    return [n / max(labelled, 1) for n in counts[:-1]] + [n / max(everything, 1) for n in counts[-1:]]


def class_counts(collection: Any, splits: Sequence[str]) -> dict[str, list[int]]:
    """Images, or objects, of each class in each split; of masks none, whose pixels have the classes."""
    if collection.task == "segment":
        return {}
    counts = {name: [0] * len(splits) for name in collection.class_names}
    for column, split in enumerate(splits):
        for record in collection.split(split):
            for k in next((s for s in (record.box_labels, record.labels) if s is not None), (record.label,)):
                if k is not None:
                    counts[collection.class_names[k]][column] += 1
    return counts


def check_document(found: Any) -> dict[str, Any]:
    """What `olhar check --json` prints."""
    collection, report = found.collection, found.report
    splits = [name for name in ("train", "val", "test") if collection.split(name)]
    pixels = {}
    if collection.task == "segment":
        names = (*collection.class_names, "(ignored)")
        shown = {name: {split: n[k] for split, n in report.pixels.items()} for k, name in enumerate(names)}
        pixels = {"masks_read": report.masks_read, "pixels": shown}
    return {
        "data": collection.root,
        "format": collection.format,
        "task": collection.task,
        "explanation": collection.explanation,
        "notes": list(collection.notes),
        "splits": {name: len(collection.split(name)) for name in splits},
        "classes": {name: dict(zip(splits, n, strict=True)) for name, n in class_counts(collection, splits).items()},
        **pixels,
        "image_sizes": asdict(report.sizes),
        **({"captions": caption_checks.sentence(collection)} if collection.captioned else {}),
        **({"anchors": asdict(found.anchors) | {"canvas": found.canvas}} if found.anchors else {}),
        "findings": [asdict(finding) for finding in report.findings],
    }
