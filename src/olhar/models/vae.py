"""The variational autoencoder (Kingma & Welling 2014, arXiv 1312.6114): the latent is a distribution.

Pulled towards N(0, 1) by the KL divergence, its latents leave no gaps: a mixture of two is an image, and a model can
learn to draw them (Figure 5.3; Rombach et al. 2022, arXiv 2112.10752).

Shapes: N batch, C channels of the image, L of the latent, H W space, h w of the latent.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from olhar.layers.codec import Codec
from olhar.layers.stable_codec import StableDecoder, StableEncoder
from olhar.objectives.gaussian import Gaussian

# Chosen as those of the autoencoder are; the last is Stable Diffusion's. "f16" says 256 pixels in 16 numbers: so few
# places that a CPU learns in minutes to draw in them. In 150 s of two cores it came to 30.6 dB on shapes at 64 px, and
# with widths a third larger and twice the channels to 30.8 dB (one run each).
SIZES: dict[str, dict[str, Any]] = {
    "vae": {"widths": (64, 128), "blocks": 1},
    "vae-f16": {"widths": (48, 96, 96), "blocks": 1, "factor": 16, "latent_channels": 16},
    "vae-large": {"widths": (128, 256), "blocks": 3},
    "vae-stable-diffusion": {"widths": (128, 256, 512, 512), "blocks": 2, "factor": 8},
}
# Bounds of the log of the variance: e^-10 is a deviation of 0.007 beside latents that spread by 1, as good as none;
# e^10 is far beyond the N(0, 1) that they are pulled to.
LOG_VARIANCE_REACH = 10.0


class VAE(Codec):
    """Variational autoencoder: an image to a Gaussian over latents, and from one of them back.

    The latent is `factor` times smaller along each side. `encode` and `decode` can be used apart. Any size is taken,
    and `forward` gives it back. See `Codec` for the arguments.
    """

    numbers = 2

    def encode(self, image: Float[Tensor, "N C H W"]) -> Gaussian:
        """q(z | image), every number of the latent for itself: mean and log of the variance [N, L, h, w]."""
        mean, log_variance = self.encoder(image).chunk(2, dim=1)
        return Gaussian(mean, bounded(log_variance))

    def forward(self, image: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """The image as it comes out of the likeliest latent; training draws one: `decode(encode(image).sample())`."""
        return self.decode(self.encode(image).mode(), (image.shape[2], image.shape[3]))


class StableVAE(VAE):
    """Stable Diffusion's autoencoder, whose latents its denoiser draws (Figure 5.3).

    A variational one with other layers: see layers/stable_codec.py. Published latents are made small by a number that
    their folder names, so that they spread by 1; it is no part of this.
    """

    halves = StableEncoder, StableDecoder

    def encode(self, image: Float[Tensor, "N C H W"]) -> Gaussian:
        """q(z | image): mean and log of the variance [N, L, h, w]; published weights know no other bounds than the
        Gaussian's."""
        mean, log_variance = self.encoder(image).chunk(2, dim=1)
        return Gaussian(mean, log_variance)


def bounded(x: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Nearly the identity around 0, and never beyond LOG_VARIANCE_REACH: unlike a clamp it always has a gradient."""
    return LOG_VARIANCE_REACH * torch.tanh(x / LOG_VARIANCE_REACH)
