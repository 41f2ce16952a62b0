"""Colours for classes that have none of their own: far apart, light enough to lie over a photograph."""

import colorsys
from collections.abc import Sequence
from itertools import count

from olhar.data.sample import Colour

NOTHING = (0, 0, 0)  # drawn as the image itself
BACKGROUND = frozenset({"background", "bg", "void", "other", "none"})
# Okabe and Ito (2008): told apart without red, green or blue; then hues between them.
FIRST: tuple[Colour, ...] = (
    *((230, 159, 0), (86, 180, 233), (0, 158, 115), (240, 228, 66), (0, 114, 178), (213, 94, 0), (204, 121, 167)),
    *((120, 94, 240), (150, 220, 90), (255, 140, 180), (160, 110, 60), (90, 230, 220)),
)


# What people expect of some things; words as data sets of streets and landscapes have them.
EXPECTED: dict[str, Colour] = {
    **dict.fromkeys(("sky",), (120, 190, 255)),
    **dict.fromkeys(("tree", "trees", "vegetation", "forest", "plant"), (40, 150, 60)),
    **dict.fromkeys(("grass", "terrain", "field"), (150, 205, 90)),
    **dict.fromkeys(("road", "street"), (150, 110, 160)),
    **dict.fromkeys(("pavement", "sidewalk"), (235, 150, 190)),
    **dict.fromkeys(("building", "buildings", "house", "wall"), (175, 125, 85)),
    **dict.fromkeys(("water", "sea", "river", "lake"), (0, 114, 178)),
    **dict.fromkeys(("person", "pedestrian", "people", "human"), (225, 35, 60)),
    **dict.fromkeys(("car", "vehicle"), (30, 70, 200)),
}


def palette(names: Sequence[str]) -> list[Colour]:
    """One colour a class, always the same for the same names."""
    colours: list[Colour] = []
    for name in names:
        known = NOTHING if name.lower() in BACKGROUND else EXPECTED.get(name.lower())
        if known is None or (known in colours and known != NOTHING):
            known = next(colour for i in count() if (colour := nth(i)) not in colours)
        colours.append(known)
    return colours


def nth(i: int) -> Colour:
    """The colour number i: of the list, then by steps of the golden angle, which never repeat."""
    if i < len(FIRST):
        return FIRST[i]
    r, g, b = colorsys.hsv_to_rgb(i * 0.618034 % 1, 0.55 + 0.35 * (i % 2), 0.95 - 0.25 * (i // 2 % 2))
    return round(255 * r), round(255 * g), round(255 * b)
