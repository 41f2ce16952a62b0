"""The deviation of what a model cannot explain, followed while it learns.

Shapes: any.
"""

from jaxtyping import Float
from torch import Tensor, nn, zeros


class RunningScale(nn.Module):
    """log of the mean error so far: the maximum-likelihood scale of a Gaussian (error: squares) or a Laplace
    (error: distances) whose one scale all numbers share (σ-VAE, Rybkin et al. 2021, arXiv 2006.13202).

    Given and not trained, it lets the likelihood of images of any size, and the KL term of a variational
    autoencoder, be weighed as their formulas say, without a coefficient to tune. Like batch normalisation it follows
    in training and stands still in evaluation.
    """

    log_scale: Tensor

    def __init__(self, momentum: float = 0.05, least: float = 1e-6):
        super().__init__()
        self.momentum, self.least = momentum, least
        self.register_buffer("log_scale", zeros(()))

    def forward(self, error: Float[Tensor, "*any"]) -> Float[Tensor, ""]:
        """The scale to use with these errors."""
        if self.training:
            now = error.detach().float().mean().clamp_min(self.least).log()
            self.log_scale.lerp_(now, self.momentum)
        # a copy: the buffer moves on before the gradient has used it
        return self.log_scale.clone()
