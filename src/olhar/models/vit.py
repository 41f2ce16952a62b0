"""The vision transformer (Figure 3.1; Dosovitskiy et al. 2021, arXiv 2010.11929): patches are words, an image a text.

Shapes: N batch, C channels, H W space, h w grid of patches, L = h w tokens of patches, T tokens (L, or L + 1 with the
class token), D width.
"""

from functools import partial
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad, pixel_shuffle

from olhar.layers.attention import QuickGELU, TransformerBlock
from olhar.layers.embed import LearnedPositions, PatchEmbed, sinusoidal_grid, to_map
from olhar.models.base import Encoder

# The widths of the paper and, of Ti and S, of DeiT (Touvron et al. 2021, arXiv 2012.12877), with heads 64 wide. Mini
# has width and heads of Figures 3.1 to 3.3, for minutes of a laptop's time. The number is the side of a patch.
MINI = {"width": 128, "depth": 6, "heads": 4}
TI = {"width": 192, "depth": 12, "heads": 3}
S = {"width": 384, "depth": 12, "heads": 6}
B = {"width": 768, "depth": 12, "heads": 12}
L = {"width": 1024, "depth": 24, "heads": 16}
# For small images there are no published weights to fit. From random ones, in few passes, convolutions for the patches
# teach more, and a mean no less: two passes over 6,400 images of CIFAR-10 took Mini to 34.8 % with both, to 31.9 %
# with the mean alone and to 32.2 % with the paper's patches and class token (AdamW, one run each).
FRESH: dict[str, Any] = {"stem": "conv", "pool": "mean"}
SIZES: dict[str, dict[str, Any]] = {
    "vit-mini4": {"patch": 4, **MINI, **FRESH},
    "vit-mini8": {"patch": 8, **MINI, **FRESH},
    "vit-ti4": {"patch": 4, **TI, **FRESH},
    "vit-ti8": {"patch": 8, **TI, **FRESH},
    "vit-ti16": {"patch": 16, **TI},
    "vit-s4": {"patch": 4, **S, **FRESH},
    "vit-s8": {"patch": 8, **S},
    "vit-s16": {"patch": 16, **S},
    "vit-b8": {"patch": 8, **B},
    "vit-b16": {"patch": 16, **B},
    "vit-b32": {"patch": 32, **B},
    "vit-l16": {"patch": 16, **L},
    "vit-l32": {"patch": 32, **L},
}
ACTIVATIONS = {"gelu": nn.GELU, "quick_gelu": QuickGELU}


class ViT(Encoder):
    """Vision transformer: patches as tokens that look at one another, block after block.

    All levels are the one map of its tokens, [N, D, h, w]. The two finer ones have its channels laid out in space,
    2 x 2 and 4 x 4 places from each token, where the sizes allow: a pyramid from the last map alone (Li et al.
    2022, arXiv 2203.16527) that has no parameters of its own, for decoders weigh each level anyway.

    Args:
        patch: side of a patch, px.
        width: D.
        depth: number of blocks.
        heads: of each attention.
        pool: what stands for the whole image: "token", the class token, or "mean" of all tokens, which has none.
        positions: "learned", and interpolated for images of other sizes, or "sinusoidal".
        stem: "patch", one convolution, or "conv", several (see `ConvStem`).
        drop_path: chance that the last block is left out for an image in training; it falls linearly to 0 at the
            first.
        activation: "gelu", or "quick_gelu" for weights of OpenAI's CLIP.
        pre_norm: a norm before the blocks and no bias in the patches, as in CLIP.
    """

    figure = "3.1"

    def __init__(
        self,
        in_channels: int = 3,
        image_size: tuple[int, int] = (224, 224),
        patch: int = 16,
        width: int = 192,
        depth: int = 12,
        heads: int = 3,
        pool: Literal["token", "mean"] = "token",
        positions: Literal["learned", "sinusoidal"] = "learned",
        stem: Literal["patch", "conv"] = "patch",
        drop_path: float = 0.0,
        activation: Literal["gelu", "quick_gelu"] = "gelu",
        pre_norm: bool = False,
    ):
        self.zooms = tuple(z for z in (4, 2, 1) if patch % z == 0 and width % z**2 == 0)
        super().__init__(image_size, tuple(width // z**2 for z in self.zooms), tuple(patch // z for z in self.zooms))
        self.width = width
        eps = 1e-5 if pre_norm else 1e-6  # what the weights of the two kinds were trained with
        self.patches = PatchEmbed(in_channels, width, patch, bias=not pre_norm, stem=stem)
        self.class_token = nn.Parameter(torch.zeros(width)) if pool == "token" else None
        prefix = int(pool == "token")
        grid = self.patches.grid(image_size)
        self.positions = LearnedPositions(grid, width, prefix) if positions == "learned" else None
        self.pre_norm = nn.LayerNorm(width, eps) if pre_norm else nn.Identity()
        block = partial(TransformerBlock, width, heads, 4 * width, ACTIVATIONS[activation], eps=eps)
        last = max(depth - 1, 1)
        self.blocks = nn.ModuleList(block(drop_path=drop_path * i / last) for i in range(depth))
        self.norm = nn.LayerNorm(width, eps)
        self._initialise()

    def _initialise(self) -> None:
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02)
                nn.init.zeros_(module.bias)

    @property
    def ends(self) -> tuple[nn.Module, ...]:
        """What sees pixels."""
        return tuple(self.patches.modules())

    def tokens(self, image: Float[Tensor, "N C H W"]) -> Float[Tensor, "N T D"]:
        """What the last block says of every patch, row by row, after the class token where there is one."""
        tokens = self.patches(image)
        if self.class_token is not None:
            tokens = torch.cat([self.class_token.expand(len(tokens), 1, -1), tokens], 1)
        tokens = self.pre_norm(tokens + self.codes(self.patches.grid((image.shape[2], image.shape[3]))).to(tokens))
        for block in self.blocks:
            tokens = block(tokens)
        return self.norm(tokens)

    def codes(self, grid: tuple[int, int]) -> Float[Tensor, "T D"]:
        """Of the places of a grid (rows, columns), after zeros for a class token where they are not learned."""
        if self.positions is not None:
            return self.positions(grid)
        return pad(sinusoidal_grid(grid, self.width), (0, 0, int(self.class_token is not None), 0))

    def forward(self, image: Float[Tensor, "N C H W"]) -> list[Tensor]:
        return self.survey(image)[1]

    def summary(self, image: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
        """The class token, or the mean of all tokens."""
        return self.pooled(self.tokens(image))

    def survey(self, image: Float[Tensor, "N C H W"]) -> tuple[Float[Tensor, "N D"], list[Tensor]]:
        height, width = image.shape[2:]
        tokens, grid = self.tokens(image), self.patches.grid((height, width))
        of_grid = to_map(tokens[:, int(self.class_token is not None) :], grid)
        levels = []
        for zoom, stride in zip(self.zooms, self.strides, strict=True):
            level = pixel_shuffle(of_grid, zoom)
            levels.append(level[..., : -(-height // stride), : -(-width // stride)])  # less what padding added
        return self.pooled(tokens), levels

    def pooled(self, tokens: Float[Tensor, "N T D"]) -> Float[Tensor, "N D"]:
        """What stands for the whole image."""
        return tokens[:, 0] if self.class_token is not None else tokens.mean(1)
