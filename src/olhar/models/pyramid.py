"""The decoder of Figure 2.10: every level of the encoder brought to one width, and summed from the coarsest up.

It is a feature pyramid network (Lin et al. 2017, arXiv 1612.03144) of which only the finest map is used, with a
convolution after each sum.

Shapes: N batch, C channels of a level, D width, h w space of the finest level used.
"""

from jaxtyping import Float
from torch import Tensor, nn

from olhar.layers.conv import ConvBlock
from olhar.models.base import Decoder
from olhar.ops.resize import Mode, resize


class Lateral(nn.Sequential):
    """1x1 convolution and batch norm, to the decoder's width: [N, C, H, W] -> [N, D, H, W]."""

    def __init__(self, in_channels: int, width: int):
        super().__init__(nn.Conv2d(in_channels, width, 1, bias=False), nn.BatchNorm2d(width))


class Pyramid(Decoder):
    """Feature pyramid: interpolate the coarser map, add the level, convolve, and again with the next finer one.

    With the levels of ResNet-18 and 64 channels it has 476,288 parameters.

    Args:
        width: channels of the decoder.
        interpolation: of the coarser map to the size of the finer.
        finest: index of the finest level used.
    """

    figure = "2.10"

    def __init__(
        self,
        in_channels: tuple[int, ...],
        width: int = 64,
        interpolation: Mode = "nearest",
        finest: int = 0,
    ):
        super().__init__(in_channels, finest)
        self.channels = width
        *finer, coarsest = in_channels[finest:]
        self.top = ConvBlock(coarsest, width)
        self.laterals = nn.ModuleList(Lateral(channels, width) for channels in finer)
        self.smooths = nn.ModuleList(ConvBlock(width, width) for _ in finer)
        self.interpolation: Mode = interpolation

    def forward(self, levels: list[Tensor]) -> Float[Tensor, "N D h w"]:
        *finer, coarsest = levels[self.finest :]
        x = self.top(coarsest)
        steps = list(zip(finer, self.laterals, self.smooths, strict=True))
        for level, lateral, smooth in reversed(steps):
            # To the size of the level and not by a factor: odd sizes were rounded up when they were halved.
            x = smooth(lateral(level) + resize(x, level.shape[2:], self.interpolation))
        return x
