"""Colours for classes that have none of their own: far apart, light enough to lie over a photograph."""

import colorsys
from collections.abc import Sequence

from olhar.data.sample import Colour

NOTHING = (0, 0, 0)  # drawn as the image itself
BACKGROUND = frozenset({"background", "bg", "void", "other", "none"})
# Okabe and Ito (2008): told apart without red, green or blue; then hues between them.
FIRST: tuple[Colour, ...] = (
    *((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167)),
    *((120, 94, 240), (150, 220, 90), (255, 140, 180), (160, 110, 60), (90, 230, 220)),
)


def palette(names: Sequence[str]) -> list[Colour]:
    """One colour a class, always the same for the same names."""
    colours: list[Colour] = []
    for name in names:
        taken = sum(colour != NOTHING for colour in colours)
        colours.append(NOTHING if name.lower() in BACKGROUND else nth(taken))
    return colours


def nth(i: int) -> Colour:
    """The colour number i: of the list, then by steps of the golden angle, which never repeat."""
    if i < len(FIRST):
        return FIRST[i]
    r, g, b = colorsys.hsv_to_rgb(i * 0.618034 % 1, 0.55 + 0.35 * (i % 2), 0.95 - 0.25 * (i // 2 % 2))
    return round(255 * r), round(255 * g), round(255 * b)
