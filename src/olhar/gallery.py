"""The answer to a search as one HTML page: a grid of pictures, or a table of texts. No script, no network."""

import re
from pathlib import Path

from markupsafe import Markup

from olhar.data.decode import decode
from olhar.errors import UserError
from olhar.report.page import EYE, ICON
from olhar.report.parts import join, part, style, templates
from olhar.report.pictures import LONGEST_SIDE, data_uri
from olhar.report.story import Panel
from olhar.search import Hit, Search


def write_gallery(found: Search, path: Path, version: str, run: str) -> Path:
    """Write the page. Raises UserError where it cannot be written."""
    count = f"{found.searched:,} {found.kind}"
    number = "the cosine of their vectors"
    if found.closely:
        number = f"the mean of {number[4:]} and of how well words fit patches"
    reading = f"The nearest of {count}, the nearest first; the number is {number}, at most 1."
    query = pictures([Hit(found.query, 1.0)], False) if found.by == "image" else Markup("")
    body = pictures(found.shown, True) if found.kind == "images" else table(found)
    title = Path(found.query).name if found.by == "image" else found.query
    page = templates().get_template("page.html").render(
        title=f"{title} · olhar", version=version, run=run, eye=EYE, icon=ICON, style=Markup(style()),
        panels=[Panel("found", title, reading, join(query, body))],
    )  # fmt: skip
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UserError(f"Could not write {path}: {error.strerror}.") from error
    return path


def pictures(hits: "tuple[Hit, ...] | list[Hit]", named: bool) -> Markup:
    """Thumbnails with their names and cosines."""
    items = []
    for hit in hits:
        try:
            uri = data_uri(decode(Path(hit.found).expanduser(), side=LONGEST_SIDE, channels=3))
        except UserError:
            uri = None
        lines = [(f"{hit.similarity:.3f}", "said")] if named else []
        lines += [(Path(hit.found).name, "quiet")]
        share = max(0.0, hit.similarity) if named else None
        items.append({"uri": uri, "name": hit.found, "right": None, "share": share, "lines": lines})
    return part("pictures", items, False)


def table(found: Search) -> Markup:
    """Texts with their cosines as bars."""
    rows = [[hit.found, (max(0.0, hit.similarity), f"{hit.similarity:.3f}")] for hit in found.shown]
    return part("table", [("Text", "text"), (found.measure.capitalize(), "bar")], rows)


def file_name(query: str) -> str:
    """A name for the page of a query: its letters and digits."""
    return re.sub(r"\W+", "-", Path(query).name if "/" in query else query).strip("-")[:60] or "search"
