"""Convolution, normalisation, activation: the step every convolutional network repeats (Figure 2.3a).

Shapes: N batch, C channels, H W space.
"""

from jaxtyping import Float
from torch import Tensor, nn


class ConvBlock(nn.Module):
    """3x3 convolution that keeps the size, batch norm, ReLU: [N, C, H, W] -> [N, out_channels, H, W].

    The named parts `conv`, `norm` and `act` are where the instruments look.
    """

    def __init__(self, in_channels: int, out_channels: int, bias: bool = False):
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, 3, padding=1, bias=bias)
        self.norm = nn.BatchNorm2d(out_channels)
        # In place is safe: batch norm's gradient needs its input, not its output.
        self.act = nn.ReLU(inplace=True)
        # Keeps the variance of the activations through ReLU (He et al. 2015, arXiv 1502.01852).
        nn.init.kaiming_normal_(self.conv.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D H W"]:
        return self.act(self.norm(self.conv(x)))
