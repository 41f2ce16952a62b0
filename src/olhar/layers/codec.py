"""The two halves of an autoencoder (Figure 2.11): an image to a small map of latents, and back.

Shapes: N batch, C channels of the image, L of the latent, H W space, h w of the latent.
"""

from collections.abc import Callable
from itertools import pairwise
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from olhar.errors import UserError
from olhar.layers.residual import ResidualBlock, group_norm


def patch_of(factor: int, widths: tuple[int, ...]) -> int:
    """The stride of the first convolution: what is left of `factor` after a halving between each two widths.

    Raises:
        UserError: the factor is no power of two, or nothing is left.
    """
    if factor < 1 or factor & (factor - 1):
        raise UserError(f"The factor of an autoencoder cannot be {factor}: it is a power of two, such as 4 or 8.")
    patch = factor // 2 ** (len(widths) - 1)
    if not widths or not patch:
        most = factor.bit_length()
        raise UserError(f"An autoencoder of factor {factor} has 1 to {most} widths, not {len(widths)}.")
    return patch


class LatentEncoder(nn.Module):
    """image [N, C, H, W] -> [N, L, ⌈H/f⌉, ⌈W/f⌉], f = patch 2^(len(widths) - 1).

    Args:
        widths: channels of each resolution, fine to coarse; the last is the latent's resolution.
        blocks: residual blocks of each resolution.
        patch: stride of the first convolution: nothing is computed at the full size of the image when it is 2
            or more.
    """

    def __init__(self, in_channels: int, out_channels: int, widths: tuple[int, ...], blocks: int, patch: int):
        super().__init__()
        # A kernel of odd size padded by its half rounds sizes up, so that no border pixel is lost; this one is
        # the smallest whose windows overlap.
        kernel = max(3, 2 * patch - 1)
        self.stem = nn.Conv2d(in_channels, widths[0], kernel, patch, padding=kernel // 2)
        self.body = nn.Sequential(*(ResidualBlock(widths[0], widths[0]) for _ in range(blocks)))
        for fine, coarse in pairwise(widths):
            self.body.append(nn.Conv2d(fine, coarse, 3, 2, padding=1))
            self.body.extend(ResidualBlock(coarse, coarse) for _ in range(blocks))
        self.norm = group_norm(widths[-1])
        self.act = nn.SiLU()
        self.out = nn.Conv2d(widths[-1], out_channels, 3, padding=1)

    def forward(self, image: Float[Tensor, "N C H W"]) -> Float[Tensor, "N L h w"]:
        return self.out(self.act(self.norm(self.body(self.stem(image)))))


class LatentDecoder(nn.Module):
    """latent [N, L, h, w] -> image [N, C, f h, f w], or its first rows and columns: the encoder's way back.

    The last convolution gives the patch x patch pixels of each position as channels, and they are laid out in space
    (Shi et al. 2016, arXiv 1609.05158).
    """

    def __init__(self, in_channels: int, out_channels: int, widths: tuple[int, ...], blocks: int, patch: int):
        super().__init__()
        self.stem = nn.Conv2d(in_channels, widths[-1], 3, padding=1)
        self.body = nn.Sequential(*(ResidualBlock(widths[-1], widths[-1]) for _ in range(blocks)))
        for coarse, fine in pairwise(reversed(widths)):
            self.body.append(nn.Upsample(scale_factor=2))
            self.body.append(nn.Conv2d(coarse, fine, 3, padding=1))
            self.body.extend(ResidualBlock(fine, fine) for _ in range(blocks))
        self.norm = group_norm(widths[0])
        self.act = nn.SiLU()
        self.out = nn.Conv2d(widths[0], out_channels * patch**2, 3, padding=1)
        self.pixels = nn.PixelShuffle(patch)

    def forward(
        self, latent: Float[Tensor, "N L h w"], size: tuple[int, int] | None = None
    ) -> Float[Tensor, "N C H W"]:
        image = self.pixels(self.out(self.act(self.norm(self.body(self.stem(latent))))))
        return image if size is None else image[:, :, : size[0], : size[1]]


class Codec(nn.Module):
    """What an autoencoder and a variational one share: an image to a map of `numbers` for each number of the latent,
    and from a latent back. Any size is taken.

    Args:
        image_size: (height, width) it is built for; others work as well.
        latent_channels: numbers at each position of the latent.
        factor: pixels of the image along one side of a position of the latent, a power of two.
        widths: channels of each resolution, fine to coarse; the last is the latent's. Fewer of them than halvings
            begin with a stride of more than one, and compute nothing at the resolutions left out.
        blocks: residual blocks of each resolution, on either way.

    Raises:
        UserError: the factor is no power of two, or too small for so many widths.
    """

    figure: ClassVar[str] = "2.11"
    halves: ClassVar[tuple[Callable[..., nn.Module], Callable[..., nn.Module]]] = LatentEncoder, LatentDecoder
    numbers: ClassVar[int] = 1  # that the encoder gives for each of the latent: 2 where it is a distribution

    def __init__(
        self,
        in_channels: int = 3,
        image_size: tuple[int, int] = (64, 64),
        latent_channels: int = 4,
        factor: int = 4,
        widths: tuple[int, ...] = (64, 128),
        blocks: int = 1,
    ):
        super().__init__()
        self.image_size, self.latent_channels, self.factor = image_size, latent_channels, factor
        body = (widths, blocks, patch_of(factor, widths))
        self.encoder = self.halves[0](in_channels, self.numbers * latent_channels, *body)
        self.decoder = self.halves[1](latent_channels, in_channels, *body)

    @property
    def ends(self) -> tuple[nn.Module, ...]:
        """What sees pixels, and what says them."""
        return self.encoder.stem, self.decoder.out  # pyright: ignore[reportReturnType]

    def latent_shape(self, image_size: tuple[int, int] | None = None) -> tuple[int, int, int]:
        """(L, ⌈H/factor⌉, ⌈W/factor⌉) of an image of that (height, width), or of the size it was built for."""
        height, width = image_size or self.image_size
        return self.latent_channels, -(-height // self.factor), -(-width // self.factor)

    def decode(self, latent: Float[Tensor, "N L h w"], size: tuple[int, int] | None = None) -> Float[Tensor, "N C H W"]:
        """An image from a latent: of (height, width) `size`, or of `factor` times the latent's."""
        return self.decoder(latent, size)
