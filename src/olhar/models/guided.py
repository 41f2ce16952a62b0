"""A denoiser that is told a text (Figure 5.3): what reads captions, and the U-Net whose positions look at its tokens.

Shapes: N batch, C channels, H W space, L tokens.
"""

import torch
from jaxtyping import Float, Int, Int64
from torch import Tensor, nn

from olhar.models.base import DrawingNetwork, TextTower


class Guided(nn.Module):
    """noisy [N, C, H, W], its level [N] and tokens [N, L] -> what the noise is.

    Args:
        denoiser: given (noisy, level, label, states of the tokens, which of them are of the text).
        reader: tokens to states; trained along.
        start, end: ids of the tokens around a caption. With nothing between them it says nothing, which is what
            training shows when it hides a caption.
        padding: positions look at what fills a caption up, too, as those of Stable Diffusion learnt to.
    """

    nothing: Tensor

    def __init__(self, denoiser: DrawingNetwork, reader: TextTower, start: int, end: int, padding: bool = False):
        super().__init__()
        self.denoiser, self.reader, self.padding = denoiser, reader, padding
        self.register_buffer("nothing", torch.tensor([start] + [end] * (reader.length - 1)), persistent=False)

    @property
    def ends(self) -> tuple[nn.Module, ...]:
        """Of the denoiser."""
        return self.denoiser.ends

    def forward(
        self,
        noisy: Float[Tensor, "N C H W"],
        level: Int[Tensor, " N"] | None = None,
        label: Int[Tensor, " N"] | None = None,
        tokens: Int64[Tensor, "N L"] | None = None,
    ) -> Float[Tensor, "N C H W"]:
        """Without `tokens` it is told nothing."""
        tokens = self.nothing.expand(len(noisy), -1) if tokens is None else tokens
        seen = None if self.padding else self.reader.inside(tokens)
        return self.denoiser(noisy, level, label, self.reader(tokens), seen)
