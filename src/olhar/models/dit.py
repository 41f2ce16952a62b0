"""The diffusion transformer: the places of a noisy latent are tokens, as the patches of an image are a ViT's
(Figures 3.1, 5.3; Peebles and Xie 2023, arXiv 2212.09748), and the words of a text are tokens beside them.

Shapes: N batch, C channels, H W space, h w its places, P = h w, D width, L tokens of a text, E their width, T = P + L
tokens in all, W of them wanted.
"""

from typing import Any, ClassVar

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn
from torch.nn.functional import pad, pixel_shuffle, silu

from olhar.errors import UserError
from olhar.layers.attention import FeedForward, MultiHeadAttention
from olhar.layers.embed import PatchEmbed, sinusoidal_grid, to_map, waves
from olhar.models.base import DrawingNetwork

# "dit-s" has the widths of the paper's smallest; mini is for minutes of a laptop's time.
SIZES: dict[str, dict[str, Any]] = {
    "dit-mini": {"width": 128, "depth": 4, "heads": 4},
    "dit-small": {"width": 256, "depth": 8, "heads": 4},
    "dit-s": {"width": 384, "depth": 12, "heads": 6},
}


class ToldBlock(nn.Module):
    """A transformer block whose two steps are scaled and shifted by what it is told (adaLN): [N, T, D] -> [N, T, D].

    Before each step the norm's scale and shift are told, after it how much of the step counts. All blocks are told the
    same six vectors, and each adds its own (Chen et al. 2024, arXiv 2310.00426, section 2.3). At first they change
    next to nothing.
    """

    def __init__(self, width: int, heads: int):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, elementwise_affine=False)
        self.attention = MultiHeadAttention(width, heads)
        self.norm2 = nn.LayerNorm(width, elementwise_affine=False)
        self.mlp = FeedForward(width, 4 * width)
        self.own = nn.Parameter(torch.zeros(6, width))
        for last in (self.attention.out, self.mlp.fc2):
            nn.init.zeros_(last.weight)

    def forward(
        self,
        tokens: Float[Tensor, "N T D"],
        told: Float[Tensor, "N 6 D"],
        mask: Bool[Tensor, "N 1 1 T"] | None,
        wanted: int | None = None,
    ) -> Float[Tensor, "N W D"]:
        """Of the first `wanted` tokens alone, if given; they look at all."""
        shift1, scale1, gate1, shift2, scale2, gate2 = (told + self.own)[:, :, None].unbind(1)
        seen = self.norm1(tokens) * (1 + scale1) + shift1
        tokens = tokens[:, :wanted] + (1 + gate1) * self.attention(seen[:, :wanted], seen, mask)
        return tokens + (1 + gate2) * self.mlp(self.norm2(tokens) * (1 + scale2) + shift2)


class DiT(DrawingNetwork):
    """Transformer that says what noise an image or a latent holds, told its level and perhaps a class or a text.

    A text is told twice: the blocks are told the mean of its tokens beside the level, which says what there is; and
    the tokens stand in one row with the places, where all look at all (Bao et al. 2023, arXiv 2209.12152; Esser et
    al. 2024, arXiv 2403.03206), which says what belongs to what.

    Args:
        in_channels: C of the image or latent, and of the answer.
        image_size: (height, width) of the image it is built for; other multiples of its step work as well.
        width, depth, heads: D, blocks, and heads of their attention.
        patch: side of what is one token.
        context_width: E, of the tokens of a text; 0: there is none.
        num_classes: what an image may be asked to be; 0: nothing. The class `num_classes` says "any".
        shrunk: how many times smaller than the image is what it is shown, the factor of an autoencoder.

    Raises:
        UserError: no patches of this size fit the image, or the heads cannot share the width.
    """

    figure: ClassVar[str] = "5.3"

    def __init__(
        self,
        in_channels: int = 4,
        image_size: tuple[int, int] = (64, 64),
        width: int = 128,
        depth: int = 4,
        heads: int = 4,
        patch: int = 1,
        context_width: int = 0,
        num_classes: int = 0,
        shrunk: int = 1,
    ):
        super().__init__(image_size, shrunk * patch, num_classes)
        if width % heads or width % 4:
            raise UserError(f"A width of {width} cannot be shared by {heads} heads: use a multiple of them and of 4.")
        self.width = width
        self.stem = PatchEmbed(in_channels, width, patch)
        self.tell = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.classes = nn.Embedding(num_classes + 1, width) if num_classes else None
        self.summary = nn.Linear(context_width, width) if context_width else None
        self.words = nn.Linear(context_width, width) if context_width else None
        self.six = nn.Linear(width, 6 * width)
        self.blocks = nn.ModuleList(ToldBlock(width, heads) for _ in range(depth))
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.out = nn.Linear(width, in_channels * patch**2)
        for last in (self.six, self.out):  # it begins by saying nothing, and every block by being told nothing
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

    @property
    def ends(self) -> tuple[nn.Module, ...]:
        """What sees the image or latent, and what speaks of it."""
        return self.stem.proj, self.out

    def forward(
        self,
        noisy: Float[Tensor, "N C H W"],
        level: Int[Tensor, " N"] | Float[Tensor, " N"] | None = None,
        label: Int[Tensor, " N"] | None = None,
        context: Float[Tensor, "N L E"] | None = None,
        mask: Bool[Tensor, "N L"] | None = None,
    ) -> Float[Tensor, "N C H W"]:
        level, label = self.unless_told(noisy, level, label)
        told = self.tell(waves(level, self.width).to(self.out.weight.dtype))
        if self.classes is not None:
            told = told + self.classes(label)
        grid = self.stem.grid((noisy.shape[2], noisy.shape[3]))
        places = grid[0] * grid[1]
        tokens, seen = self.stem(noisy) + sinusoidal_grid(grid, self.width).to(noisy), None
        if self.summary is not None and self.words is not None:
            assert context is not None, "it was made for a text"
            told = told + self.summary(mean_of(context, mask))
            tokens = torch.cat([tokens, self.words(context)], 1)
            seen = None if mask is None else pad(mask, (places, 0), value=True)[:, None, None]
        six = self.six(silu(told)).unflatten(1, (6, -1))
        *first, last = self.blocks
        for block in first:
            tokens = block(tokens, six, seen)
        tokens = last(tokens, six, seen, wanted=places)  # nobody asks the words any more
        return pixel_shuffle(to_map(self.out(self.norm(tokens)), grid), self.stem.patch)


def mean_of(states: Float[Tensor, "N L E"], mask: Bool[Tensor, "N L"] | None) -> Float[Tensor, "N E"]:
    """Of the states where the mask is True."""
    if mask is None:
        return states.mean(1)
    weights = mask.to(states.dtype)[..., None]
    return (states * weights).sum(1) / weights.sum(1)
