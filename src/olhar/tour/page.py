"""The page of a tour: one HTML file that tells the notes' story with the pictures just computed. No script."""

import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from olhar.errors import UserError
from olhar.report.page import EYE, ICON
from olhar.report.parts import style, templates
from olhar.report.words import duration, plural
from olhar.tour.chapter import PLACES, Chapter, Piece
from olhar.tour.equation import typeset
from olhar.tour.expected import EXPECTED
from olhar.tour.record import Record, Shelf

LAW = r"\theta^{*}=\arg\min_{\theta}\;-\sum_{i}\,\log p(y_i\,|\,f(x_i;\theta))"
ROW = 6  # pictures beside each other at the head of the page, which shows full rows
INTRO = (
    "A model is a function f(x; θ) whose output says how probable everything is: a side of a die, a class, a mask, a "
    "box, a caption, a picture. Training changes θ, a small step down the slope at a time, so that what really was the "
    "case becomes more probable. Only the kind of f changes from chapter to chapter; the sentence does not."
)


def write_page(shelf: Shelf, chapters: Mapping[str, Chapter], version: str) -> Path:
    """Write DIR/tour.html of everything that lies in the folder. Raises UserError where it cannot be written."""
    records = {name: record for name in chapters if (record := shelf.read(name))}
    shown = [chapter_of(shelf, name, chapters[name], record) for name, record in records.items()]
    seconds = sum(record.seconds for record in records.values())
    emblems = [uri for record in records.values() for uri in record.emblems]
    page = (
        templates("olhar.tour")
        .get_template("tour.html")
        .render(
            title="A tour of computer vision · olhar",
            version=version,
            eye=EYE,
            icon=ICON,
            style=Markup(style()),
            tour_style=Markup(style("olhar.tour")),
            panels=[{"id": one["id"], "title": one["short"]} for one in shown],
            chapters=shown,
            emblems=emblems[: len(emblems) // ROW * ROW],
            intro=INTRO,
            law=typeset(LAW),
            made=f"{plural(len(shown), 'chapter')} computed in {duration(seconds)} on {machine()}.",
            machine=machine(),
        )
    )
    try:
        shelf.folder.mkdir(parents=True, exist_ok=True)
        shelf.page.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UserError(f"Could not write {shelf.page}: {error.strerror}.") from error
    return shelf.page


def chapter_of(shelf: Shelf, name: str, chapter: Chapter, record: Record) -> dict[str, Any]:
    """One chapter as the template takes it."""
    key, headline = next(iter(EXPECTED[name].items()))
    value = record.figures.get(key)
    pieces = [piece for step in chapter.steps if step.name in record.steps for piece in record.steps[step.name].pieces]
    places = [(title, [piece for piece in pieces if piece.place == place]) for place, title in PLACES.items()]
    return {
        "id": name,
        "title": chapter.title,
        "short": chapter.title.split(":")[0],
        "notes": chapter.notes,
        "story": chapter.story,
        "equation": typeset(chapter.equation),
        "minimises": chapter.minimises,
        "reached": None if value is None else headline.say(value),
        "words": headline.words,
        "expected": headline.said_range(record.quick),
        "amiss": record.amiss,
        "errors": record.errors,
        "places": [(title, laid_out(inside)) for title, inside in places if inside],
        "commands": "\n".join(chapter.commands),
        "yours": "On a folder of your own" if chapter.trains else "With an expression of your own",
        "run": shelf.folder / name if chapter.trains else None,
    }


def laid_out(pieces: Sequence[Piece]) -> list[tuple[str, Piece]]:
    """Pieces with how each lies: over the whole width, as one of two columns, or alone with its words at its side."""
    lies: list[tuple[str, Piece]] = []
    for piece in pieces:
        beside = bool(lies) and lies[-1][0] == "aside"
        if not piece.wide and beside:
            lies[-1] = ("half", lies[-1][1])
        lies.append(("wide" if piece.wide else "half" if beside else "aside", piece))
    return lies


def machine() -> str:
    """Where this runs, in a few words."""
    return f"{plural(os.cpu_count() or 1, 'core')} ({platform.machine()}, {platform.system()})"
