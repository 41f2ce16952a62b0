"""The receptive field measured: how much each pixel of real images changes one position of a layer (Figure 2.9).

The theoretical field says what a position can see. The gradient says what it does see: most of it near the middle (Luo
et al. 2016, "Understanding the Effective Receptive Field", arXiv 1701.04128).

Shapes: N images, C channels, H W space, h w places of the layer.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor, nn

from olhar.errors import UserError
from olhar.inspection.capture import capture, tensors_of
from olhar.inspection.receptive_field import ReceptiveField

Window = tuple[int, int, int, int]  # top, left, bottom, right, the last two not included


@dataclass(frozen=True)
class Measured:
    """What one position of a layer sees of an image.

    `weight` [H, W] is the share of each pixel in the mean size of the gradient, 1 in sum (0 everywhere where no image
    moves the position); `window` holds all of it that is not zero, None where all is. `effective` is the side of the
    square around the weight's middle that holds 95% of it.
    """

    position: tuple[int, int]
    weight: Float[np.ndarray, "H W"]
    window: Window | None
    effective: int


def measured_field(
    model: nn.Module, image: Float[Tensor, "N C H W"], layer: str, position: tuple[int, int] | None = None
) -> Measured:
    """The gradient of one position of `layer`, the middle one if none is said, with respect to the pixels.

    Of all channels at the position the sum is taken, each weighed by a fixed random sign, so that they do not cancel
    one another, and over the images the mean of its size.

    Raises:
        UserError: the layer has no such position.
    """
    with torch.enable_grad(), capture(model, [layer]) as found:
        pixels = image.detach().clone().requires_grad_()
        model(pixels)
        maps = tensors_of(found[layer])[-1]
        space = maps.shape[2:]
        y, x = position or tuple(int(side) // 2 for side in space)
        if not (0 <= y < space[0] and 0 <= x < space[1]):
            raise UserError(f"'{layer}' has {space[0]} x {space[1]} positions, counted from 0: there is no ({y}, {x}).")
        signs = torch.randint(0, 2, (maps.shape[1],), generator=torch.Generator().manual_seed(0)).to(maps) * 2 - 1
        (gradient,) = torch.autograd.grad((maps[:, :, y, x] * signs).sum(), pixels)
    size = gradient.abs().sum(1).mean(0).double().cpu().numpy()
    weight = size / size.sum() if size.sum() else size
    rows, columns = (np.flatnonzero(size.any(axis=axis)) for axis in (1, 0))
    window = (int(rows[0]), int(columns[0]), int(rows[-1]) + 1, int(columns[-1]) + 1) if len(rows) else None
    return Measured((y, x), weight, window, effective_side(weight))


def effective_side(weight: Float[np.ndarray, "H W"], share: float = 0.95) -> int:
    """The side of the smallest square, around the place where the weight's mean lies, that holds `share` of it."""
    if not weight.sum():
        return 0
    rows, columns = np.indices(weight.shape)
    distance = np.maximum(abs(rows - (rows * weight).sum()), abs(columns - (columns * weight).sum()))
    order = np.argsort(distance, axis=None)
    held = np.cumsum(weight.ravel()[order])
    radius = distance.ravel()[order][min(int(np.searchsorted(held, share)), weight.size - 1)]
    return round(2 * float(radius)) + 1


def visible_window(field: ReceptiveField | None, position: Sequence[int], size: Sequence[int]) -> Window:
    """The part of an image of `size` (H, W) that a position can see: its field, clipped at the border."""
    if field is None:
        return 0, 0, size[0], size[1]
    rows, columns = (axis.visible(p, n) for axis, p, n in zip(field.axes, position, size, strict=True))
    return rows.start, columns.start, rows.stop, columns.stop


def too_small(layer: str, field: ReceptiveField | None, size: Sequence[int]) -> str:
    """The sentence to say where an image of `size` (H, W) does not hold the field of a layer; else empty."""
    if field is not None and all(sees <= length for sees, length in zip(field.size, size, strict=True)):
        return ""
    sees = "all of any image" if field is None else f"{field.size[1]} x {field.size[0]} pixels"
    return (
        f"{layer} sees {sees}, and the image has {size[1]} x {size[0]}: what is shown is cut at its border. "
        "Ask for an earlier layer, or train with a larger --image-size."
    )
