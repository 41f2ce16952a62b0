"""The contract between a task and everything that trains, evaluates or looks at one.

A task joins a model, an objective and a metric. Its model is f(x; θ); `output` wraps what it returns as the
distribution p(· | x; θ) whose negative log-likelihood the training loop makes smaller (Eq 1.8).
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Generic, TypeVar

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torchmetrics import Metric

from olhar.data.sample import Batch


@dataclass(frozen=True)
class Prediction(ABC):
    """What a task says about one image."""

    id: str

    @abstractmethod
    def row(self) -> dict[str, Any]:
        """What tables, CSV and JSON show: plain values only."""


Output = TypeVar("Output")
Pictures = dict[str, Tensor]  # what is shown of one image side by side, by name: uint8 [C, H, W]


class Task(nn.Module, ABC, Generic[Output]):
    """forward(batch) -> {"loss": scalar, parts}; predict(batch) -> list of predictions.

    `model` is what is trained; frozen helpers live beside it. `mean` and `std` turn uint8 pixels into what the
    model sees; they are buffers, so they travel with the weights. Nothing here depends on `self.training` but
    the layers' own behaviour.
    """

    name: ClassVar[str]
    watch: str  # the validation metric by which the best weights are chosen
    watch_mode: ClassVar[str]  # "max" or "min"
    tuned: ClassVar[bool] = False  # its answers depend on a number that is chosen on validation after the training
    chance: float | None = None  # the loss of a model that has learnt nothing, in nats, where it is known
    unlearnt: ClassVar[str] = (  # what is said where the loss stays there
        "the model learns nothing. Likely a learning rate far too high or too low, or labels that do not belong to the "
        "images. Try --optim.lr ten times smaller, and `olhar check`."
    )

    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, mean: Sequence[float], std: Sequence[float]):
        super().__init__()
        self.model = model
        # of pixel values in [0, 1], one number a channel
        self.register_buffer("mean", torch.tensor(mean).view(1, -1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(1, -1, 1, 1))

    def normalise(self, image: Tensor) -> Float[Tensor, "N C H W"]:
        """uint8 pixels -> zero mean, unit variance over the training set. Keeps the memory format."""
        return (image.to(self.mean.dtype) / 255.0 - self.mean) / self.std

    @abstractmethod
    def output(self, batch: Batch) -> Output:
        """The distribution p(· | x; θ) of the batch: one pass of the model."""

    @abstractmethod
    def losses(self, output: Output, batch: Batch) -> dict[str, Tensor]:
        """{"loss": mean over the batch, in nats, and any parts of it worth logging}."""

    @abstractmethod
    def decode(self, output: Output, batch: Batch) -> list[Prediction]:
        """From the distribution to answers a person can read, one an image."""

    @abstractmethod
    def metrics(self) -> dict[str, Metric]:
        """Fresh metrics, by name. `update` feeds them."""

    @abstractmethod
    def update(self, metrics: dict[str, Metric], output: Output, batch: Batch) -> None:
        """Add one batch to the metrics."""

    @abstractmethod
    def nll(self, output: Output, batch: Batch) -> Tensor:
        """-log p of the truth, one number an image [N], in nats: the objective without weights or smoothing."""

    @abstractmethod
    def describe_truth(self, batch: Batch) -> list[Any]:
        """The truth of each image as a person would write it: plain values, to stand beside a prediction's row."""

    def details(self, output: Output, batch: Batch) -> list[dict[str, Any]]:
        """What else evaluation/<split>.jsonl keeps of each image, for the report: plain values."""
        return [{} for _ in batch["id"]]

    def draw(self, output: Output, batch: Batch) -> list[Pictures]:
        """What a person wants to see of each image: itself, and where it is a picture the answer and the truth."""
        return [{"image": image} for image in batch["image"].cpu()]

    def tune(self, values: dict[str, float]) -> None:
        """Where `tuned`: take from the figures of the best weights on validation what only they can say."""

    @abstractmethod
    def settings(self) -> dict[str, Any]:
        """Plain values from which, with the model, `TASKS[name]` makes this task again (they go to run.json)."""

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        return self.losses(self.output(batch), batch)

    def predict(self, batch: Batch) -> list[Prediction]:
        """Answers for a batch that need not have targets."""
        return self.decode(self.output(batch), batch)


def pixel_settings(task: Task) -> dict[str, Any]:
    """The part of every task's settings that says how its images are normalised."""
    return {"mean": task.mean.flatten().tolist(), "std": task.std.flatten().tolist()}
