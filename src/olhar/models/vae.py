"""The variational autoencoder (Kingma & Welling 2014, arXiv 1312.6114): the latent is a distribution.

Pulled towards N(0, 1) by the KL divergence, its latents leave no gaps: a mixture of two is an image, and a model can
learn to draw them (Figure 5.3; Rombach et al. 2022, arXiv 2112.10752).

Shapes: N batch, C channels of the image, L of the latent, H W space, h w of the latent.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from olhar.layers.codec import LatentDecoder, LatentEncoder, latent_shape, patch_of
from olhar.objectives.gaussian import Gaussian

# Latents of 12 times fewer numbers than a colour image. Multiply-adds of 64x64 pixels: 410 million, for minutes of a
# laptop, and 4 billion. Nothing is computed at full size: a convolution there costs four times what it does at half,
# and one of stride 4 straight to the latent's size, with as much work, was 1.6 dB worse on emoji after as many minutes.
SIZES: dict[str, dict[str, Any]] = {
    "vae": {"widths": (64, 128), "blocks": 1},
    "vae-large": {"widths": (128, 256), "blocks": 3},
}
# Bounds of the log of the variance: e^-10 is a deviation of 0.007 beside latents that spread by 1, as good as none;
# e^10 is far beyond the N(0, 1) that they are pulled to.
LOG_VARIANCE_REACH = 10.0


class VAE(nn.Module):
    """Variational autoencoder: an image to a Gaussian over latents, and from one of them back.

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
        self.encoder = LatentEncoder(in_channels, 2 * latent_channels, *body)
        self.decoder = LatentDecoder(latent_channels, in_channels, *body)

    def latent_shape(self, image_size: tuple[int, int] | None = None) -> tuple[int, int, int]:
        """(L, h, w) of the latent of an image of that (height, width), or of the size it was built for."""
        return latent_shape(image_size or self.image_size, self.latent_channels, self.factor)

    def encode(self, image: Float[Tensor, "N C H W"]) -> Gaussian:
        """q(z | image), every number of the latent for itself: mean and log of the variance [N, L, h, w]."""
        mean, log_variance = self.encoder(image).chunk(2, dim=1)
        return Gaussian(mean, bounded(log_variance))

    def decode(self, latent: Float[Tensor, "N L h w"], size: tuple[int, int] | None = None) -> Float[Tensor, "N C H W"]:
        """An image from a latent: of (height, width) `size`, or of `factor` times the latent's."""
        return self.decoder(latent, size)

    def forward(self, image: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """The image as it comes out of the likeliest latent; training draws one: `decode(encode(image).sample())`."""
        return self.decode(self.encode(image).mode(), (image.shape[2], image.shape[3]))


def bounded(x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Nearly the identity around 0, and never beyond LOG_VARIANCE_REACH: unlike a clamp it always has a gradient."""
    return LOG_VARIANCE_REACH * torch.tanh(x / LOG_VARIANCE_REACH)
