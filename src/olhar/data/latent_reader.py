"""Record -> Sample with the latent of its image in the image's place, so that a step of training encodes nothing.

A latent is kept where decoded images are, in memory or in a file: as the bytes of its numbers, which are the planes.

Shapes: N batch, C channels, H W space, L channels of the latent, h w its space, P planes: four bytes a channel.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from olhar.data.reading import Reader
from olhar.data.sample import Record, Sample

Encode = Callable[[UInt8[Tensor, "N C H W"]], Float[Tensor, "N L h w"]]


@dataclass(frozen=True)
class LatentReader:
    """Args:
    read: gives the image, and all that is said of it.
    encode: what the autoencoder makes of it, on the CPU, in float32.
    weights: hex digits that tell the autoencoder from others; kept latents of another are not its own.
    latent: (L, h, w).
    """

    read: Reader
    encode: Encode = field(repr=False)
    weights: str
    latent: tuple[int, int, int]
    what: ClassVar[str] = "Latents"

    @property
    def uniform(self) -> bool:
        """All are of this shape."""
        return True

    @property
    def shape(self) -> tuple[int, int, int]:
        """[h, w, P], as the cache keeps it."""
        channels, height, width = self.latent
        return height, width, channels * torch.float32.itemsize

    def planes(self, record: Record) -> UInt8[Tensor, "P h w"]:
        """The latent, for the cache. Raises UserError where the image cannot be read."""
        latent = self.encode(self.read.planes(record)[None])[0]
        return latent.permute(1, 2, 0).contiguous().view(torch.uint8).permute(2, 0, 1)

    def split(self, planes: UInt8[Tensor, "*N P h w"]) -> dict[str, Float[Tensor, "*N L h w"]]:
        """The inverse."""
        return {"latent": planes.movedim(-3, -1).contiguous().view(torch.float32).movedim(-1, -3)}

    def annotate(self, record: Record) -> Sample:
        """The sample without its planes."""
        return self.read.annotate(record)
