"""The tour in a terminal: one screen of chapters that fills, and plain lines where the output is piped."""

import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.padding import Padding
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from olhar.tour.chapter import Chapter, Step
from olhar.tour.expected import EXPECTED
from olhar.tour.record import Record
from olhar.train.log import clock

MARKS = {"waiting": ("·", "dim"), "now": ("▸", "bold cyan"), "done": ("✓", "green"), "failed": ("✗", "bold red")}
NEXT = (
    ("olhar check FOLDER", "what is in a folder of yours, and what is wrong with it"),
    ("olhar train FOLDER --budget 10min", "learn from it: the task is recognised"),
    ("olhar predict runs/FOLDER-1 PHOTO", "ask the model"),
    ("olhar inspect runs/FOLDER-1", "look inside it"),
    ("olhar report runs/FOLDER-1", "one page of what it learnt and where it errs"),
)


def headline(name: str, record: Record | None, quick: bool) -> tuple[str, str, str]:
    """The first figure of a chapter: what it reached, if anything, what it is, and what is expected of it."""
    key, one = next(iter(EXPECTED[name].items()))
    value = record.figures.get(key) if record else None
    return ("" if value is None else one.say(value)), one.words, one.said_range(quick)


class Lines:
    """Plain lines: one when a chapter is done, and what it does in between."""

    def __init__(self, chapters: Mapping[str, Chapter], names: Sequence[str], quick: bool):
        self.chapters, self.names, self.quick = chapters, names, quick

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def chapter(self, name: str, record: Record) -> None:
        print(f"{self.names.index(name) + 1}/{len(self.names)} {self.chapters[name].title}", flush=True)

    def step(self, name: str, step: Step, number: int, of: int) -> None:
        print(f"  {step.does} ...", flush=True)

    def progress(self, share: float, text: str, left: float) -> None:
        pass

    def done(self, name: str, record: Record, kept: bool) -> None:
        for error in record.errors:
            print(f"  failed: {error}", flush=True)
        reached, words, expected = headline(name, record, record.quick)
        when = "done before" if kept else clock(record.seconds)
        if reached:
            print(f"  {words}: {reached} (expected: {expected}), {when}", flush=True)


class Board:
    """One screen: the chapters with what they reached, the step that runs, the time left."""

    def __init__(self, chapters: Mapping[str, Chapter], names: Sequence[str], quick: bool):
        self.chapters, self.names, self.quick = chapters, names, quick
        self.states = dict.fromkeys(names, "waiting")
        self.records: dict[str, Record] = {}
        self.kept: set[str] = set()
        self.now, self.text, self.share, self.began, self.left = "", "", 0.0, time.monotonic(), 0.0
        self.live = Live(get_renderable=self.drawn, console=Console(), refresh_per_second=8)

    def __enter__(self) -> "Board":
        self.live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.now = ""
        self.live.stop()

    def chapter(self, name: str, record: Record) -> None:
        self.states[name], self.records[name] = "now", record

    def step(self, name: str, step: Step, number: int, of: int) -> None:
        self.now, self.text, self.share = f"{step.does}  {number}/{of}", "", 0.0

    def progress(self, share: float, text: str, left: float) -> None:
        self.share, self.text, self.left = share, text, left

    def done(self, name: str, record: Record, kept: bool) -> None:
        self.records[name] = record
        self.states[name] = "failed" if record.errors else "done"
        if kept:
            self.kept.add(name)

    def drawn(self) -> Group:
        """The whole screen as it is now."""
        table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
        for column in ("", "chapter", "reached", " ", "expected", ""):  # only the words may be cut
            table.add_column(column, no_wrap=column != " ", justify="right" if column == "reached" else "left")
        for name in self.names:
            table.add_row(*self.row(name))
        parts = [Text(), Text(" olhar tour", style="bold"), Text(), Padding(table, (0, 1))]
        if self.now:
            spent = clock(time.monotonic() - self.began)
            bar = Table.grid(padding=(0, 2))
            bar.add_row(ProgressBar(total=1.0, completed=self.share, width=24), Text(self.now), Text(spent, "dim"))
            parts += [Text(), Padding(bar, (0, 1)), Text(f" {self.text}", style="dim", no_wrap=True)]
            if self.left > 0:
                parts.append(Text(f" about {clock(self.left)} to the end; Ctrl-C stops after this step", style="dim"))
        return Group(*parts)

    def row(self, name: str) -> list[Text]:
        """One chapter."""
        state, record = self.states[name], self.records.get(name)
        mark, style = MARKS[state]
        reached, words, expected = headline(name, record, self.quick)
        if state == "failed":
            words = "a step failed"
        seconds = "" if record is None or not record.seconds else "kept" if name in self.kept else clock(record.seconds)
        amiss = record is not None and state != "now" and bool(record.amiss)
        return [
            Text(mark, style),
            Text(self.chapters[name].title.split(":")[0], style if state in ("waiting", "now") else ""),
            Text(reached, "red" if amiss else "bold"),
            Text(words, "red" if state == "failed" else "dim", no_wrap=True, overflow="ellipsis"),
            Text(expected, "dim"),
            Text(seconds, "dim"),
        ]


def screen(chapters: Mapping[str, Chapter], names: Sequence[str], quick: bool) -> Lines | Board:
    """What suits where the output goes."""
    return (Board if sys.stdout.isatty() else Lines)(chapters, names, quick)


def farewell(toured: Any, check: bool) -> int:
    """Where the page of a `Toured` is, what is amiss, and what to type next. Returns the exit status."""
    console = Console(highlight=False, soft_wrap=True)

    def say(text: str, style: str = "") -> None:
        console.print(text, style=style, markup=False)

    for sentence in toured.failed:
        say(f"failed: {sentence}", "red")
    amiss = toured.amiss if not toured.interrupted else []
    for sentence in amiss:
        say(f"not as expected: {sentence}", "red" if check else "yellow")
    if toured.interrupted:
        say("\nStopped. The same command goes on where this one ended.")
    say(f"\nThe page of this tour, {clock(toured.seconds)}: {toured.page}", "bold")
    if toured.interrupted:
        return 130
    say("\nNow on a folder of your own:")
    for command, what in NEXT:
        say(f"  {command:36} {what}")
    return int(bool(toured.failed) or (check and bool(amiss)))
