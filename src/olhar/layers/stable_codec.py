"""The two halves of Stable Diffusion's autoencoder (Rombach et al. 2022, arXiv 2112.10752, appendix G; Figure 5.3): as
those of codec.py, with attention where the map is smallest, and all of it begins at the full size of the image.

Shapes: N batch, C channels of the image, L of the latent, H W space, h w of the latent, D width.
"""

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import pad

from olhar.errors import UserError
from olhar.layers.attention import MultiHeadAttention
from olhar.layers.residual import ResidualBlock, group_norm

# Of the published weights.
GROUPS = 32
EPS = 1e-6


def block(in_channels: int, width: int) -> ResidualBlock:
    """A residual block with the norms of the published weights."""
    return ResidualBlock(in_channels, width, groups=GROUPS, eps=EPS)


class LookAround(nn.Module):
    """Every position looks at all others with one head; added to what was there: [N, D, H, W] -> the same."""

    def __init__(self, width: int):
        super().__init__()
        self.norm = group_norm(width, GROUPS, EPS)
        self.attention = MultiHeadAttention(width, heads=1)

    def forward(self, x: Float[Tensor, "N D H W"]) -> Float[Tensor, "N D H W"]:
        tokens = self.norm(x).flatten(2).mT  # [N, H W, D]
        return x + self.attention(tokens).mT.unflatten(2, x.shape[2:])


class Shrink(nn.Conv2d):
    """Half the resolution; the windows of 3 begin at every second pixel, and so hang over on the far sides alone:
    [N, D, H, W] -> [N, D, ⌈H/2⌉, ⌈W/2⌉]."""

    def __init__(self, width: int):
        super().__init__(width, width, 3, stride=2)

    def forward(self, x: Float[Tensor, "N D H W"]) -> Float[Tensor, "N D h w"]:
        height, width = x.shape[2:]
        return super().forward(pad(x, (0, 1 + width % 2, 0, 1 + height % 2)))


class Level(nn.Module):
    """The residual blocks of one resolution, and the way to the next."""

    def __init__(self, in_channels: int, width: int, blocks: int, resize: nn.Module | None):
        super().__init__()
        self.blocks = nn.Sequential(*(block(width if i else in_channels, width) for i in range(blocks)))
        self.resize = nn.Identity() if resize is None else resize

    def forward(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D h w"]:
        return self.resize(self.blocks(x))


def middle(width: int) -> nn.Sequential:
    """What stands at the latent's resolution."""
    return nn.Sequential(block(width, width), LookAround(width), block(width, width))


def must_suit(widths: tuple[int, ...], patch: int) -> None:
    """Raise UserError for widths that the norms cannot group, or fewer of them than halvings."""
    if any(width % GROUPS for width in widths):
        given = ", ".join(map(str, widths))
        raise UserError(f"The widths of Stable Diffusion's autoencoder are multiples of {GROUPS}, not {given}.")
    if patch != 1:
        raise UserError(
            f"Stable Diffusion's autoencoder of {len(widths)} widths has the factor {2 ** (len(widths) - 1)}, "
            f"not {patch * 2 ** (len(widths) - 1)}: give both."
        )


class StableEncoder(nn.Module):
    """image [N, C, H, W] -> [N, L, ⌈H/f⌉, ⌈W/f⌉], f = 2^(len(widths) - 1). See `LatentEncoder` for the arguments."""

    def __init__(self, in_channels: int, out_channels: int, widths: tuple[int, ...], blocks: int, patch: int = 1):
        super().__init__()
        must_suit(widths, patch)
        self.stem = nn.Conv2d(in_channels, widths[0], 3, padding=1)
        shrink = [*(Shrink(width) for width in widths[:-1]), None]
        pairs = pairwise([widths[0], *widths])
        self.levels = nn.Sequential(*(Level(*pair, blocks, s) for pair, s in zip(pairs, shrink, strict=True)))
        self.middle = middle(widths[-1])
        self.norm = group_norm(widths[-1], GROUPS, EPS)
        self.act = nn.SiLU()
        self.out = nn.Conv2d(widths[-1], out_channels, 3, padding=1)
        self.mix = nn.Conv2d(out_channels, out_channels, 1)

    def forward(self, image: Float[Tensor, "N C H W"]) -> Float[Tensor, "N L h w"]:
        x = self.middle(self.levels(self.stem(image)))
        return self.mix(self.out(self.act(self.norm(x))))


class StableDecoder(nn.Module):
    """latent [N, L, h, w] -> image [N, C, f h, f w], or its first rows and columns; one residual block more a level
    than the encoder."""

    def __init__(self, in_channels: int, out_channels: int, widths: tuple[int, ...], blocks: int, patch: int = 1):
        super().__init__()
        must_suit(widths, patch)
        self.mix = nn.Conv2d(in_channels, in_channels, 1)
        self.stem = nn.Conv2d(in_channels, widths[-1], 3, padding=1)
        self.middle = middle(widths[-1])
        grow = [nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(w, w, 3, padding=1)) for w in widths[:0:-1]]
        pairs = pairwise([widths[-1], *reversed(widths)])
        self.levels = nn.Sequential(*(Level(*p, blocks + 1, g) for p, g in zip(pairs, [*grow, None], strict=True)))
        self.norm = group_norm(widths[0], GROUPS, EPS)
        self.act = nn.SiLU()
        self.out = nn.Conv2d(widths[0], out_channels, 3, padding=1)

    def forward(
        self, latent: Float[Tensor, "N L h w"], size: tuple[int, int] | None = None
    ) -> Float[Tensor, "N C H W"]:
        x = self.levels(self.middle(self.stem(self.mix(latent))))
        image = self.out(self.act(self.norm(x)))
        return image if size is None else image[:, :, : size[0], : size[1]]
