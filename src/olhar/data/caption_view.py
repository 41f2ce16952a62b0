"""What may be changed of an image that has captions, so that they stay true: the preset, and whether it is mirrored."""

import re
from collections.abc import Sequence

from olhar.data.caption_checks import short
from olhar.data.listing import count
from olhar.data.transforms import SMALL

# Words for sides that a mirror exchanges, in languages whose captions we expect. Some mean something else too
# ("right now"): that costs a mirror image, where the other mistake would teach a lie.
SIDES = (
    *("left", "leftmost", "leftward", "leftwards", "lefthand", "right", "rightmost", "rightward", "rightwards"),
    *("righthand", "clockwise", "anticlockwise", "counterclockwise"),
    *("esquerda", "esquerdo", "direita", "direito"),  # Portuguese
    *("izquierda", "izquierdo", "derecha", "derecho"),  # Spanish
    *("gauche", "droite"),  # French
    *("links", "rechts", "linke", "linken", "linker", "rechte", "rechten", "rechter"),  # German
    *("sinistra", "sinistro", "destra", "destro"),  # Italian
    *("слева", "справа", "влево", "вправо", "левый", "левая", "левой", "правый", "правая", "правой"),  # Russian
)
SIDE = re.compile(rf"\b({'|'.join(SIDES)})\b|[左右]|왼쪽|오른쪽", re.IGNORECASE)
RARE = 1e-3  # of all captions: fewer do no harm worth losing the mirror images of all the others for


def mirrors(captions: Sequence[str]) -> tuple[bool, str]:
    """Whether mirrored images still show what these captions say, and why: `data.flip` and its reason."""
    sided = [caption for caption in captions if SIDE.search(caption)]
    if len(sided) > RARE * len(captions):
        share = f"{count(len(sided), 'caption')} of {len(captions):,} name a side ('{short(sided[0])}')"
        return False, f"{share}: mirrored, they would not be true"
    return True, "captions name no side, left or right: mirror images mean the same"


def choose(image_size: int) -> tuple[str, str]:
    """The preset for images of `image_size` px that are aligned with captions, and why: `data.augment`."""
    if image_size <= SMALL:
        return "mild", f"images of {image_size} px are moved a little: captions name what is shown, and its colours"
    return "captioned", "nearly all of an image at another size, in its colours: captions name both"
