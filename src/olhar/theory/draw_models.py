"""The figures of chapters 2, 3 and 5 that need no trained model, in the house style (olhar.inspection.figure)."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from olhar.inspection.figure import COLUMN, LIGHT, Style, bare, grid, new_figure
from olhar.theory.convolution import slide
from olhar.theory.words import Words

CELL = 0.42  # inches a number of a signal takes


def sliding(
    signal: Float[Tensor, " L"],
    kernel: Float[Tensor, " K"],
    at: int,
    stride: int = 1,
    padding: int = 0,
    style: Style = LIGHT,
) -> Figure:
    """The kernel at its position number `at` over the signal, and the output up to it (Figures 2.1, 2.2)."""
    positions = slide(signal, kernel, stride, padding)
    here = positions[at]
    shown = [0.0] * padding + signal.tolist() + [0.0] * padding
    with style.context():
        figure = new_figure(CELL * len(shown) + 1.0, 2.0)
        axes = figure.subplots()
        first = here.start + padding
        for i, value in enumerate(shown):
            inside = padding <= i < padding + len(signal)
            seen = first <= i < first + len(kernel)
            cell(axes, i, 2.6, value, style.accent_soft if seen else style.sunk, style.ink if inside else style.soft)
        for i, value in enumerate(kernel.tolist()):
            cell(axes, first + i, 1.5, value, style.accent_soft, style.accent)
        middle = (len(kernel) - 1) / 2
        for i, position in enumerate(positions):
            known = i <= at
            ground = style.second_soft if i == at else style.sunk
            place = position.start + padding + middle
            cell(axes, place, 0.0, position.value if known else None, ground, style.second if i == at else style.ink)
        terms = " + ".join(f"{w:g}·{x:g}" for w, x in zip(kernel.tolist(), here.window.tolist(), strict=True))
        axes.set_title(f"{terms} = {here.value:g}")
        for y, name in ((2.6, "signal"), (1.5, "kernel"), (0.0, "output")):
            axes.text(-0.8, y, name, ha="right", va="center", color=style.soft, fontsize=7)
        axes.set(xlim=(-2.4, len(shown) - 0.4), ylim=(-0.55, 3.2), aspect="equal")
        bare(axes)
    return figure


def cell(axes: Axes, x: float, y: float, value: float | None, ground: str, colour: str) -> None:
    """A number in its box; an empty box where it is not known yet."""
    axes.add_patch(Rectangle((x - 0.46, y - 0.46), 0.92, 0.92, facecolor=ground, edgecolor="none"))
    if value is not None:
        axes.text(x, y, f"{value:g}", ha="center", va="center", color=colour, fontsize=8)


def word_moves(
    words: Words, word: str, moved: Sequence[tuple[str, Float[Tensor, "2"]]], style: Style = LIGHT
) -> Figure:
    """Words of two numbers as directions, and where a word turns in each context (Eq 3.3): only the angle counts.

    Args:
        moved: for each context its name and the code the word has in it.
    """
    with style.context():
        figure, ((axes,),) = grid(1, 1, COLUMN * 1.35, 3.0)
        for name, code in zip(words.names, words.codes, strict=True):
            x, y = (code / code.norm()).tolist()
            colour = style.accent if name == word else style.soft
            axes.plot([0, x], [0, y], color=colour, linewidth=1.6 if name == word else 0.9)
            turned = {"rotation": np.degrees(np.arctan2(y, x)), "rotation_mode": "anchor", "va": "center"}
            axes.text(1.02 * x, 1.02 * y, name, fontsize=7, color=colour, **turned)
        for i, (context, code) in enumerate(moved):
            x, y = (code / code.norm() * (0.8 - 0.15 * i)).tolist()
            look = {"color": style.colour(1 + i), "marker": "o", "markersize": 3.5, "markevery": [1]}
            axes.plot([0, x], [0, y], linewidth=1.6, label=f"beside {context}", **look)
        axes.legend(loc="lower right")
        axes.set(xlim=(0, 1.25), ylim=(0, 1.25), aspect="equal", title=f"Where {word} points")
    return figure
