"""An expression taken apart, drawn: the forward down the boxes, the backward in them (Eq 1.19-1.24)."""

import re

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from olhar.inspection.figure import COLUMN, FULL, LIGHT, Style, new_figure
from olhar.theory.chain_rule import Backward, Chain, Local

LEVEL, MARGIN = 0.86, 0.3  # inches from one operation to the next, and around all
LONGEST = 34  # characters of a formula in a box


def chain(found: Chain, style: Style = LIGHT) -> Figure:
    """A box an operation, from the variables at the top to the result below.

    Beside each arrow stands its local derivative; in orange, in the box, the derivative of the result, which is made
    from the bottom up: that of the next box times what stands at the arrow. Constants stand in the formulas.
    """
    levels = depths(found)
    rows: dict[int, list[str]] = {}
    for name, level in levels.items():
        rows.setdefault(level, []).append(name)
    widest = max(map(len, rows.values()))
    skipping = any(levels[use.of] - levels[step.by] > 1 for step in found.backward for use in step.locals)
    width = COLUMN * 1.25 if widest == 1 and not skipping else FULL
    with style.context():
        figure = new_figure(width, LEVEL * len(rows) + 2 * MARGIN)
        figure.set_layout_engine("none")  # the only axes fill the figure
        axes = figure.add_axes((0.0, 0.0, 1.0, 1.0))
        axes.set(xlim=(0, width), ylim=(-LEVEL * (len(rows) - 0.5) - MARGIN, 0.5 * LEVEL + MARGIN))
        axes.axis("off")
        places = {
            name: (width * (i + 0.5) / len(row), -LEVEL * level)
            for level, row in rows.items()
            for i, name in enumerate(row)
        }
        operations = {step.name: step for step in found.operations}
        for step in found.backward:
            operation = operations.get(step.by)
            value = operation.value if operation else found.point.get(step.by)
            formula = step.by if operation is None else f"{step.by} = {shorten(operation.text)}"
            box(axes, places[step.by], with_value(formula, value), derivative(found.result, step), style)
            for use in step.locals:
                arrow(axes, places[step.by], places[use.of], use, levels[use.of] - levels[step.by], style)
    return figure


def depths(found: Chain) -> dict[str, int]:
    """How many operations lie above each name that the result is differentiated by, the variables first."""
    shown = {step.by for step in found.backward}
    levels = {name: 0 for name in found.variables if name in shown}
    for operation in found.operations:
        if operation.name in shown:
            levels[operation.name] = 1 + max((levels.get(use.by, 0) for use in operation.locals), default=0)
    return levels


def box(axes: Axes, place: tuple[float, float], forward: str, backward: str, style: Style) -> None:
    """A name, its formula and value, and below them the derivative of the result by it."""
    frame = {"boxstyle": "round,pad=0.45", "facecolor": style.sunk, "edgecolor": style.line}
    x, y = place
    # one text of both lines makes the box; the second line is drawn again in its colour
    axes.text(
        x, y, f"{forward}\n{backward}", ha="center", va="center", color="none", linespacing=1.5, bbox=frame, zorder=3
    )
    axes.text(x, y, f"{forward}\n", ha="center", va="center", color=style.ink, linespacing=1.5, zorder=4)
    axes.text(x, y, f"\n{backward}", ha="center", va="center", color=style.second, linespacing=1.5, zorder=4)


def arrow(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], use: Local, levels: int, style: Style
) -> None:
    """From what is used to where, with the local derivative beside it; around what lies between."""
    bend = 0.0 if levels == 1 else -0.35
    inset = 0.26
    axes.annotate(
        "",
        (end[0], end[1] + inset),
        (start[0], start[1] - inset),
        arrowprops={
            "arrowstyle": "-|>", "color": style.accent, "linewidth": 1.0, "shrinkA": 0, "shrinkB": 0,
            "connectionstyle": f"arc3,rad={bend}",
        },
    )  # fmt: skip
    across, down = end[0] - start[0], end[1] - start[1]
    x = (start[0] + end[0]) / 2 - bend * down / 2
    y = (start[1] + end[1]) / 2 + bend * across / 2
    text = with_value(f"d{use.of}/d{use.by} = {shorten(readable(str(use.expression)))}", use.value)
    axes.text(x + 0.07, y, text, ha="left", va="center", fontsize=7, color=style.accent, zorder=5)


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
