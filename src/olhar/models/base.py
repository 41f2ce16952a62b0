"""The contracts of bodies: encoders (Figure 2.4), an image in, a pyramid of features out; and decoders (Figure 2.10),
a pyramid in, one map out; and of what reads captions (Figure 4.3).

Shapes: N batch, C channels, H W space, L tokens, D width.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch
from jaxtyping import Bool, Float, Int, Int64
from torch import Tensor, nn

from olhar.errors import UserError


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

    def summary(self, image: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
        """One vector an image, of channels[-1] numbers: the coarsest level, averaged over space (global pooling)."""
        return self.survey(image)[0]

    def survey(self, image: Float[Tensor, "N C H W"]) -> tuple[Float[Tensor, "N D"], list[Tensor]]:
        """Both at once: the summary, and the levels."""
        levels = self(image)
        return levels[-1].mean(dim=(2, 3)), levels


class TextTower(nn.Module, ABC):
    """tokens [N, L] -> a state for each token [N, L, width]; `sentence` makes one vector a caption of them.

    Args:
        width: of a state, and of a sentence.
        length: the most tokens of a caption.
    """

    def __init__(self, width: int, length: int):
        super().__init__()
        self.width, self.length = width, length

    @abstractmethod
    def forward(self, tokens: Int64[Tensor, "N L"]) -> Float[Tensor, "N L D"]: ...

    @abstractmethod
    def inside(self, tokens: Int64[Tensor, "N L"]) -> Bool[Tensor, "N L"]:
        """True on the tokens of the caption, False on the padding."""

    @abstractmethod
    def spoken(self, tokens: Int64[Tensor, "N L"]) -> Bool[Tensor, "N L"]:
        """True on the tokens of words alone: not on the signs of start and end, nor on the padding."""

    @abstractmethod
    def sentence(self, states: Float[Tensor, "N L D"], tokens: Int64[Tensor, "N L"]) -> Float[Tensor, "N D"]:
        """One vector a caption, of its states."""


class DrawingNetwork(nn.Module, ABC):
    """noisy [N, C, H, W], the level of the noise, perhaps a class or the tokens of a text -> what the noise is, of the
    same shape.

    Args:
        image_size: (height, width) of the image it is built for.
        step: what the sides of an image are multiples of.
        num_classes: what an image may be asked to be. The class `num_classes` says "any".

    Raises:
        UserError: the image has other sides.
    """

    figure: ClassVar[str] = ""  # of the notes

    def __init__(self, image_size: tuple[int, int], step: int, num_classes: int):
        super().__init__()
        self.image_size, self.step, self.num_classes = image_size, step, num_classes
        self.must_fit(image_size)

    @property
    @abstractmethod
    def ends(self) -> tuple[nn.Module, ...]:
        """What sees pixels, and what says them."""

    @abstractmethod
    def forward(
        self,
        noisy: Float[Tensor, "N C H W"],
        level: Int[Tensor, " N"] | Float[Tensor, " N"] | None = None,
        label: Int[Tensor, " N"] | None = None,
        context: Float[Tensor, "N L E"] | None = None,
        mask: Bool[Tensor, "N L"] | None = None,
    ) -> Float[Tensor, "N C H W"]:
        """What the noise is thought to be. Left out, `level` is 0 and `label` any class; `mask` is True at the tokens
        that belong to the text."""

    def unless_told(self, noisy: Tensor, level: Tensor | None, label: Tensor | None) -> tuple[Tensor, Tensor]:
        """Level 0 and any class, where they were left out."""
        if level is None:
            level = torch.zeros(len(noisy), dtype=torch.int64, device=noisy.device)
        return level, torch.full_like(level, self.num_classes).long() if label is None else label

    def must_fit(self, size: tuple[int, int]) -> None:
        """Raise UserError for a (height, width) whose sides are no multiples of `step`."""
        if any(side % self.step or not side for side in size):
            near = " x ".join(str(max(1, round(side / self.step)) * self.step) for side in reversed(size))
            raise UserError(
                f"Images of {size[1]} x {size[0]} px do not fit the network: "
                f"give sides that are multiples of {self.step}, such as {near}."
            )


class Decoder(nn.Module, ABC):
    """An encoder's levels, fine to coarse -> one map [N, channels, h, w] of the size of the finest level it uses.

    Args:
        in_channels: of each of the encoder's levels, one or more.
        finest: index of the finest level it uses; those before it are left aside.

    Raises:
        UserError: the encoder has no such level.
    """

    figure: ClassVar[str] = ""  # of the notes
    channels: int  # of the map it gives

    def __init__(self, in_channels: tuple[int, ...], finest: int):
        super().__init__()
        if not 0 <= finest < len(in_channels):
            raise UserError(
                f"The decoder's finest level cannot be {finest}: the encoder has {len(in_channels)}, "
                f"from 0, the finest, to {len(in_channels) - 1}."
            )
        self.finest = finest

    @abstractmethod
    def forward(self, levels: list[Tensor]) -> Float[Tensor, "N D h w"]: ...
