"""The autoencoder of Figure 2.11: an image squeezed through a small map of numbers, and made again from it.

Shapes: N batch, C channels of the image, L of the latent, H W space, h w of the latent.
"""

from typing import Any

from jaxtyping import Float
from torch import Tensor

from olhar.layers.codec import Codec

# Latents of 12 times fewer numbers than a colour image. Multiply-adds of 64x64 pixels: 410 million, for minutes of a
# laptop, and 4 billion. Nothing is computed at full size: a convolution there costs four times what it does at half,
# and one of stride 4 straight to the latent's size, with as much work, was 1.6 dB worse on emoji after as many minutes.
SIZES: dict[str, dict[str, Any]] = {
    "autoencoder": {"widths": (64, 128), "blocks": 1},
    "autoencoder-large": {"widths": (128, 256), "blocks": 3},
}


class Autoencoder(Codec):
    """Convolutional autoencoder: an image to a small map of numbers, its latent, and back.

    The latent is `factor` times smaller along each side. `encode` and `decode` can be used apart. Any size is taken,
    and `forward` gives it back. See `Codec` for the arguments.
    """

    def encode(self, image: Float[Tensor, "N C H W"]) -> Float[Tensor, "N L h w"]:
        """The latent."""
        return self.encoder(image)

    def forward(self, image: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """The image as it comes out of its own latent."""
        return self.decode(self.encode(image), (image.shape[2], image.shape[3]))
