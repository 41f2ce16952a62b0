"""Segmentation: the model outputs one score a class for every pixel (section 2.4, Figure 2.10).

The scores of a pixel are the logits of a categorical (Eq 1.13); the loss is its cross-entropy (Eq 1.15), averaged
over the pixels whose class is known.

Shapes: N batch, C channels, H W space, K classes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torchmetrics import Metric

from olhar import metrics
from olhar.data.sample import IGNORE, Batch, Colour
from olhar.objectives.categorical import Categorical
from olhar.objectives.overlap import dice_loss
from olhar.ops.image import overlay
from olhar.ops.masks import confusion_cells, known_target, shares
from olhar.tasks.pixel_task import PixelTask
from olhar.tasks.task import Pictures, Prediction, pixel_settings


@dataclass(frozen=True)
class MaskPrediction(Prediction):
    """`mask` holds the likeliest class of each pixel, uint8 [H, W]."""

    mask: UInt8[Tensor, "H W"]
    class_names: tuple[str, ...]
    palette: tuple[Colour, ...]

    def areas(self) -> dict[str, float]:
        """The share of the image that each class covers, of those that are there, the largest first."""
        return shares(self.mask, self.class_names)

    def row(self) -> dict[str, Any]:
        return {"id": self.id, "areas": {name: round(share, 4) for name, share in self.areas().items()}}


class Segment(PixelTask[Categorical]):
    """Args:
    model: image [N, C, H, W] -> scores [N, K, H, W].
    class_names: K names; their order is the order of the scores.
    palette: the colour of each class in pictures.
    class_weights: K weights whose mean over the training pixels is 1; None weighs all alike.
    dice: how much of the Dice loss is added. It is not a likelihood: it measures how regions overlap.
    """

    name: ClassVar[str] = "segment"
    watch: ClassVar[str] = "miou"
    watch_mode: ClassVar[str] = "max"

    def __init__(
        self,
        model: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        class_names: Sequence[str],
        palette: Sequence[Sequence[int]],
        class_weights: Sequence[float] | None = None,
        dice: float = 0.0,
    ):
        super().__init__(model, mean, std)
        self.class_names = tuple(class_names)
        self.palette = tuple((int(r), int(g), int(b)) for r, g, b in palette)
        self.dice = dice
        weights = None if class_weights is None else torch.tensor(class_weights)
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", weights, persistent=False)

    @property
    def chance(self) -> float:
        """The loss of a model that has learnt nothing: ln K a pixel."""
        return math.log(len(self.class_names))

    def output(self, batch: Batch) -> Categorical:
        return Categorical(self.model(self.normalise(batch["image"])), class_weights=self.class_weights)

    def losses(self, output: Categorical, batch: Batch) -> dict[str, Tensor]:
        target, known = known_target(batch["mask"], IGNORE)
        nll = (output.nll(target) * known).sum() / known.sum().clamp_min(1)
        if not self.dice:
            return {"loss": nll}
        overlap = dice_loss(output.probabilities, target, known)
        return {"loss": nll + self.dice * overlap, "nll": nll, "dice": overlap}

    def nll(self, output: Categorical, batch: Batch) -> Float[Tensor, " N"]:
        """The mean over the known pixels of each image."""
        target, known = known_target(batch["mask"], IGNORE)
        nll = Categorical(output.logits).nll(target) * known
        return nll.flatten(1).sum(1) / known.flatten(1).sum(1).clamp_min(1)

    def values(self, output: Categorical) -> Float[Tensor, "N K H W"]:
        return output.probabilities

    def decode(self, output: Categorical, batch: Batch) -> list[Prediction]:
        # softmax keeps the order of the scores: without it the answer comes in a fifth of the time
        masks = output.mode().to(torch.uint8).cpu()
        return [self.prediction(id, mask[None]) for id, mask in zip(batch["id"], masks, strict=True)]

    def settle(self, answer: Float[Tensor, "N K H W"]) -> UInt8[Tensor, "N 1 H W"]:
        return answer.argmax(1, keepdim=True).to(torch.uint8)

    def prediction(self, id: str, values: UInt8[Tensor, "1 H W"]) -> Prediction:
        return MaskPrediction(id, values[0], self.class_names, self.palette)

    def describe_truth(self, batch: Batch) -> list[Any]:
        return [shares(mask, self.class_names) for mask in batch["mask"].cpu()]

    def details(self, output: Categorical, batch: Batch) -> list[dict[str, Any]]:
        """Of each image its confusion: [true class, predicted class, pixels] where there are any."""
        target, known = known_target(batch["mask"], IGNORE)
        images = zip(target, output.mode(), known, strict=True)
        return [{"confusion": confusion_cells(*image, len(self.class_names))} for image in images]

    def draw(self, output: Categorical, batch: Batch) -> list[Pictures]:
        masks = {"prediction": output.mode().to(torch.uint8)} | ({"truth": batch["mask"]} if "mask" in batch else {})
        return [
            {"image": image} | {name: overlay(image, mask[i].cpu(), self.palette) for name, mask in masks.items()}
            for i, image in enumerate(batch["image"].cpu())
        ]

    def metrics(self) -> dict[str, Metric]:
        return metrics.segmentation(len(self.class_names))

    def update(self, metrics: dict[str, Metric], output: Categorical, batch: Batch) -> None:
        for metric in metrics.values():
            metric.update(output.mode(), batch["mask"].long())

    def settings(self) -> dict[str, Any]:
        weights = None if self.class_weights is None else self.class_weights.tolist()
        own = {"class_names": list(self.class_names), "palette": [list(c) for c in self.palette]}
        return pixel_settings(self) | own | {"class_weights": weights, "dice": self.dice}
