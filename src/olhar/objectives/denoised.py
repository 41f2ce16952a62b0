"""The Gaussian over what a denoiser is asked for: the noise, the image or the velocity, at a level drawn at random.

Shapes: N batch, `...` the numbers of an image.
"""

from dataclasses import dataclass

from jaxtyping import Float, Int
from torch import Tensor

from olhar.objectives.gaussian import Gaussian


@dataclass(frozen=True, eq=False)
class Denoised:
    """p(target | noisy image, level) = N(said, 1), a number of the image at a time.

    With the noise as target and every level as likely, its mean negative logarithm is, up to a constant, the
    simplified objective of Ho et al. (2020, arXiv 2006.11239, Eq 14).
    """

    said: Gaussian
    target: Float[Tensor, "N ..."]
    noisy: Float[Tensor, "N ..."]
    level: Int[Tensor, " N"]
    weight: Float[Tensor, " N"]  # how much each example counts; not of the likelihood

    def nll(self, target: Float[Tensor, "N ..."]) -> Float[Tensor, " N"]:
        """-log p(target) a number of the image."""
        return self.said.nll(target) / self.said.mean[0].numel()

    def error(self) -> Float[Tensor, " N"]:
        """The mean squared error of each example."""
        return (self.said.mean.float() - self.target.float()).square().flatten(1).mean(1)
