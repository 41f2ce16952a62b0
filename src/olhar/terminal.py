"""What the command line shows: coloured tables for a person, plain aligned text for a pipe, JSON for a script."""

import json
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

COLOURS = {"repaired": "green", "warning": "yellow", "refused": "bold red"}


def show_help(text: str) -> None:
    """argparse's help with headings in bold and options in colour."""
    shown = Text(text.rstrip())
    shown.highlight_regex(r"(?m)^[a-z][\w :]*:", "bold")
    shown.highlight_regex(r"(?m)(?<=[ \[(|`])--?[a-zA-Z][\w.-]*", "cyan")
    Console(soft_wrap=True).print(shown)


def print_json(value: Any) -> None:
    print(json.dumps(value, indent=2, ensure_ascii=False))


def show_table(columns: Sequence[str], rows: Iterable[Sequence[Any]], title: str = "") -> None:
    """A table with lines in a terminal; aligned columns two spaces apart when piped. Numbers stand right."""
    rows = list(rows)
    cells = [[cell(value) for value in row] for row in rows]
    right = [bool(rows) and all(isinstance(row[i], int | float) for row in rows) for i in range(len(columns))]
    if sys.stdout.isatty():
        table = Table(title=title or None, title_justify="left", title_style="bold", header_style="bold")
        for column, numeric in zip(columns, right, strict=True):
            table.add_column(column, justify="right" if numeric else "left", overflow="fold")
        for row in cells:
            table.add_row(*(Text(value) for value in row))
        Console().print(table)
    else:
        print("\n".join(aligned([list(columns), *cells], right)))


def aligned(rows: Sequence[Sequence[str]], right: Sequence[bool]) -> list[str]:
    """Rows as lines whose columns stand under each other."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(right))]
    return [
        "  ".join(v.rjust(w) if r else v.ljust(w) for v, w, r in zip(row, widths, right, strict=True)).rstrip()
        for row in rows
    ]


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
