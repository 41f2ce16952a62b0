"""`olhar tour` as a function: go through the chapters, and write the page of them."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from olhar import __version__
from olhar.config import parse_duration
from olhar.tour.chapter import Chapter
from olhar.tour.chapters import CHAPTERS
from olhar.tour.page import write_page
from olhar.tour.record import Record, Shelf
from olhar.tour.runner import Tour
from olhar.tour.screen import screen


@dataclass(frozen=True)
class Toured:
    """What came of a tour: its page, and of each chapter it came to what is kept of it."""

    page: Path
    records: Mapping[str, Record]
    seconds: float
    interrupted: bool

    @property
    def failed(self) -> list[str]:
        """A sentence for every step that failed."""
        return [f"{name}: {error}" for name, record in self.records.items() for error in record.errors]

    @property
    def amiss(self) -> list[str]:
        """A sentence for every figure that is not where it is expected to be."""
        return [f"{name}: {sentence}" for name, record in self.records.items() for sentence in record.amiss]


def tour(
    run: str | Path = "runs/tour",
    only: Sequence[str] = (),
    budget: str | None = None,
    quick: bool = False,
    fresh: bool = False,
    started: float | None = None,
    chapters: Mapping[str, Chapter] = CHAPTERS,
) -> Toured:
    """Go through chapters, show how it goes, and write `run`/tour.html: also after Ctrl-C, of what is done.

    Args:
        run: the folder; what an earlier tour did there stays, and is shown too.
        only: names of chapters; none: all.
        budget: for all of them, as "10min"; None: what they take of eight minutes.
        quick: less data, fewer looks, and without a budget as many passes on any machine: 90 seconds of two cores.
        fresh: do anew what an earlier tour did.
        started: `time.monotonic()` from which the budget counts; now by default.
    Raises:
        UserError: the folder cannot be written, or holds a tour of another length.
    """
    started = time.monotonic() if started is None else started
    shelf = Shelf(Path(run))
    names = [name for name in chapters if name in only or not only]
    if fresh:
        for name in names:
            shelf.clear(name)
    made = Tour(shelf, chapters, names, parse_duration(budget) if budget else None, started, quick)
    with screen(chapters, names, made.quick) as shown:
        made.run(shown)
    page = write_page(shelf, chapters, __version__)
    return Toured(page, made.records, time.monotonic() - started, made.interrupted)
