"""The plain convolutional network of Figure 2.3: convolve, normalise, rectify, halve, and again.

Shapes: N batch, C channels, H W space.
"""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from olhar.layers.conv import ConvBlock
from olhar.models.base import Encoder

# The first row is the notes' network: with 10 classes 6,284,810 parameters, of which the head has 10,250.
SIZES: dict[str, dict[str, Any]] = {
    "cnn": {"widths": (64, 128, 256, 512, 1024), "pools": 4},
    "cnn-small": {"widths": (32, 64, 128, 256), "pools": 3},  # images of 32 to 64 pixels
    "cnn-tiny": {"widths": (32, 64, 128), "pools": 2},  # images of 8 to 16 pixels: the last map of 8x8 is 2x2
}


class CNN(Encoder):
    """Convolutional network: 3x3 convolutions with batch norm and ReLU, max pools between them.

    Level i is the output of convolution i: the first has the full size of the image, and each of the first
    `pools` convolutions is followed by a pool that halves the map.

    Args:
        widths: filters of each convolution.
        pools: how many times the map is halved; small images have room for few.
    """

    figure = "2.3"

    def __init__(
        self,
        in_channels: int = 3,
        image_size: tuple[int, int] = (256, 256),
        widths: tuple[int, ...] = (64, 128, 256, 512, 1024),
        pools: int = 4,
    ):
        super().__init__(image_size, widths, tuple(2 ** min(i, pools) for i in range(len(widths))))
        # Batch norm takes the bias away again; it is here because the notes' network counts it (1,792 in conv 1).
        self.convs = nn.ModuleList(
            ConvBlock(fan_in, fan_out, bias=True)
            for fan_in, fan_out in zip((in_channels, *widths), widths, strict=False)
        )
        # Rounding odd sizes up loses no border pixel, and a map of one pixel stays one.
        self.pool = nn.MaxPool2d(2, ceil_mode=True)
        self.pools = pools

    def forward(self, image: Float[Tensor, "N C H W"]) -> list[Tensor]:
        levels: list[Tensor] = []
        x = image
        for i, conv in enumerate(self.convs):
            if 0 < i <= self.pools:
                x = self.pool(x)
            x = conv(x)
            levels.append(x)
        return levels
