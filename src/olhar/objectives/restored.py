"""An image as a distribution, and the latent it was decoded from: the lower bound of a variational autoencoder.

Shapes: N batch, C channels, H W space.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from olhar.objectives.gaussian import Gaussian
from olhar.objectives.laplace import Laplace


@dataclass(frozen=True, eq=False)
class Restored:
    """p(clean image | what was shown), in normalised values [N, C, H, W], and q(latent | image) where there is one.

    Nats are divided by the count of an image's numbers, so that they mean the same at every size (Kingma and Welling
    2014, arXiv 1312.6114, Eq 3, divided by it).
    """

    image: Gaussian | Laplace
    latent: Gaussian | None = None

    def nll(self, clean: Float[Tensor, "N C H W"]) -> Float[Tensor, " N"]:
        """-log p(clean) a number of the image."""
        return self.image.nll(clean) / self.image.mean[0].numel()

    def kl(self) -> Float[Tensor, " N"]:
        """KL(latent ‖ N(0, 1)) a number of the image: what the latent tells of it."""
        assert self.latent is not None
        prior = Gaussian(torch.zeros_like(self.latent.mean))
        return self.latent.kl(prior) / self.image.mean[0].numel()

    def bits_per_pixel(self) -> Float[Tensor, " N"]:
        """The same in bits for each place of the image."""
        return self.kl() * self.image.mean.shape[1] / math.log(2)
