"""Classification: the model outputs one score a class (Figures 2.3, 2.4).

One label an image: the scores are the logits of a categorical (softmax, Eq 1.13; cross-entropy, Eq 1.15).
Several labels an image: each score is the logit of a Bernoulli of its own (sigmoid, Eq 1.14).

Shapes: N batch, C channels, H W space, K classes.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torchmetrics import Metric

from olhar import metrics
from olhar.data.sample import Batch
from olhar.objectives.bernoulli import Bernoulli
from olhar.objectives.categorical import Categorical
from olhar.tasks.task import Prediction, Task, pixel_settings


@dataclass(frozen=True)
class ClassPrediction(Prediction):
    """`labels` holds the likeliest class, or for several labels an image all whose probability passes 1/2."""

    labels: tuple[str, ...]
    probabilities: tuple[float, ...]
    class_names: tuple[str, ...]
    multilabel: bool = False

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The k likeliest classes with their probabilities, likeliest first."""
        ranked = sorted(zip(self.class_names, self.probabilities, strict=True), key=lambda pair: -pair[1])
        return ranked[:k]

    def row(self) -> dict[str, Any]:
        probabilities = [round(p, 6) for p in self.probabilities]
        if self.multilabel:
            return {"id": self.id, "labels": list(self.labels), "probabilities": probabilities}
        best = max(self.probabilities)
        return {"id": self.id, "label": self.labels[0], "probability": best, "probabilities": probabilities}


class Classify(Task[Categorical | Bernoulli]):
    """Args:
    model: image [N, C, H, W] -> scores [N, K].
    class_names: K names; their order is the order of the scores.
    multilabel: several labels an image.
    label_smoothing: ε of Eq 1.18's soft targets.
    class_weights: K weights whose mean over the training set is 1; None weighs all alike.
    """

    name: ClassVar[str] = "classify"
    watch_mode: ClassVar[str] = "max"

    def __init__(
        self,
        model: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        class_names: Sequence[str],
        multilabel: bool = False,
        label_smoothing: float = 0.0,
        class_weights: Sequence[float] | None = None,
    ):
        super().__init__(model, mean, std)
        self.class_names = tuple(class_names)
        self.multilabel = multilabel
        self.label_smoothing = label_smoothing
        weights = None if class_weights is None else torch.tensor(class_weights)
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", weights, persistent=False)

    @property
    def watch(self) -> str:
        return "mean_average_precision" if self.multilabel else "accuracy"

    @property
    def chance(self) -> float:
        """The loss of a model that has learnt nothing: ln K, or ln 2 a label."""
        return math.log(2) * len(self.class_names) if self.multilabel else math.log(len(self.class_names))

    def output(self, batch: Batch) -> Categorical | Bernoulli:
        logits = self.model(self.normalise(batch["image"]))
        if self.multilabel:
            return Bernoulli(logits, pos_weight=self.class_weights)
        return Categorical(logits, label_smoothing=self.label_smoothing, class_weights=self.class_weights)

    def losses(self, output: Categorical | Bernoulli, batch: Batch) -> dict[str, Tensor]:
        return {"loss": output.nll(self.truth(batch)).mean()}

    def truth(self, batch: Batch) -> Tensor:
        return batch["labels"] if self.multilabel else batch["label"]

    def decode(self, output: Categorical | Bernoulli, batch: Batch) -> list[Prediction]:
        probabilities = output.probabilities.float().cpu()
        chosen = (
            probabilities >= 0.5
            if self.multilabel
            else nn.functional.one_hot(probabilities.argmax(1), len(self.class_names))
        )
        return [
            ClassPrediction(
                id=batch["id"][i],
                labels=tuple(self.class_names[k] for k in chosen[i].nonzero().flatten().tolist()),
                probabilities=tuple(probabilities[i].tolist()),
                class_names=self.class_names,
                multilabel=self.multilabel,
            )
            for i in range(len(probabilities))
        ]

    def describe_truth(self, batch: Batch) -> list[Any]:
        if self.multilabel:
            return [[self.class_names[k] for k in row.nonzero().flatten().tolist()] for row in batch["labels"]]
        return [self.class_names[k] for k in batch["label"].tolist()]

    def metrics(self) -> dict[str, Metric]:
        make = metrics.multilabel if self.multilabel else metrics.classification
        return make(len(self.class_names))

    def update(self, metrics: dict[str, Metric], output: Categorical | Bernoulli, batch: Batch) -> None:
        truth = self.truth(batch)
        for metric in metrics.values():
            metric.update(output.probabilities.float(), truth.long())

    def nll(self, output: Categorical | Bernoulli, batch: Batch) -> Tensor:
        """-log p of the truth for each image, unweighted and unsmoothed: what the report shows."""
        plain = Bernoulli(output.logits) if isinstance(output, Bernoulli) else Categorical(output.logits)
        return plain.nll(self.truth(batch))

    def settings(self) -> dict[str, Any]:
        weights = self.class_weights
        return pixel_settings(self) | {
            "class_names": list(self.class_names),
            "multilabel": self.multilabel,
            "label_smoothing": self.label_smoothing,
            "class_weights": None if weights is None else weights.tolist(),
        }
