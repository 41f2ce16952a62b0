"""Maps brought to another size (section 2.4): nearest neighbour or bilinear interpolation.

Shapes: N batch, C channels, H W space.
"""

from collections.abc import Sequence
from typing import Literal

from jaxtyping import Shaped
from torch import Tensor
from torch.nn.functional import interpolate

Mode = Literal["nearest", "bilinear"]


def resize(x: Shaped[Tensor, "N C H W"], size: Sequence[int], mode: Mode = "bilinear") -> Shaped[Tensor, "N C h w"]:
    """`x` at `size` (h, w). Pixels are areas, not points: their centres are at halves, so a factor of 2 keeps edges."""
    if tuple(x.shape[2:]) == tuple(size):
        return x
    return interpolate(x, size=list(size), mode=mode)
