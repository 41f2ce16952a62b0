"""What a caption of `shapes` says, read back: for metrics that ask whether a picture shows what was said.

"a red circle above a blue square"  ->  two things, and how the first lies from the second
"""

import re
from dataclasses import dataclass

from olhar.data.scenes import COLOR_NAMES, HELD_OUT_OFFSET, SHAPES
from olhar.errors import UserError

SIZES = ("", "small", "large")
RELATIONS = ("above", "below", "left of", "right of")
# (color, shape) pairs that training with `holdout=1` never shows, and of which its test shows one in every scene. Each
# color and each shape is in one of them only, and is seen in training with all others.
HELD_OUT_PAIRS = tuple(
    (COLOR_NAMES[(shape + HELD_OUT_OFFSET) % len(COLOR_NAMES)], name) for shape, name in enumerate(SHAPES)
)

THING = re.compile(rf"an? (?:(small|large) )?({'|'.join(COLOR_NAMES)}) ({'|'.join(SHAPES)})")
NEXT = re.compile(rf"(?:,? and |, | )({'|'.join(RELATIONS)}) ")


@dataclass(frozen=True, slots=True)
class SaidThing:
    """One thing of a caption."""

    color: str
    shape: str
    size: str = ""  # of SIZES; "" where the caption says nothing of it

    @property
    def pair(self) -> tuple[str, str]:
        """Its color and shape, as HELD_OUT_PAIRS has them."""
        return self.color, self.shape


@dataclass(frozen=True, slots=True)
class SaidScene:
    """What a caption says: the main thing first, and for each of the others how the main one lies from it."""

    things: tuple[SaidThing, ...]
    relations: tuple[str, ...]  # of RELATIONS; one fewer than things

    @property
    def held_out(self) -> bool:
        """Whether it speaks of a pair that training with `holdout=1` never shows."""
        return any(thing.pair in HELD_OUT_PAIRS for thing in self.things)


def read_caption(caption: str) -> SaidScene:
    """The things and relations of a caption as `Scene.caption` writes it, in capitals or not.

    "a large red circle" -> one thing; "a red circle above a blue square and left of a green star" -> three things and
    the relations ("above", "left of"). Raises UserError for any other text.
    """
    text = caption.strip().lower().rstrip(".")
    things: list[SaidThing] = []
    relations: list[str] = []
    place = 0
    while match := THING.match(text, place):
        things.append(SaidThing(match[2], match[3], match[1] or ""))
        place = match.end()
        if place == len(text):
            return SaidScene(tuple(things), tuple(relations))
        if (joint := NEXT.match(text, place)) is None:
            break
        relations.append(joint[1])
        place = joint.end()
    raise UserError(
        f"'{caption}' is no caption of shapes from '{text[place:].strip()}' on: write it like 'a red circle above a "
        "blue square'."
    )
