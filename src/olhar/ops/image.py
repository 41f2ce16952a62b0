"""Changes of a whole batch of images at once, each image with its own parameters; no randomness of their own.

Shapes: N batch, C channels, H W space. All keep the dtype, and channels_last where the input has it.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int, Shaped, UInt8
from torch import Tensor

GREY = (0.299, 0.587, 0.114)  # how bright red, green and blue look (ITU-R BT.601)


def reflect(position: Int[Tensor, "*any"], size: int) -> Int[Tensor, "*any"]:
    """Positions outside 0..size-1 mirrored back inside, the edge pixel not repeated: -1 -> 1, size -> size - 2.

    Any distance is folded as often as needed, so even a shift larger than the image is defined.
    """
    if size == 1:
        return torch.zeros_like(position)
    period = 2 * (size - 1)
    folded = position.remainder(period)
    return torch.minimum(folded, period - folded)


def take(
    image: Shaped[Tensor, "N C H W"], rows: Int[Tensor, "N h"], columns: Int[Tensor, "N w"]
) -> Shaped[Tensor, "N C h w"]:
    """out[n, c, y, x] = image[n, c, rows[n, y], columns[n, x]]: any flip, shift, crop or nearest resize.

    Rows are copied whole first and columns picked within them, which moves far fewer single bytes than
    indexing both at once. The result is channels_last.
    """
    n, c, h, w = image.shape
    lines = image.permute(0, 2, 3, 1).reshape(n * h, w * c)
    first = torch.arange(0, n * h, h, device=image.device)[:, None]
    lines = lines.index_select(0, (first + rows).flatten()).view(n, rows.shape[1], w * c)
    bytes_of = columns[:, :, None] * c + torch.arange(c, device=image.device)
    index = bytes_of.view(n, 1, -1).expand(n, rows.shape[1], -1)
    return lines.gather(2, index).view(n, rows.shape[1], columns.shape[1], c).permute(0, 3, 1, 2)


def flip_shift(
    image: Shaped[Tensor, "N C H W"],
    flipped: Bool[Tensor, " N"],
    down: Int[Tensor, " N"],
    right: Int[Tensor, " N"],
) -> Shaped[Tensor, "N C H W"]:
    """Mirrored left-right where `flipped`, then moved by whole pixels; what comes in is the image reflected."""
    h, w = image.shape[2:]
    rows = reflect(torch.arange(h, device=image.device) - down[:, None], h)
    columns = reflect(torch.arange(w, device=image.device) - right[:, None], w)
    return take(image, rows, torch.where(flipped[:, None], w - 1 - columns, columns))


def cutout(
    image: Shaped[Tensor, "N C H W"], top: Int[Tensor, " N"], left: Int[Tensor, " N"], size: int, fill: int | float
) -> Shaped[Tensor, "N C H W"]:
    """A square of side `size` of each image replaced by `fill`; the part of it outside the image does nothing.

    Source: DeVries and Taylor 2017 (arXiv:1708.04552). The square must meet the image.
    """
    n, c, h, w = image.shape
    side = torch.arange(size, device=image.device)
    # positions outside are moved to the border, which then belongs to the square anyway
    rows = (top[:, None] + side).clamp(0, h - 1)
    columns = (left[:, None] + side).clamp(0, w - 1)
    first = torch.arange(0, n * h * w, h * w, device=image.device)
    pixels = first[:, None, None] + rows[:, :, None] * w + columns[:, None, :]
    out = image.permute(0, 2, 3, 1).reshape(n * h * w, c).index_fill(0, pixels.flatten(), fill)
    return out.view(n, h, w, c).permute(0, 3, 1, 2)


def affine(
    image: Shaped[Tensor, "N C H W"],
    angle: Float[Tensor, " N"],
    scale: Float[Tensor, " N"],
    down: Float[Tensor, " N"],
    right: Float[Tensor, " N"],
) -> Shaped[Tensor, "N C H W"]:
    """Rotated by `angle` (radians, clockwise as seen) and enlarged by `scale` about the centre, then moved.

    `down` and `right` are pixels, fractions allowed; bilinear between pixels; the edge pixels go on outside.
    """
    h, w = image.shape[2:]
    cos, sin = torch.cos(angle) / scale, torch.sin(angle) / scale
    # grid_sample asks where each output pixel comes from, in units of half an image: the inverse map
    x, y = -2 * right / w, -2 * down / h
    top = torch.stack([cos, sin * h / w, cos * x + sin * (h / w) * y], 1)
    bottom = torch.stack([-sin * w / h, cos, -sin * (w / h) * x + cos * y], 1)
    grid = F.affine_grid(torch.stack([top, bottom], 1), list(image.shape), align_corners=False)
    moved = F.grid_sample(image.to(grid.dtype), grid, padding_mode="border", align_corners=False)
    return moved.to(image.dtype) if image.is_floating_point() else moved.round().to(image.dtype)


def recolour(
    image: UInt8[Tensor, "N C H W"],
    brightness: Float[Tensor, " N"],
    contrast: Float[Tensor, " N"],
    saturation: Float[Tensor, " N"],
) -> UInt8[Tensor, "N C H W"]:
    """All values times `brightness`; distances from the mean grey times `contrast`; from each grey `saturation`.

    With g a pixel's grey and ḡ their mean, the three blends together are one linear map, done in one pass:
    x -> bcs x + bc(1 - s) g + b(1 - c) ḡ. Values are cut to 0..255 at the end only.
    """
    pixels = image.permute(0, 2, 3, 1).float()
    weights = torch.tensor(GREY if pixels.shape[3] == 3 else (1.0,), device=image.device)
    b, c, s = (factor.view(-1, 1, 1) for factor in (brightness, contrast, saturation))
    grey = pixels @ weights
    mean = grey.mean((1, 2), keepdim=True)
    grey.mul_(b * c * (1 - s)).add_(b * (1 - c) * mean + 0.5)  # 0.5: conversion to bytes rounds down
    pixels.mul_((b * c * s)[..., None])
    for channel in pixels.unbind(-1):  # faster than repeating grey along so short a dimension
        channel.add_(grey)
    # straight to uint8 takes torch three times as long
    return pixels.clamp_(0, 255).to(torch.int16).to(torch.uint8).permute(0, 3, 1, 2)


def overlay(
    image: UInt8[Tensor, "C H W"], mask: UInt8[Tensor, "H W"], palette: Sequence[tuple[int, int, int]]
) -> UInt8[Tensor, "3 H W"]:
    """The image under the colours of its classes; black in the palette, and values beyond it, leave it as it is."""
    colours = torch.zeros(256, 3)
    colours[: len(palette)] = torch.tensor(palette, dtype=torch.float32).view(-1, 3)
    tint = colours[mask.long()]  # [H, W, 3]
    pixels = image.expand(3, -1, -1).permute(1, 2, 0).float()
    # of the picture under a colour only its light is left, or two colours would mix
    light = (pixels @ torch.tensor(GREY))[..., None]
    covered = 0.4 * light + 0.6 * tint
    shown = torch.where(tint.any(-1, keepdim=True), covered, pixels)
    return shown.round_().to(torch.uint8).permute(2, 0, 1)
