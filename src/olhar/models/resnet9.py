"""A residual network of nine layers for small images and little time (Page 2018, "How to train your ResNet").

Shapes: N batch, C channels, H W space.
"""

from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn

from olhar.layers.conv import ConvBlock
from olhar.models.base import Encoder

# Multiply-adds of one 32x32 image with the small stem: 95 and 379 million.
SIZES: dict[str, dict[str, Any]] = {
    "resnet9-slim": {"widths": (32, 64, 128, 256)},
    "resnet9": {"widths": (64, 128, 256, 512)},
}


class Residual(nn.Module):
    """Two convolutions and their input added to their output (Figure 2.6a): [N, C, H, W] -> the same."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv1 = ConvBlock(channels, channels)
        self.conv2 = ConvBlock(channels, channels)

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        return x + self.conv2(self.conv1(x))


class ResNet9(Encoder):
    """Residual network of few, wide layers, for small images and little time.

    Four levels: the stem, and three stages that halve the map, the first and the last with a residual pair.

    Args:
        widths: filters of the stem and of each stage.
        stem: "small", of stride 1, for images of 64 pixels or less; "standard", of stride 2.
    """

    figure = "2.6"

    def __init__(
        self,
        in_channels: int = 3,
        image_size: tuple[int, int] = (32, 32),
        widths: tuple[int, ...] = (64, 128, 256, 512),
        stem: Literal["standard", "small"] = "standard",
    ):
        stride = 1 if stem == "small" else 2
        super().__init__(image_size, widths, tuple(stride * 2**i for i in range(4)))
        self.stem = ConvBlock(in_channels, widths[0], stride)
        self.stage1 = nn.Sequential(ConvBlock(widths[0], widths[1], pool=True), Residual(widths[1]))
        self.stage2 = ConvBlock(widths[1], widths[2], pool=True)
        self.stage3 = nn.Sequential(ConvBlock(widths[2], widths[3], pool=True), Residual(widths[3]))

    def forward(self, image: Float[Tensor, "N C H W"]) -> list[Tensor]:
        stem = self.stem(image)
        level1 = self.stage1(stem)
        level2 = self.stage2(level1)
        return [stem, level1, level2, self.stage3(level2)]
