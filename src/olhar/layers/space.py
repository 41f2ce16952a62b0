"""What noise is mixed with: the colours of an image, or its latent in a frozen autoencoder (Figure 5.3).

Shapes: N batch, C channels, H W space, L channels of the latent, h w its space.
"""

import math
from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor, nn
from torch.nn import functional as F


class Pixels(nn.Module):
    """The image itself, every channel with mean 0 and deviation 1 over the training images.

    Args:
        mean, std: of pixel values in [0, 1], one number a channel.
    """

    factor = 1
    mean: Tensor
    std: Tensor

    def __init__(self, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        # not persistent: its task keeps the same numbers
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1), persistent=False)

    def forward(self, image: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        return (image.to(self.mean.dtype) / 255 - self.mean) / self.std

    def colours(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """The way back, to 0..255."""
        return (x * self.std + self.mean) * 255

    def within(self, x: Float[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
        """The nearest that has colours."""
        return x.clamp(-self.mean / self.std, (1 - self.mean) / self.std)

    def places(self, mask: Bool[Tensor, "N 1 H W"]) -> Bool[Tensor, "N 1 H W"]:
        """Which of its places a mask of the image touches."""
        return mask

    def shape(self, size: tuple[int, int]) -> tuple[int, int, int]:
        """Of what an image of (height, width) becomes."""
        return self.mean.shape[1], *size


@runtime_checkable
class Distribution(Protocol):
    """A distribution over latents."""

    def mode(self) -> Tensor: ...


@runtime_checkable
class Variational(Protocol):
    """A variational autoencoder."""

    factor: int
    latent_channels: int

    def encode(self, image: Tensor) -> Distribution: ...
    def decode(self, latent: Tensor) -> Tensor: ...


class Latents(nn.Module):
    """The likeliest latent of the image, every channel with mean 0 and deviation 1 over the training images.

    Of the latent's distribution the mean is taken and nothing is drawn: what the autoencoder does not use of a latent
    is noise, and a model would learn to draw it. Stable Diffusion divides all by one number, 1 / 0.18215, measured as
    here (Rombach et al. 2022, arXiv 2112.10752, appendix G).

    Args:
        autoencoder: trained, and from now on frozen.
        mean, std: of the pixel values that it was trained on.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, autoencoder: nn.Module, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        assert isinstance(autoencoder, Variational)
        self.factor = autoencoder.factor
        self.autoencoder = autoencoder.requires_grad_(False)
        self.pixels = Pixels(mean, std)
        for name, start in (("shift", torch.zeros), ("scale", torch.ones)):
            self.register_buffer(name, start(1, autoencoder.latent_channels, 1, 1))

    def encode(self, image: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N L h w"]:
        """The latent as it is."""
        return self.autoencoder.encode(self.pixels(image)).mode()

    def normalise(self, latent: Float[Tensor, "N L h w"]) -> Float[Tensor, "N L h w"]:
        """Zero mean, unit variance over the training images."""
        return (latent - self.shift) / self.scale

    def forward(self, image: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N L h w"]:
        return self.normalise(self.encode(image))

    def colours(self, x: Float[Tensor, "N L h w"]) -> Float[Tensor, "N C H W"]:
        """The image of a latent, 0..255."""
        return self.pixels.colours(self.autoencoder.decode(x * self.scale + self.shift))

    def within(self, x: Float[Tensor, "N L h w"]) -> Float[Tensor, "N L h w"]:
        """Every latent is an image."""
        return x

    def places(self, mask: Bool[Tensor, "N 1 H W"]) -> Bool[Tensor, "N 1 h w"]:
        """Which of its places a mask of the image touches."""
        return F.max_pool2d(mask.float(), self.factor, ceil_mode=True) > 0

    def shape(self, size: tuple[int, int]) -> tuple[int, int, int]:
        """Of what an image of (height, width) becomes."""
        height, width = (math.ceil(side / self.factor) for side in size)
        return self.shift.shape[1], height, width
