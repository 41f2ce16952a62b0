"""Body, neck and head of an anchor-based detector (Figures 2.12 and 2.13).

The body gives a pyramid of feature maps, the neck tells the fine ones what the coarse ones saw, the head turns each
position into k (1 + 4 + c) numbers: for every anchor an object's logit, four offsets and the logits of c classes.

Shapes: N batch, C channels, H W space, D width, k anchors a position, A anchors of all levels, V = 5 + c.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import interpolate

from olhar.layers.conv import ConvBlock
from olhar.models.base import Encoder

# What the untrained head answers to "is there an object?". Nearly all anchors have none: from 1/2, their sheer number
# would drown the first steps (Lin et al. 2017, arXiv 1708.02002, section 4.1).
PRIOR = 0.01


class Neck(nn.Module):
    """Levels of any channels -> levels of D channels, of the strides asked for, fine to coarse.

    Strides that the body has not are reached by convolutions of stride 2. With `top_down` each level is added to the
    next finer one, enlarged, before a 3x3 convolution (Lin et al. 2017, arXiv 1612.03144).
    """

    def __init__(self, encoder: Encoder, strides: Sequence[int], width: int, top_down: bool):
        super().__init__()
        # of two levels with one stride the deeper: it has seen more
        level_of = {stride: i for i, stride in enumerate(encoder.strides)}
        missing = [stride for stride in strides if stride not in level_of and stride <= encoder.strides[-1]]
        assert not missing, f"the body has strides {encoder.strides}, not {missing}"
        self.top_down = top_down
        self.taken = [level_of[stride] for stride in strides if stride in level_of] or [len(encoder.strides) - 1]
        self.kept = len(strides)
        self.sides = nn.ModuleList(nn.Conv2d(encoder.channels[i], width, 1) for i in self.taken)
        steps = max(0, round(math.log2(max(strides) / encoder.strides[self.taken[-1]])))
        self.coarser = nn.ModuleList(ConvBlock(width, width, stride=2) for _ in range(steps))
        count = min(len(strides), len(self.taken)) if top_down else 0
        self.smooth = nn.ModuleList(ConvBlock(width, width) for _ in range(count))

    def forward(self, levels: Sequence[Tensor]) -> list[Tensor]:
        maps = [side(levels[i]) for side, i in zip(self.sides, self.taken, strict=True)]
        for step in self.coarser:
            maps.append(step(maps[-1]))
        maps = maps[-self.kept :]
        if self.top_down:
            for i in range(len(maps) - 1, 0, -1):
                maps[i - 1] = maps[i - 1] + interpolate(maps[i], size=maps[i - 1].shape[2:])
        smoothed = [smooth(x) for smooth, x in zip(self.smooth, maps, strict=False)]
        return smoothed + maps[len(smoothed) :]


class Head(nn.Module):
    """[N, D, H, W] -> [N, H W k, V]: a 3x3 convolution and, at each position, one linear layer to k V numbers."""

    def __init__(self, width: int, anchors: int, num_classes: int):
        super().__init__()
        self.values = 5 + num_classes
        self.conv = ConvBlock(width, width)
        self.out = nn.Conv2d(width, anchors * self.values, 1)
        nn.init.normal_(self.out.weight, std=0.01)
        bias = torch.zeros(anchors, self.values)
        bias[:, 0] = math.log(PRIOR / (1 - PRIOR))
        self.out.bias = nn.Parameter(bias.flatten())

    def forward(self, x: Float[Tensor, "N D H W"]) -> Float[Tensor, "N a V"]:
        # position by position, its k anchors together: the order of olhar.ops.anchors.Grid
        out = self.out(self.conv(x)).permute(0, 2, 3, 1)
        return out.reshape(len(out), -1, self.values)


class Detector(nn.Module):
    """image [N, C, H, W] -> outputs [N, A, 5 + c], level by level, fine to coarse, in the order of a `Grid`.

    Args:
        encoder: any body.
        num_classes: c.
        anchors: k, at each position of each level.
        strides: of the levels that have anchors; ascending. Those the body has are taken from it, coarser ones made.
        width: D, channels of neck and head.
        top_down: fine levels are told what coarse ones saw.
    """

    figure = "2.13"

    def __init__(
        self,
        encoder: Encoder,
        num_classes: int,
        anchors: int = 9,
        strides: Sequence[int] = (8, 16),
        width: int = 128,
        top_down: bool = True,
    ):
        super().__init__()
        self.strides = tuple(strides)
        self.encoder = encoder
        self.neck = Neck(encoder, self.strides, width, top_down)
        self.heads = nn.ModuleList(Head(width, anchors, num_classes) for _ in self.strides)

    def forward(self, image: Float[Tensor, "N C H W"]) -> Float[Tensor, "N A V"]:
        maps = self.neck(self.encoder(image))
        return torch.cat([head(x) for head, x in zip(self.heads, maps, strict=True)], 1)
