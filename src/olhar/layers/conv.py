"""Convolution, normalisation, activation: the step every convolutional network repeats (Figure 2.3a).

Shapes: N batch, C channels, H W space.
"""

from jaxtyping import Float
from torch import Tensor, nn


class ConvBlock(nn.Module):
    """3x3 convolution, batch norm, ReLU: [N, C, H, W] -> [N, D, ⌈H/stride⌉, ⌈W/stride⌉].

    The named parts `conv`, `norm` and `act` are where the instruments look.

    Args:
        pool: 2x2 max pool right after the convolution. There, the norm has a quarter of the work.
    """

    def __init__(self, in_channels: int, out_channels: int, stride: int = 1, pool: bool = False, bias: bool = False):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, stride, padding=1, bias=bias)
        # Rounding odd sizes up loses no border pixel, and a map of one pixel stays one.
        self.pool = nn.MaxPool2d(2, ceil_mode=True) if pool else nn.Identity()
        self.norm = nn.BatchNorm2d(out_channels)
        # In place is safe: batch norm's gradient needs its input, not its output.
        self.act = nn.ReLU(inplace=True)
        # Keeps the variance of the activations through ReLU (He et al. 2015, arXiv 1502.01852).
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D h w"]:
        return self.act(self.norm(self.pool(self.conv(x))))
