"""Residual networks (Figures 2.6 and 2.8; He et al. 2016, arXiv 1512.03385), version 1.5.

The names of the parameters are torchvision's, so that its weights fit: `encoder.` before everything but `fc.`,
which is `head.`.

Shapes: N batch, C channels, H W space.
"""

from typing import Any, Literal

from jaxtyping import Float
from torch import Tensor, nn

from olhar.models.base import Encoder

# Figure 2.8 is the first row. Bottleneck blocks have three convolutions, so that the numbers count layers:
# 18 = 1 + 2 (2 + 2 + 2 + 2) + 1 with the stem and the head.
SIZES: dict[str, dict[str, Any]] = {
    "resnet18": {"block": "basic", "blocks": (2, 2, 2, 2)},
    "resnet34": {"block": "basic", "blocks": (3, 4, 6, 3)},
    "resnet50": {"block": "bottleneck", "blocks": (3, 4, 6, 3)},
    "resnet101": {"block": "bottleneck", "blocks": (3, 4, 23, 3)},
    "resnet152": {"block": "bottleneck", "blocks": (3, 8, 36, 3)},
}


def shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    """The way around a block where its output has another shape: a 1x1 convolution. None: the input itself."""
    if stride == 1 and in_channels == out_channels:
        return None
    conv = nn.Conv2d(in_channels, out_channels, 1, stride, bias=False)
    return nn.Sequential(conv, nn.BatchNorm2d(out_channels))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and, with `skip`, their input added to their output (Figure 2.6a).

    [N, C, H, W] -> [N, width, ⌈H/stride⌉, ⌈W/stride⌉].
    """

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, skip: bool):
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(in_channels, width, stride) if skip else None
        self.skip = skip

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D h w"]:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        if self.skip:
            out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


class Bottleneck(nn.Module):
    """A 3x3 convolution between two 1x1 that narrow and widen the channels by 4.

    [N, C, H, W] -> [N, 4 width, ⌈H/stride⌉, ⌈W/stride⌉]. The stride is on the 3x3 convolution: on the first
    1x1, where the paper has it, three quarters of the input would not be seen.
    """

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, skip: bool):
        super().__init__()
        out_channels = width * self.expansion
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.relu = nn.ReLU(inplace=True)
        self.downsample = shortcut(in_channels, out_channels, stride) if skip else None
        self.skip = skip

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D h w"]:
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.relu(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        if self.skip:
            out += x if self.downsample is None else self.downsample(x)
        return self.relu(out)


BLOCKS: dict[str, type[BasicBlock] | type[Bottleneck]] = {"basic": BasicBlock, "bottleneck": Bottleneck}


class ResNet(Encoder):
    """Residual network: four stages of blocks that add to their input what they have learnt.

    Five levels: the stem, then each stage. With the standard stem their strides are 2, 4, 8, 16, 32
    (stage 1 halves nothing: the stem's convolution and its max pool do); with the small one 1, 1, 2, 4, 8.

    Args:
        block: "basic" or "bottleneck".
        blocks: how many in each of the four stages.
        width: filters of the stem and of stage 1; every further stage has twice as many.
        stem: "standard", a 7x7 convolution and a max pool, both of stride 2; "small", for images of 64 pixels
            or less, a 3x3 convolution of stride 1 alone.
        zero_init_residual: start the last batch norm of each block at zero: in evaluation the untrained block
            is then the ReLU of its input, the identity where that is positive.
        skip: False drops the residual connections (Figure 2.7a) and the 1x1 convolutions on them.
    """

    figure = "2.8"

    def __init__(
        self,
        in_channels: int = 3,
        image_size: tuple[int, int] = (224, 224),
        block: Literal["basic", "bottleneck"] = "basic",
        blocks: tuple[int, ...] = (2, 2, 2, 2),
        width: int = 64,
        stem: Literal["standard", "small"] = "standard",
        zero_init_residual: bool = False,
        skip: bool = True,
    ):
        expansion = BLOCKS[block].expansion
        widths = [width * 2**i for i in range(4)]
        super().__init__(
            image_size,
            channels=(width, *(w * expansion for w in widths)),
            strides=(2, 4, 8, 16, 32) if stem == "standard" else (1, 1, 2, 4, 8),
        )
        if stem == "standard":
            self.conv1 = nn.Conv2d(in_channels, width, 7, stride=2, padding=3, bias=False)
            self.maxpool = nn.MaxPool2d(3, stride=2, padding=1)
        else:
            self.conv1 = nn.Conv2d(in_channels, width, 3, padding=1, bias=False)
            self.maxpool = nn.Identity()
        self.bn1 = nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)

        def stage(i: int) -> nn.Sequential:
            """Stage i of 0..3: its first block changes the shape, the others keep it."""
            inputs = [self.channels[i]] + [self.channels[i + 1]] * (blocks[i] - 1)
            strides = [1 if i == 0 else 2] + [1] * (blocks[i] - 1)
            made = [BLOCKS[block](c, widths[i], s, skip) for c, s in zip(inputs, strides, strict=True)]
            return nn.Sequential(*made)

        self.layer1, self.layer2, self.layer3, self.layer4 = (stage(i) for i in range(4))
        self._initialise(zero_init_residual)

    def _initialise(self, zero_init_residual: bool) -> None:
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
            if zero_init_residual and isinstance(module, (BasicBlock, Bottleneck)):
                last = module.bn2 if isinstance(module, BasicBlock) else module.bn3
                nn.init.zeros_(last.weight)

    def forward(self, image: Float[Tensor, "N C H W"]) -> list[Tensor]:
        stem = self.relu(self.bn1(self.conv1(image)))
        level1 = self.layer1(self.maxpool(stem))
        level2 = self.layer2(level1)
        level3 = self.layer3(level2)
        return [stem, level1, level2, level3, self.layer4(level3)]
