"""Tokens of an image, and codes that tell them where they are.

Shapes: N batch, C channels, H W space, h w the grid of patches, L = h w tokens, D width.
"""

import math
from itertools import pairwise
from typing import Literal

import torch
from jaxtyping import Float, Shaped
from torch import Tensor, nn
from torch.nn.functional import interpolate, pad

from olhar.layers.conv import ConvBlock


class ConvStem(nn.Sequential):
    """image [N, C, H, W] -> map [N, D, h, w] of `patch` times smaller sides, by 3x3 convolutions that each halve them.

    In the place of one convolution as large as a patch (Xiao et al. 2021, arXiv 2106.14881): neighbouring tokens
    have seen something in common, and edges need not be learnt once for every place in a patch.
    """

    def __init__(self, in_channels: int, width: int, patch: int):
        halvings = patch.bit_length() - 1
        assert patch == 2**halvings > 1, f"a patch of {patch} px cannot be reached by halving"
        widths = [in_channels, *(width // 2 ** (halvings - i) for i in range(1, halvings + 1))]
        steps = [ConvBlock(fan_in, fan_out, stride=2) for fan_in, fan_out in pairwise(widths)]
        super().__init__(*steps, nn.Conv2d(width, width, 1))


class PatchEmbed(nn.Module):
    """image [N, C, H, W] -> tokens [N, L, D], row by row: one strided convolution, a patch a token (Figure 3.1).

    Where a side is no multiple of the patch, zeros are added below and to the right, so that no border is lost.

    Args:
        patch: side of a patch, px.
        bias: of the convolution.
        stem: "patch" for the one convolution, "conv" for a `ConvStem` in its place.
    """

    def __init__(
        self, in_channels: int, width: int, patch: int, bias: bool = True, stem: Literal["patch", "conv"] = "patch"
    ):
        super().__init__()
        self.patch = patch
        if stem == "conv":
            self.proj: nn.Module = ConvStem(in_channels, width, patch)
        else:
            self.proj = nn.Conv2d(in_channels, width, patch, stride=patch, bias=bias)

    def grid(self, size: tuple[int, int]) -> tuple[int, int]:
        """(rows, columns) of patches in an image of `size` (height, width)."""
        return -(-size[0] // self.patch), -(-size[1] // self.patch)

    def forward(self, image: Float[Tensor, "N C H W"]) -> Float[Tensor, "N L D"]:
        height, width = image.shape[2:]
        if height % self.patch or width % self.patch:
            image = pad(image, (0, -width % self.patch, 0, -height % self.patch))
        return self.proj(image).flatten(2).mT  # [N, D, h, w] -> [N, D, L] -> [N, L, D]


def to_map(tokens: Float[Tensor, "N L D"], grid: tuple[int, int]) -> Float[Tensor, "N D h w"]:
    """The tokens of a grid (rows, columns) as a feature map: the inverse of the last step of Figure 3.1."""
    return tokens.mT.unflatten(-1, grid)


def waves(level: Shaped[Tensor, " N"], width: int) -> Float[Tensor, "N D"]:
    """A level as cosines and sines of `width` / 2 wavelengths, from 2π to 2π 10⁴ levels (Vaswani et al. 2017): levels
    near each other look alike, and none is much larger than another."""
    half = width // 2
    frequency = torch.exp(-math.log(10_000) * torch.arange(half, device=level.device, dtype=torch.float32) / half)
    angle = level.float()[:, None] * frequency
    return torch.cat([angle.cos(), angle.sin()], 1)


def sinusoidal(length: int, width: int) -> Float[Tensor, "L D"]:
    """Fixed codes of the positions 0, 1, ...: sines and cosines in turn, of wavelengths from 2π to 10,000 · 2π.

    (Vaswani et al. 2017, arXiv 1706.03762, section 3.5.) The code of a shifted position is a rotation of the code,
    the same wherever it is.
    """
    assert width % 2 == 0, f"sines and cosines cannot share {width} values"
    frequencies = torch.exp(torch.arange(0, width, 2) * (-math.log(10_000.0) / width))
    angles = torch.arange(length)[:, None] * frequencies
    return torch.stack([angles.sin(), angles.cos()], -1).flatten(1)


def sinusoidal_grid(grid: tuple[int, int], width: int) -> Float[Tensor, "L D"]:
    """Fixed codes of a grid (rows, columns), row by row: half of the width says the row, half the column."""
    rows, columns = (sinusoidal(count, width // 2) for count in grid)
    both = torch.cat([rows.repeat_interleave(grid[1], 0), columns.repeat(grid[0], 1)], -1)
    assert both.shape[-1] == width, f"rows and columns cannot share {width} values"
    return both


def resample_positions(
    codes: Float[Tensor, "L D"], grid: tuple[int, int], new: tuple[int, int]
) -> Float[Tensor, "M D"]:
    """The codes of a grid (rows, columns) for a `new` grid over the same image, by bicubic interpolation."""
    if grid == new:
        return codes
    image = to_map(codes[None].float(), grid)
    # without antialiasing a smaller grid would skip codes
    return interpolate(image, size=new, mode="bicubic", antialias=True).flatten(2).mT[0].to(codes.dtype)


class LearnedPositions(nn.Module):
    """A trained code for each place of a grid, interpolated for other grids: (rows, columns) -> [P + L, D].

    Args:
        grid: (rows, columns) it is trained for.
        prefix: P, codes before those of the grid, for tokens that have no place in it.
    """

    def __init__(self, grid: tuple[int, int], width: int, prefix: int = 0):
        super().__init__()
        self.grid, self.prefix = grid, prefix
        self.codes = nn.Parameter(torch.empty(prefix + grid[0] * grid[1], width))
        nn.init.trunc_normal_(self.codes, std=0.02)  # the paper's (Dosovitskiy et al. 2021, arXiv 2010.11929)

    def forward(self, grid: tuple[int, int]) -> Float[Tensor, "T D"]:
        if grid == self.grid:
            return self.codes
        of_grid = resample_positions(self.codes[self.prefix :], self.grid, grid)
        return torch.cat([self.codes[: self.prefix], of_grid])
