"""An expression taken apart, drawn: the forward down the boxes, the backward in them (Eq 1.19-1.24)."""

import re
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from olhar.inspection.figure import COLUMN, FULL, LIGHT, Style, new_figure
from olhar.theory.chain_rule import Backward, Chain, Local

LEVEL, MARGIN, INSET = 0.86, 0.15, 0.26  # inches: from one operation to the next, around all, half a box
LONGEST = 30  # characters of a formula in a box
Place = tuple[float, float]
# A bend of an arrow that passes an operation by: the name it comes from, the name it goes to, and the level.
Bend = tuple[str, str, int]


def chain(found: Chain, style: Style = LIGHT) -> Figure:
    """A box an operation, from the variables at the top to the result below.

    On each arrow stands its local derivative; in orange, in the box, the derivative of the result, which is made from
    the bottom up: that of the next box times what stands on the arrow. Constants stand in the formulas.
    """
    levels = heights(found)
    bottom = levels[found.result]
    rows = ordered(found, levels)
    width = COLUMN * 1.25 if max(map(len, rows.values())) == 1 else FULL
    places: dict[str | Bend, Place] = {}
    for level, row in rows.items():
        places.update({name: (width * (i + 0.5) / len(row), -LEVEL * level) for i, name in enumerate(row)})
    with style.context():
        figure = new_figure(width, LEVEL * (bottom + 1) + 2 * MARGIN)
        figure.set_layout_engine("none")  # the only axes fill the figure
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set(xlim=(0, width), ylim=(-LEVEL * (bottom + 0.5) - MARGIN, 0.5 * LEVEL + MARGIN))
        axes.axis("off")
        operations = {step.name: step for step in found.operations}
        for step in found.backward:
            for use in step.locals:
                bends = [(use.by, use.of, level) for level in range(levels[use.by] + 1, levels[use.of])]
                arrow(axes, [places[name] for name in (use.by, *bends, use.of)], use, style)
        for step in found.backward:
            operation = operations.get(step.by)
            value = operation.value if operation else found.point.get(step.by)
            formula = step.by if operation is None else f"{step.by} = {shorten(operation.text)}"
            box(axes, places[step.by], with_value(formula, value), derivative(found.result, step), style)
    return figure


def heights(found: Chain) -> dict[str, int]:
    """The level of each name, 0 at the top: as near as possible to where it is used, the result at the bottom."""
    above = {found.result: 0}
    for step in found.backward[1:]:  # what uses a name comes before it in the backward
        above[step.by] = 1 + max(above[use.of] for use in step.locals)
    bottom = max(above.values())
    return {name: bottom - height for name, height in above.items()}


def ordered(found: Chain, levels: dict[str, int]) -> dict[int, list[str | Bend]]:
    """What stands at each level from left to right: each near the middle of what uses it, so that few arrows cross."""
    rows: dict[int, list[str | Bend]] = {level: [] for level in range(max(levels.values()) + 1)}
    below: dict[str | Bend, list[str | Bend]] = {name: [] for name in levels}
    for step in found.backward:
        rows[levels[step.by]].append(step.by)
        for use in step.locals:
            bends = [(use.by, use.of, level) for level in range(levels[use.by] + 1, levels[use.of])]
            for bend in bends:
                rows[bend[2]].append(bend)
            for upper, lower in pairwise([use.by, *bends, use.of]):
                below.setdefault(upper, []).append(lower)
    across: dict[str | Bend, float] = {}
    for level in sorted(rows, reverse=True):
        row = rows[level]
        middle = {name: sum(across[n] for n in below[name]) / max(1, len(below[name])) for name in row}
        row.sort(key=lambda name: middle[name])
        across.update({name: (i + 0.5) / len(row) for i, name in enumerate(row)})
    return rows


def box(axes: Axes, place: Place, forward: str, backward: str, style: Style) -> None:
    """A name, its formula and value, and below them the derivative of the result by it."""
    frame = {"boxstyle": "round,pad=0.45", "facecolor": style.sunk, "edgecolor": style.line}
    common = {"ha": "center", "va": "center", "linespacing": 1.5, "fontsize": 7.5}
    # one text of both lines makes the box; each line is then drawn in its colour
    axes.text(*place, f"{forward}\n{backward}", color="none", bbox=frame, zorder=3, **common)
    axes.text(*place, f"{forward}\n", color=style.ink, zorder=4, **common)
    axes.text(*place, f"\n{backward}", color=style.second, zorder=4, **common)


def arrow(axes: Axes, places: list[Place], use: Local, style: Style) -> None:
    """From what is used to where, past what lies between, with the local derivative on it."""
    (x, y), (next_x, next_y) = places[0], places[1]
    places = [(x, y - INSET), *places[1:-1], (places[-1][0], places[-1][1] + INSET)]
    axes.plot(*zip(*places[:-1], strict=True), color=style.accent, linewidth=1.0, zorder=1)
    head = {"arrowstyle": "-|>", "color": style.accent, "linewidth": 1.0, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", places[-1], places[-2], arrowprops=head, zorder=1)
    text = with_value(f"d{use.of}/d{use.by} = {shorten(readable(str(use.expression)))}", use.value)
    middle = ((x + next_x) / 2, (y + next_y) / 2)
    ground = {"facecolor": style.paper, "edgecolor": "none", "pad": 1.2}
    beside = x == next_x and len(text) < LONGEST  # of an upright arrow there is room for a short one
    place = {"ha": "left", "x": middle[0] + 0.06} if beside else {"ha": "center", "x": middle[0]}
    axes.text(y=middle[1], s=text, va="center", fontsize=6.5, color=style.accent, bbox=ground, zorder=2, **place)


def derivative(result: str, step: Backward) -> str:
    return with_value(f"d{result}/d{step.by} = {shorten(readable(str(step.expression)))}", step.value)


def with_value(formula: str, value: float | None) -> str:
    """The formula, and what it comes to where that is not what it says."""
    if value is None or formula.endswith(f" = {value:.4g}"):
        return formula
    return f"{formula} = {value:.4g}"


def readable(formula: str) -> str:
    """2*q1 as 2 q1: a product needs no sign between a number or a name and what follows."""
    return re.sub(r"(?<=[\w)])\*(?=[\w(])", " ", formula)


def shorten(formula: str) -> str:
    return formula if len(formula) <= LONGEST else formula[: LONGEST - 1] + "…"
