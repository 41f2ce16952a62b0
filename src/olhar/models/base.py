"""The contract of the bodies (encoders) of Figure 2.4: an image in, a pyramid of features out.

Shapes: N batch, C channels, H W space.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn


class Encoder(nn.Module, ABC):
    """image [N, C, H, W] -> levels, fine to coarse; level i is [N, channels[i], ⌈H/strides[i]⌉, ⌈W/strides[i]⌉].

    Args:
        image_size: (height, width) it is built for. Fully convolutional encoders take any other size too;
            those with `any_size` False take only this one.
        channels: of each level.
        strides: of each level: how many pixels of the image one step on that level is.
    """

    figure: ClassVar[str] = ""  # of the notes
    any_size: bool = True

    def __init__(self, image_size: tuple[int, int], channels: tuple[int, ...], strides: tuple[int, ...]):
        super().__init__()
        assert len(channels) == len(strides), (channels, strides)
        self.image_size = image_size
        self.channels = channels
        self.strides = strides

    @abstractmethod
    def forward(self, image: Float[Tensor, "N C H W"]) -> list[Tensor]: ...
