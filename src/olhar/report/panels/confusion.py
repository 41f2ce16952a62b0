"""What is taken for what."""

import math

from markupsafe import Markup

from olhar.inspection.confusion import confusion_matrix, most_confused
from olhar.report.parts import join, part
from olhar.report.story import Panel, Story
from olhar.report.svg import picture, tag
from olhar.report.words import percent

MOST_CLASSES = 50  # of a drawn matrix: more cells than a phone can show
WITH_NUMBERS = 14
PAIRS = 12


def confusion_panel(story: Story) -> Panel | None:
    if not story.classified:
        return None
    matrix = confusion_matrix(story.truth, story.predicted, len(story.classes))
    support = matrix.sum(1)
    pairs = most_confused(matrix, PAIRS)
    rows = [
        [f"{story.classes[i]} → {story.classes[j]}", (n / pairs[0][2], f"{n:,}"), percent(n / support[i])]
        for i, j, n in pairs
    ]
    table = Markup("")
    if rows:
        heads = [("Truth → answer", "text"), ("Times", "bar"), ("Of the class", "number")]
        table = join(part("heading", "Most confused"), part("table", heads, rows, "mistaken"))
    if len(story.classes) > MOST_CLASSES:
        body = table or part("paragraph", "There is no mistake.")
    else:
        body = part("columns", [part("figure", draw(matrix, story.classes)), table], "wide-left")
    reading = (
        "Each row is a true class, each column what the model answered: blue on the diagonal is right, orange is "
        "wrong, and the deeper the more. Two classes that mix in both directions look alike to the model."
    )
    return Panel("confusion", "Confusion", reading, body)


def draw(matrix, classes: list[str]) -> Markup:
    """Cells shaded by their share of the row; the root makes rare mistakes visible."""
    k = len(classes)
    side = 440 if k <= WITH_NUMBERS else 560
    margin = min(110.0, 14 + 5.6 * max(len(name) for name in classes))
    cell = (side - margin) / k
    font = min(11.0, max(cell * 0.9, 5.5))
    limit = int(margin / (0.52 * font))
    parts: list[Markup] = []
    for i, name in enumerate(classes):
        y = margin + (i + 0.5) * cell + font * 0.36
        style = f"font-size:{font:.1f}px"
        parts.append(tag("text", cut(name, limit), x=margin - 6, y=y, text_anchor="end", style=style))
        x = margin + (i + 0.5) * cell + font * 0.36
        turn = f"rotate(-90 {x:.1f} {margin - 6:.1f})"
        parts.append(tag("text", cut(name, limit), x=x, y=margin - 6, transform=turn, style=style))
        total = matrix[i].sum()
        for j in range(k):
            corner = (margin + j * cell, margin + i * cell)
            drawn = draw_cell(int(matrix[i, j]), int(total), corner, cell, i == j, k <= WITH_NUMBERS)
            if matrix[i, j]:
                title = f"{name} → {classes[j]}: {matrix[i, j]:,} of {total:,}"
                drawn = tag("g", tag("title", title) + drawn)
            parts.append(drawn)
    return picture(side, side, "Confusion matrix", Markup("").join(parts))


def draw_cell(
    count: int, total: int, corner: tuple[float, float], cell: float, right: bool, with_number: bool
) -> Markup:
    x, y = corner
    square = {"x": x, "y": y, "width": cell, "height": cell}
    if not count:
        return tag("rect", **square, class_="cell empty")
    depth = 0.12 + 0.88 * math.sqrt(count / total)
    colour = "fill" if right else "fill-second"
    # the paper below keeps the shade the same in light and dark
    shade = tag("rect", **square, class_="cell empty") + tag(
        "rect", **square, class_=f"cell {colour}", fill_opacity=f"{depth:.2f}"
    )
    if not with_number:
        return shade
    size = min(13.0, cell * 0.34)
    written = tag(
        "text",
        f"{count}",
        x=x + cell / 2,
        y=y + cell / 2 + size * 0.36,
        text_anchor="middle",
        style=f"font-size:{size:.1f}px",
        class_="on" if depth > 0.6 else "ink",
    )
    return shade + written


def cut(name: str, limit: int) -> str:
    return name if len(name) <= limit else name[: limit - 1] + "…"
