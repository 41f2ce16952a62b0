"""Regression: the model outputs the mean of a Gaussian (Eq 1.9), and if asked its variance too.

The targets are standardised by the training set's mean and deviation, so that one learning rate serves prices
and millimetres alike; predictions and metrics are in the target's own units.

Shapes: N batch, C channels, H W space.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor, nn
from torchmetrics import Metric

from olhar import metrics
from olhar.data.sample import Batch
from olhar.objectives.gaussian import Gaussian
from olhar.tasks.task import Prediction, Task, pixel_settings


@dataclass(frozen=True)
class NumberPrediction(Prediction):
    """`deviation` is the standard deviation the model gives, where its variance is learned."""

    value: float
    deviation: float | None = None
    target_name: str = "value"

    def row(self) -> dict[str, Any]:
        return {"id": self.id, "value": self.value, "deviation": self.deviation}


class Regress(Task[Gaussian]):
    """Args:
    model: image [N, C, H, W] -> [N, 1], the mean, or [N, 2], the mean and the log of the variance.
    target_name: what is regressed, for people.
    target_mean, target_std: of the training targets, in their units.
    variance: "fixed" (1 in standardised units: least squares) or "learned".
    """

    name: ClassVar[str] = "regress"
    watch: ClassVar[str] = "mae"
    watch_mode: ClassVar[str] = "min"
    # The entropy of a standard normal: what predicting the mean of the targets always gives.
    chance: ClassVar[float] = 0.5 * math.log(2 * math.pi * math.e)

    def __init__(
        self,
        model: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        target_name: str = "value",
        target_mean: float = 0.0,
        target_std: float = 1.0,
        variance: str = "fixed",
    ):
        super().__init__(model, mean, std)
        self.target_name = target_name
        self.target_mean = target_mean
        self.target_std = target_std
        self.variance = variance

    def output(self, batch: Batch) -> Gaussian:
        numbers = self.model(self.normalise(batch["image"]))
        if self.variance == "learned":
            return Gaussian(numbers[:, 0], log_variance=numbers[:, 1])
        return Gaussian(numbers[:, 0])

    def truth(self, batch: Batch) -> Tensor:
        """The target in standardised units, [N]."""
        return (batch["target"] - self.target_mean) / self.target_std

    def losses(self, output: Gaussian, batch: Batch) -> dict[str, Tensor]:
        return {"loss": output.nll(self.truth(batch)).mean()}

    def value(self, output: Gaussian) -> Tensor:
        """The prediction in the target's units, [N]."""
        return output.mode().float() * self.target_std + self.target_mean

    def decode(self, output: Gaussian, batch: Batch) -> list[Prediction]:
        values = self.value(output).tolist()
        deviations: list[float | None] = [None] * len(values)
        if self.variance == "learned":
            deviations = (output.variance.float().sqrt() * self.target_std).tolist()
        return [
            NumberPrediction(id, value, deviation, self.target_name)
            for id, value, deviation in zip(batch["id"], values, deviations, strict=True)
        ]

    def describe_truth(self, batch: Batch) -> list[Any]:
        return batch["target"].tolist()

    def metrics(self) -> dict[str, Metric]:
        return metrics.regression()

    def update(self, metrics: dict[str, Metric], output: Gaussian, batch: Batch) -> None:
        for metric in metrics.values():
            metric.update(self.value(output), batch["target"].float())

    def nll(self, output: Gaussian, batch: Batch) -> Tensor:
        return output.nll(self.truth(batch))

    def settings(self) -> dict[str, Any]:
        return pixel_settings(self) | {
            "target_name": self.target_name,
            "target_mean": self.target_mean,
            "target_std": self.target_std,
            "variance": self.variance,
        }
