"""The U-Net (Ronneberger et al. 2015, arXiv 1505.04597): a path down and a path up, joined at every resolution.

Two things are not as in the paper: convolutions are padded, so that the map keeps the image's size, and the path up
interpolates after a 1x1 convolution where the paper has a transposed convolution, which is slower and leaves a grid.

Shapes: N batch, C channels, D width, H W space, h w of the finest level used.
"""

from itertools import pairwise
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from olhar.layers.conv import ConvBlock
from olhar.models.base import Decoder, Encoder
from olhar.ops.resize import Mode, resize

# Multiples of 32 fill the registers of a processor with matrix instructions, and few of them are at full size,
# where a convolution costs four times what it does one level below.
SIZES: dict[str, dict[str, Any]] = {"unet-small": {"widths": (32, 64, 128, 256)}}


class Pair(nn.Sequential):
    """Two 3x3 convolutions with batch norm and ReLU: [N, C, H, W] -> [N, D, H, W]."""

    def __init__(self, in_channels: int, width: int):
        super().__init__(ConvBlock(in_channels, width), ConvBlock(width, width))


class UNetEncoder(Encoder):
    """U-Net's path down: two convolutions at every resolution from the image's own on, a max pool between.

    Args:
        widths: filters of each level; level i has the stride 2^i.
    """

    def __init__(
        self,
        in_channels: int = 3,
        image_size: tuple[int, int] = (64, 64),
        widths: tuple[int, ...] = (32, 64, 128, 256),
    ):
        super().__init__(image_size, widths, tuple(2**i for i in range(len(widths))))
        self.stages = nn.ModuleList(Pair(fan_in, fan_out) for fan_in, fan_out in pairwise((in_channels, *widths)))
        # Rounding odd sizes up loses no border pixel, and a map of one pixel stays one.
        self.pool = nn.MaxPool2d(2, ceil_mode=True)

    def forward(self, image: Float[Tensor, "N C H W"]) -> list[Tensor]:
        levels = [self.stages[0](image)]
        for stage in self.stages[1:]:
            levels.append(stage(self.pool(levels[-1])))
        return levels


class Join(nn.Module):
    """The coarser map interpolated, laid beside the level, and two convolutions over both: -> [N, D, H, W].

    Args:
        coarse: channels of the coarser map.
        fine: channels of the level.
        width: of the map it gives.
    """

    def __init__(self, coarse: int, fine: int, width: int, interpolation: Mode):
        super().__init__()
        self.reduce = nn.Conv2d(coarse, width, 1)
        self.convs = Pair(width + fine, width)
        self.interpolation: Mode = interpolation

    def forward(self, x: Float[Tensor, "N C h w"], level: Float[Tensor, "N B H W"]) -> Float[Tensor, "N D H W"]:
        # The 1x1 convolution and the interpolation can change places; before it, it has a quarter of the work.
        x = resize(self.reduce(x), level.shape[2:], self.interpolation)
        return self.convs(torch.cat([level, x], dim=1))


class UNetDecoder(Decoder):
    """U-Net's path up: interpolate the coarser map, concatenate the level, convolve twice, and again.

    Args:
        widths: channels it has at each level used, fine to coarse; the last holds for all levels beyond them. At
            the coarsest there is nothing to join: an encoder of one level is left as it is.
        interpolation: of the coarser map to the size of the finer.
        finest: index of the finest level used.
    """

    def __init__(
        self,
        in_channels: tuple[int, ...],
        widths: tuple[int, ...] = (32, 64, 128, 256),
        interpolation: Mode = "nearest",
        finest: int = 0,
    ):
        super().__init__(in_channels, finest)
        *finer, coarsest = in_channels[finest:]
        # of the map at each level, after its convolutions
        maps = [*(widths[min(i, len(widths) - 1)] for i in range(len(finer))), coarsest]
        self.channels = maps[0]
        self.joins = nn.ModuleList(
            Join(coarse, fine, width, interpolation)
            for fine, (width, coarse) in zip(finer, pairwise(maps), strict=True)
        )

    def forward(self, levels: list[Tensor]) -> Float[Tensor, "N D h w"]:
        *finer, x = levels[self.finest :]
        for join, level in reversed(list(zip(self.joins, finer, strict=True))):
            x = join(x, level)
        return x
