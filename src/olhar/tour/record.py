"""What a tour keeps of its chapters, so that a second one goes on, and the page shows all that was ever done.

DIR/NAME.json is what chapter NAME left, step by step; DIR/NAME/ its run folder; DIR/tour.html the page.
"""

import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from markupsafe import Markup

from olhar.errors import UserError
from olhar.tour.chapter import Piece, Shown
from olhar.tour.expected import EXPECTED
from olhar.train.checkpoint import write_text


@dataclass
class Done:
    """One step that was taken: what it left, in how many seconds, or why it failed."""

    seconds: float
    pieces: Sequence[Piece] = ()
    figures: Mapping[str, float] = field(default_factory=dict)
    emblems: Sequence[str] = ()
    error: str = ""

    @classmethod
    def of(cls, shown: Shown, seconds: float) -> "Done":
        return cls(seconds, shown.pieces, shown.figures, shown.emblems)


@dataclass
class Record:
    """One chapter of a tour. `scale` is its time as a share of that in a tour of eight minutes."""

    name: str
    scale: float
    quick: bool
    steps: dict[str, Done] = field(default_factory=dict)

    def forget_failures(self) -> None:
        """What failed is tried again."""
        self.steps = {name: step for name, step in self.steps.items() if not step.error}

    @property
    def figures(self) -> dict[str, float]:
        return {name: value for step in self.steps.values() for name, value in step.figures.items()}

    @property
    def emblems(self) -> list[str]:
        return [uri for step in self.steps.values() for uri in step.emblems]

    @property
    def errors(self) -> list[str]:
        return [step.error for step in self.steps.values() if step.error]

    @property
    def seconds(self) -> float:
        return sum(step.seconds for step in self.steps.values())

    @property
    def amiss(self) -> list[str]:
        """The figures that are not where they are expected to be, a sentence each."""
        return [
            f"{one.words} is {one.say(self.figures.get(key))}, expected {one.said_range(self.quick)}"
            for key, one in EXPECTED[self.name].items()
            if not one.holds(self.figures.get(key), self.quick)
        ]


class Shelf:
    """The folder of a tour."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.page = folder / "tour.html"

    def file(self, name: str) -> Path:
        return self.folder / f"{name}.json"

    def read(self, name: str) -> Record | None:
        """What is kept of a chapter; None where it was never begun. Raises UserError where it is damaged."""
        path = self.file(name)
        if not path.exists():
            return None
        try:
            return record_from(json.loads(path.read_text(encoding="utf-8")))
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} is damaged: start this chapter anew with --fresh --only {name}.") from error

    def write(self, record: Record) -> None:
        """Keep a chapter. Raises UserError where the folder cannot be written."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"Could not make the folder {self.folder}: {error.strerror}.") from error
        write_text(self.file(record.name), json.dumps(asdict(record), ensure_ascii=False))

    def clear(self, name: str) -> None:
        """Forget a chapter, and its run. A folder that no chapter made is left alone."""
        if self.file(name).exists():
            shutil.rmtree(self.folder / name, ignore_errors=True)
            self.file(name).unlink()


def record_from(tree: dict[str, Any]) -> Record:
    """The inverse of `asdict`: what stands in the file is the page's own markup."""
    steps = {
        name: Done(**step | {"pieces": [Piece(**piece | {"body": Markup(piece["body"])}) for piece in step["pieces"]]})
        for name, step in tree["steps"].items()
    }
    return Record(tree["name"], tree["scale"], tree["quick"], steps)
