"""The two halves of an autoencoder (Figure 2.11): an image to a small map of latents, and back.

Shapes: N batch, C channels of the image, L of the latent, H W space, h w of the latent.
"""

from itertools import pairwise

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


def latent_shape(image_size: tuple[int, int], channels: int, factor: int) -> tuple[int, int, int]:
    """(L, ⌈H/factor⌉, ⌈W/factor⌉)."""
    height, width = image_size
    return channels, -(-height // factor), -(-width // factor)


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
