"""One tour: chapter after chapter, step after step, in the time there is."""

import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol, runtime_checkable

from olhar.errors import UserError
from olhar.tour.chapter import Chapter, Shown, Stage, Step
from olhar.tour.record import Done, Record, Shelf
from olhar.train.interrupt import interruptible

FULL, QUICK = 480.0, 90.0  # seconds of a tour, and of a quick one
BRIEF = 0.5  # a tour in less than this share of the full time is a quick one: less data, fewer looks
OPENING, CLOSING = 8.0, 3.0  # seconds to import torch, and to write the page
# What a training needs to start and to evaluate at all, on two cores that have nothing else to do.
LEAST = 5.0
SLOWEST = 6.0  # a machine that seems slower than this had something else to do at the time


@runtime_checkable
class Screen(Protocol):
    """Who shows how a tour goes."""

    def chapter(self, name: str, record: Record) -> None: ...
    def step(self, name: str, step: Step, number: int, of: int) -> None: ...
    def progress(self, share: float, text: str, left: float) -> None: ...
    def done(self, name: str, record: Record, kept: bool) -> None: ...


def needed(chapter: Chapter, quick: bool = False) -> float:
    """Seconds that a chapter takes of a full tour."""
    return sum(step.seconds for step in chapter.chosen(quick))


class Tour:
    """Args:
    shelf: the folder, where chapters that are done stay as they are.
    names: of the chapters to go through, in this order.
    budget: seconds for all of them; None: what they take of a full tour, or of a quick one.
    started: `time.monotonic()` from which the budget counts.
    """

    def __init__(
        self,
        shelf: Shelf,
        chapters: Mapping[str, Chapter],
        names: Sequence[str],
        budget: float | None = None,
        started: float | None = None,
        quick: bool = False,
    ):
        self.shelf, self.chapters, self.names = shelf, chapters, names
        self.started = time.monotonic() if started is None else started
        whole = OPENING + CLOSING + sum(needed(chapters[name]) for name in names)
        self.timed = budget is not None or not quick  # else as many passes as the table says: the same on any machine
        budget = budget or whole * (QUICK / FULL if quick else 1)
        self.deadline = self.started + budget - CLOSING
        self.scale = budget / whole
        self.quick = self.scale < BRIEF
        self.records: dict[str, Record] = {}
        self.expected = self.took = 0.0  # seconds of the steps so far that take what they take
        self.interrupted = False
        for name in names:
            self.refuse_other_time(name)

    def refuse_other_time(self, name: str) -> None:
        """Raise UserError where a chapter was begun in another tour's time: it would not be the same."""
        kept = self.shelf.read(name)
        if kept and abs(kept.scale - self.scale) > 0.1 * self.scale:
            minutes = kept.scale * FULL / 60
            raise UserError(
                f"{self.shelf.folder} holds {name} of a tour of {minutes:.2g} minutes: go on with the same --budget, "
                "start anew with --fresh, or give another --run."
            )

    def run(self, screen: Screen) -> None:
        """All steps that are not done yet. Ctrl-C ends it after the step it falls into."""
        self.screen = screen
        with interruptible() as asked:
            for name in self.names:
                record = self.shelf.read(name) or Record(name, self.scale, self.quick)
                self.records[name] = record
                record.forget_failures()
                kept = all(step.name in record.steps for step in self.chapters[name].chosen(self.quick))
                if not kept:
                    self.screen.chapter(name, record)
                    self.shelf.write(record)
                    self.play(name, record, asked.is_set)
                self.screen.done(name, record, kept)
                if asked.is_set() or self.interrupted:
                    self.interrupted = True
                    return

    def play(self, name: str, record: Record, asked: Callable[[], bool]) -> None:
        """The steps of one chapter that are not done yet, each kept as it comes."""
        steps = self.chapters[name].chosen(self.quick)
        folder = self.shelf.folder / name
        stage = Stage(folder, self.quick, None, lambda share, text: self.screen.progress(share, text, self.left()))
        for i, step in enumerate(steps):
            if step.name in record.steps:
                continue
            if any(before.trains and record.steps[before.name].error for before in steps[:i]):
                return  # without the model there is nothing to look at
            self.screen.step(name, step, i + 1, len(steps))
            stage.seconds = self.seconds_for(name, step) if self.timed else None
            done = self.take(name, step, stage)
            if done is None:
                self.interrupted = True
                return
            record.steps[step.name] = done
            self.shelf.write(record)
            if asked():
                return

    def take(self, name: str, step: Step, stage: Stage) -> Done | None:
        """One step; None where it was interrupted."""
        began = time.monotonic()
        try:
            shown: Shown = step.act(stage)
        except KeyboardInterrupt:
            return None
        except UserError as mistake:
            return Done(time.monotonic() - began, error=str(mistake))
        except Exception as fault:
            log = self.shelf.folder / f"{name}.error.txt"
            log.write_text(traceback.format_exc(), encoding="utf-8")
            return Done(
                time.monotonic() - began, error=f"A fault of olhar ({type(fault).__name__}: {fault}): see {log}."
            )
        seconds = time.monotonic() - began
        if not step.trains:
            self.expected, self.took = self.expected + step.seconds, self.took + seconds
        return Done.of(shown, seconds)

    @property
    def pace(self) -> float:
        """How many times longer than on two free cores a step takes here."""
        return min(max(self.took / self.expected, 1.0), SLOWEST) if self.expected else 1.0

    def waiting(self, name: str, step: Step) -> list[Step]:
        """This step and those after it."""
        names = self.names[self.names.index(name) :]
        steps = [(one, s) for one in names for s in self.chapters[one].chosen(self.quick)]
        return [s for _, s in steps[steps.index((name, step)) :]]

    def seconds_for(self, name: str, step: Step) -> float:
        """What a training may take: its share of what the steps leave that take what they take."""
        waiting = self.waiting(name, step)
        fixed = self.pace * sum(one.seconds for one in waiting if not one.trains)
        share = step.seconds / max(sum(one.seconds for one in waiting if one.trains), 1e-9)
        return max(share * (self.deadline - fixed - time.monotonic()), LEAST * self.pace)

    def left(self) -> float:
        """Seconds to the end of the tour."""
        return self.deadline + CLOSING - time.monotonic()
