"""The U-Net that is shown an image with noise and says what the noise is (Figure 5.1), told the level of the noise and
perhaps a class or a text (Ho et al. 2020, arXiv 2006.11239; Rombach et al. 2022, arXiv 2112.10752; Figure 5.3).

Shapes: N batch, C channels, D width, H W space, L positions or tokens, E width of the text's tokens, T width of what
all blocks are told.
"""

from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from olhar.errors import UserError
from olhar.layers.attention import FeedForward, TransformerBlock
from olhar.layers.embed import waves
from olhar.layers.residual import ResidualBlock, group_norm
from olhar.models.base import DrawingNetwork

# From minutes of a laptop to Stable Diffusion 1.x. Attention compares all pairs of positions, hence it stands at the
# coarser levels; a patch lets a network of the same cost see an image twice or four times as large.
SIZES: dict[str, dict[str, Any]] = {
    "denoiser-tiny": {"widths": (64, 128), "blocks": 1, "attention": (1,)},
    "denoiser-mini": {"widths": (32, 64, 96), "blocks": 1, "attention": (1, 2)},
    "denoiser-small": {"widths": (96, 192, 256), "blocks": 1, "attention": (1, 2)},
    "denoiser": {"widths": (128, 256, 256, 512), "blocks": 2, "attention": (2, 3)},
    "stable-diffusion": {
        "widths": (320, 640, 1280, 1280),
        "blocks": 2,
        "attention": (0, 1, 2),
        "heads": 8,
        "context_width": 768,
        "groups": 32,
    },
}
# Stable Diffusion's norm before attention has another constant than torch's; its weights want it, others do not mind.
LOOK_EPS = 1e-6


class GatedFeedForward(FeedForward):
    """The first of the two layers is a product: what is said, and how much of it counts (GEGLU: Shazeer 2020, arXiv
    2002.05202): [..., D] -> [..., D]."""

    def __init__(self, width: int, hidden: int):
        super().__init__(width, hidden)
        self.fc1 = nn.Linear(width, 2 * hidden)

    def forward(self, x: Float[Tensor, "... D"]) -> Float[Tensor, "... D"]:
        said, gate = self.fc1(x).chunk(2, dim=-1)
        return self.fc2(said * self.activation(gate))


class Look(nn.Module):
    """Every position looks at all others, and at the text where there is one; added to what was there."""

    def __init__(self, width: int, heads: int, context_width: int, groups: int):
        super().__init__()
        self.norm = group_norm(width, groups, LOOK_EPS)
        self.into = nn.Conv2d(width, width, 1)
        self.block = TransformerBlock(width, heads, 4 * width, context_width=context_width or None)
        self.block.mlp = GatedFeedForward(width, 4 * width)
        self.out = nn.Conv2d(width, width, 1)

    def forward(
        self, x: Float[Tensor, "N D H W"], context: Float[Tensor, "N L E"] | None, mask: Bool[Tensor, "N L"] | None
    ) -> Float[Tensor, "N D H W"]:
        tokens = self.into(self.norm(x)).flatten(2).transpose(1, 2)  # [N, H W, D]
        seen = None if mask is None else mask[:, None, None]
        tokens = self.block(tokens, context, context_mask=seen)
        return x + self.out(tokens.transpose(1, 2).unflatten(2, x.shape[2:]))


class Stage(nn.Module):
    """A residual block that is told the level of the noise and, where there are `heads`, a look around."""

    def __init__(self, in_channels: int, width: int, told: int, heads: int, context_width: int, groups: int):
        super().__init__()
        self.block = ResidualBlock(in_channels, width, told, groups)
        self.look = Look(width, heads, context_width, groups) if heads else None

    def forward(
        self,
        x: Float[Tensor, "N C H W"],
        told: Float[Tensor, "N T"],
        context: Float[Tensor, "N L E"] | None,
        mask: Bool[Tensor, "N L"] | None,
    ) -> Float[Tensor, "N D H W"]:
        x = self.block(x, told)
        return x if self.look is None else self.look(x, context, mask)


class Down(nn.Module):
    """The stages at one resolution, and a convolution of stride 2 to the next."""

    def __init__(self, stages: list[Stage], shrink: nn.Module | None):
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.shrink = shrink

    def forward(self, x: Tensor, maps: list[Tensor], *told: Tensor | None) -> Tensor:
        """The coarser map; every map on the way is added to `maps`."""
        for stage in self.stages:
            x = stage(x, *told)
            maps.append(x)
        if self.shrink is not None:
            x = self.shrink(x)
            maps.append(x)
        return x


class Up(nn.Module):
    """The stages at one resolution on the way back, each given a map of the way down, and twice the resolution: every
    pixel four times, and a convolution that smooths the steps."""

    def __init__(self, stages: list[Stage], width: int | None):
        super().__init__()
        self.stages = nn.ModuleList(stages)
        self.grow = None
        if width is not None:
            self.grow = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(width, width, 3, padding=1))

    def forward(self, x: Tensor, maps: list[Tensor], *told: Tensor | None) -> Tensor:
        """The finer map; the maps it was given are taken from the end of `maps`."""
        for stage in self.stages:
            x = stage(torch.cat([x, maps.pop()], 1), *told)
        return x if self.grow is None else self.grow(x)


class Denoiser(DrawingNetwork):
    """U-Net that says what noise an image holds, told the level of the noise, and a class or a text where it has one.

    Args:
        in_channels: C of the image, and of the answer.
        image_size: (height, width) it is built for; others that it can halve as often work as well.
        widths: channels of each level, fine to coarse; each level has half the resolution of the one before.
        blocks: stages of each level on the way down; on the way up there is one more.
        attention: the levels, from 0, whose positions look at each other. Those below all levels always do.
        heads: of the attention.
        head_width: of each head, where wider levels have more of them in the place of wider ones; 0: `heads` of them.
        context_width: E, of the tokens of a text that positions also look at; 0: there is none.
        num_classes: what an image may be asked to be; 0: nothing. The class `num_classes` says "any".
        patch: pixels along one side of what is one position at the finest level.
        groups: of the norms; 0: of 16 channels, which a processor is fastest with.
        shrunk: how many times smaller than the image is what it is shown: the factor of an autoencoder, whose latents
            they are. Sizes are those of the image.

    Raises:
        UserError: the image cannot be halved so often, or the heads cannot share a width.
    """

    figure: ClassVar[str] = "5.3"

    def __init__(
        self,
        in_channels: int = 3,
        image_size: tuple[int, int] = (64, 64),
        widths: tuple[int, ...] = (64, 128),
        blocks: int = 1,
        attention: tuple[int, ...] = (1,),
        heads: int = 4,
        head_width: int = 0,
        context_width: int = 0,
        num_classes: int = 0,
        patch: int = 1,
        groups: int = 0,
        shrunk: int = 1,
    ):
        super().__init__(image_size, shrunk * patch * 2 ** (len(widths) - 1), num_classes)
        self.widths = widths
        if any(width % (head_width or heads) for width in widths) or widths[0] % 2:
            shared = f"cut into heads of {head_width}" if head_width else f"shared by {heads} heads"
            raise UserError(f"Widths of {', '.join(map(str, widths))} cannot be {shared}: use multiples.")
        told = 4 * widths[0]

        def stage(fan_in: int, level: int, looks: bool | None = None) -> Stage:
            looks = level in attention if looks is None else looks
            many = widths[level] // head_width if head_width else heads
            return Stage(fan_in, widths[level], told, many if looks else 0, context_width, groups)

        self.tell = nn.Sequential(nn.Linear(widths[0], told), nn.SiLU(), nn.Linear(told, told))
        self.classes = nn.Embedding(num_classes + 1, told) if num_classes else None
        self.unshuffle, self.shuffle = nn.PixelUnshuffle(patch), nn.PixelShuffle(patch)
        self.stem = nn.Conv2d(in_channels * patch**2, widths[0], 3, padding=1)
        last, kept = len(widths) - 1, [widths[0]]  # the channels of every map that the way up is given
        down, up = [], []
        for level, width in enumerate(widths):
            stages = [stage(widths[max(level - 1, 0)] if i == 0 else width, level) for i in range(blocks)]
            down.append(Down(stages, nn.Conv2d(width, width, 3, 2, padding=1) if level < last else None))
            kept += [width] * (blocks + (level < last))
        self.down = nn.ModuleList(down)
        self.middle = nn.ModuleList([stage(widths[-1], last, True), stage(widths[-1], last, False)])
        for level, width in reversed(list(enumerate(widths))):
            coarse = widths[min(level + 1, last)]
            stages = [stage((coarse if i == 0 else width) + kept.pop(), level) for i in range(blocks + 1)]
            up.append(Up(stages, width if level else None))
        self.up = nn.ModuleList(up)
        self.norm = group_norm(widths[0], groups)
        self.act = nn.SiLU()
        self.out = nn.Conv2d(widths[0], in_channels * patch**2, 3, padding=1)
        # it begins by saying nothing, and every stage by changing nothing: the first steps then point the right way
        for layer in [self.out, *(m.conv2 for m in self.modules() if isinstance(m, ResidualBlock))]:
            nn.init.zeros_(layer.weight)

    @property
    def ends(self) -> tuple[nn.Module, ...]:
        """What sees pixels, and what says them."""
        return self.stem, self.out

    def forward(
        self,
        noisy: Float[Tensor, "N C H W"],
        level: Int[Tensor, " N"] | Float[Tensor, " N"] | None = None,
        label: Int[Tensor, " N"] | None = None,
        context: Float[Tensor, "N L E"] | None = None,
        mask: Bool[Tensor, "N L"] | None = None,
    ) -> Float[Tensor, "N C H W"]:
        level, label = self.unless_told(noisy, level, label)
        told = self.tell(waves(level, self.widths[0]).to(self.stem.weight.dtype))
        if self.classes is not None:
            told = told + self.classes(label)
        x = self.stem(self.unshuffle(noisy))
        maps, seen = [x], (told, context, mask)
        for down in self.down:
            x = down(x, maps, *seen)
        for stage in self.middle:
            x = stage(x, *seen)
        for up in self.up:
            x = up(x, maps, *seen)
        return self.shuffle(self.out(self.act(self.norm(x))))
