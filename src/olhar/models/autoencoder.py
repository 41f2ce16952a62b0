"""The autoencoder of Figure 2.11: an image squeezed through a small map of numbers, and made again from it.

Shapes: N batch, C channels of the image, L of the latent, H W space, h w of the latent.
"""

from typing import Any

from jaxtyping import Float
from torch import Tensor, nn

from olhar.layers.codec import LatentDecoder, LatentEncoder, latent_shape, patch_of

# Latents of 12 times fewer numbers than a colour image. Multiply-adds of 64x64 pixels: 410 million, for minutes of a
# laptop, and 4 billion. Nothing is computed at full size: a convolution there costs four times what it does at half,
# and one of stride 4 straight to the latent's size, with as much work, was 1.6 dB worse on emoji after as many minutes.
SIZES: dict[str, dict[str, Any]] = {
    "autoencoder": {"widths": (64, 128), "blocks": 1},
    "autoencoder-large": {"widths": (128, 256), "blocks": 3},
}


class Autoencoder(nn.Module):
    """Convolutional autoencoder: an image to a small map of numbers, its latent, and back.

    The latent is `factor` times smaller along each side. `encode` and `decode` can be used apart. Any size is taken,
    and `forward` gives it back.

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

    figure = "2.11"

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
        self.encoder = LatentEncoder(in_channels, latent_channels, *body)
        self.decoder = LatentDecoder(latent_channels, in_channels, *body)

    def latent_shape(self, image_size: tuple[int, int] | None = None) -> tuple[int, int, int]:
        """(L, h, w) of the latent of an image of that (height, width), or of the size it was built for."""
        return latent_shape(image_size or self.image_size, self.latent_channels, self.factor)

    def encode(self, image: Float[Tensor, "N C H W"]) -> Float[Tensor, "N L h w"]:
        """The latent."""
        return self.encoder(image)

    def decode(self, latent: Float[Tensor, "N L h w"], size: tuple[int, int] | None = None) -> Float[Tensor, "N C H W"]:
        """An image from a latent: of (height, width) `size`, or of `factor` times the latent's."""
        return self.decoder(latent, size)

    def forward(self, image: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """The image as it comes out of its own latent."""
        return self.decode(self.encode(image), (image.shape[2], image.shape[3]))
