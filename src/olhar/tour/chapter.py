"""What a chapter of the tour is: steps that compute, and the pieces of a page that come of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from markupsafe import Markup

from olhar.run import Run, load
from olhar.train.log import Voice

# Where a piece stands in its chapter, whatever the order in which they are computed.
PLACES = {
    "model": "What the model is",
    "curve": "How it learnt",
    "result": "What came of it",
    "inside": "A look inside",
}


@dataclass(frozen=True)
class Piece:
    """One thing the page shows: `reading` says what it is and how to read it."""

    place: str
    title: str
    body: Markup
    reading: str = ""
    wide: bool = False  # takes the whole width, and not one of two columns


@dataclass(frozen=True)
class Shown:
    """What a step leaves: pieces for the page, the figures it reached, by their names in expected.py, and a few
    pictures, as data URIs, for the head of the page."""

    pieces: Sequence[Piece] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    emblems: Sequence[str] = ()


@dataclass
class Stage:
    """Where a step plays.

    Args:
        folder: the chapter's run folder, whether it is there yet or not.
        quick: the tour takes a minute or two: less data.
        seconds: what a training may take, from now to the evaluated model; None: what its passes take.
        progress: is told the share of the step that is done, and what to say of it.
    """

    folder: Path
    quick: bool
    seconds: float | None
    progress: Callable[[float, str], None]
    trained: Run | None = None

    @property
    def run(self) -> Run:
        """The chapter's finished run, loaded once."""
        self.trained = self.trained or load(self.folder)
        return self.trained

    @property
    def voice(self) -> Voice:
        """Who tells of a training here."""
        return Relay(self.progress)


class Relay(Voice):
    """A voice that passes on how far a training is, and is silent."""

    def __init__(self, on_progress: Callable[[float, str], None]):
        super().__init__(quiet=True)
        self.on_progress = on_progress

    def progress(self, share: float, text: str, left: float) -> None:
        self.on_progress(share, text)


@dataclass(frozen=True)
class Step:
    """One thing a chapter does.

    Args:
        does: what, as "training a small network".
        seconds: what it takes of a tour of eight minutes on two cores; of a training its share, which grows and
            shrinks with the time there is.
        trains: it makes the run that the steps after it need.
        quick: it is a part of a tour of a minute or two, too.
    """

    name: str
    does: str
    act: Callable[[Stage], Shown]
    seconds: float
    trains: bool = False
    quick: bool = True


@dataclass(frozen=True)
class Chapter:
    """A line of the table of chapters.

    Args:
        notes: where in the notes it is.
        story: what the model is and why, a paragraph each.
        equation: what is made smaller, in TeX; `minimises` says it in words.
        steps: what it does, in this order.
        commands: the same on a folder of one's own.
    """

    title: str
    notes: str
    story: Sequence[str]
    equation: str
    minimises: str
    steps: Sequence[Step]
    commands: Sequence[str]

    @property
    def trains(self) -> bool:
        """It leaves a run folder."""
        return any(step.trains for step in self.steps)

    def chosen(self, quick: bool) -> list[Step]:
        """The steps of a tour, long or quick."""
        return [step for step in self.steps if step.quick or not quick]
