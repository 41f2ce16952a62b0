"""The contract of tasks that answer for every place of an image: with a class, or a colour.

Shapes: N batch, C channels, P planes or numbers a place, Q bytes a place, H W space.
"""

from abc import abstractmethod
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float, UInt8
from torch import Tensor

from olhar.data.sample import Batch
from olhar.tasks.task import Output, Prediction, Task


@dataclass(frozen=True)
class ImagePrediction(Prediction):
    """`image` is the restored one, uint8 [C, H, W]."""

    image: UInt8[Tensor, "C H W"]

    def row(self) -> dict[str, Any]:
        return {"id": self.id, "height": self.image.shape[1], "width": self.image.shape[2]}


class PixelTask(Task[Output]):
    """A task whose answers can be asked for part by part and joined, so that an image may be as large as one likes.

    A new image goes through prepare -> batch_of -> answer, for each part -> settle -> complete -> prediction.
    """

    def prepare(
        self, image: UInt8[Tensor, "C H W"], alpha: UInt8[Tensor, "1 H W"] | None = None
    ) -> UInt8[Tensor, "P h w"]:
        """A new image as the planes that are asked about, as large as the answer is to be. `alpha` is 0 where the file
        is transparent."""
        return image

    def complete(self, values: UInt8[Tensor, "Q H W"], planes: UInt8[Tensor, "P H W"]) -> UInt8[Tensor, "Q H W"]:
        """The settled answer with what is known of it anyway, at the image's own size."""
        return values

    def batch_of(self, planes: UInt8[Tensor, "N P H W"]) -> Batch:
        """Planes of `prepare`, or tiles of them, as a batch."""
        return {"id": [""] * len(planes), "image": planes}

    def answer(self, batch: Batch) -> Float[Tensor, "N P H W"]:
        """What predicting in parts asks of each part."""
        return self.values(self.output(batch))

    @abstractmethod
    def values(self, output: Output) -> Float[Tensor, "N P H W"]:
        """Numbers that may be blended and resized: probabilities of P classes, or P colour channels of 0..255."""

    @abstractmethod
    def settle(self, answer: Float[Tensor, "N P H W"]) -> UInt8[Tensor, "N Q H W"]:
        """What is kept of an answer: the likeliest class, or rounded colours."""

    @abstractmethod
    def prediction(self, id: str, values: UInt8[Tensor, "Q H W"]) -> Prediction:
        """The settled answer for a whole image."""

    def decode(self, output: Output, batch: Batch) -> list[Prediction]:
        values = self.settle(self.values(output)).cpu()
        return [self.prediction(id, value) for id, value in zip(batch["id"], values, strict=True)]
