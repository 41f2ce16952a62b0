"""Detection: the model outputs 1 + 4 + c numbers for every anchor (section 2.4, Figures 2.12 and 2.13).

Boxes are in pixels of the canvas here, in those of the image as it came in every answer and every metric.

Shapes: N batch, A anchors, c classes, n boxes of one image.
"""

from collections.abc import Iterable, Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric

from olhar.data.palette import palette
from olhar.data.sample import Batch, Sample
from olhar.metrics_detection import BoxPrecision, as_plain
from olhar.models.detector import Detector
from olhar.objectives.detection import Balance, BoxLoss, Detection
from olhar.ops.anchors import Grid, grid_over
from olhar.ops.answers import Kept, select
from olhar.ops.matching import Assigned, Objects, Targets, assign, targets
from olhar.tasks.box_task import answers, drawn, predictions, truths
from olhar.tasks.task import Pictures, Prediction, Task, pixel_settings

# IoU from which on an anchor answers for an object (the notes' t_IoU), and from which on it is not asked.
POSITIVE, NEGATIVE = 0.5, 0.4
FAINTEST, MOST = 0.01, 300  # answers that count for precision and recall: from which score on, how many an image


class Detect(Task[Detection]):
    """Args:
    model: image [N, C, H, W] -> outputs [N, A, 5 + c].
    class_names: c names; their order is the order of the outputs.
    sizes: of each level of the model, the sizes (√area, px of the canvas) of its anchors.
    proportions: of all anchors, height over width.
    threshold: score from which on a box is an answer; chosen on validation once the training is done.
    overlap: IoU beyond which non-maximum suppression takes two boxes for one object.
    balance, box_loss: see olhar.objectives.detection.
    """

    name: ClassVar[str] = "detect"
    watch: ClassVar[str] = "ap"
    watch_mode: ClassVar[str] = "max"
    tuned: ClassVar[bool] = True

    def __init__(
        self,
        model: Detector,
        mean: Sequence[float],
        std: Sequence[float],
        class_names: Sequence[str],
        sizes: Sequence[Sequence[float]],
        proportions: Sequence[float],
        threshold: float = 0.5,
        overlap: float = 0.5,
        balance: Balance = "focal",
        box_loss: BoxLoss = "gaussian",
    ):
        super().__init__(model, mean, std)
        self.class_names, self.strides = tuple(class_names), model.strides
        self.sizes, self.proportions = tuple(map(tuple, sizes)), tuple(proportions)
        self.threshold, self.overlap = threshold, overlap
        self.balance: Balance = balance
        self.box_loss: BoxLoss = box_loss
        self.assigned: Assigned | None = None  # of images whose boxes never change; see `remember`

    def grid(self, batch: Batch) -> Grid:
        """The anchors over the images of a batch."""
        size = (batch["image"].shape[2], batch["image"].shape[3])
        return grid_over(size, self.strides, self.sizes, self.proportions)

    def output(self, batch: Batch) -> Detection:
        outputs = self.model(self.normalise(batch["image"]))
        return Detection(outputs, self.grid(batch).boxes.to(outputs.device))

    def targets(self, batch: Batch) -> Targets:
        """The 1 + 4 + c values that each anchor should have given."""
        objects = Objects.of(batch["boxes"], batch["box_labels"], batch["box_ignored"])
        grid, device = self.grid(batch), objects.boxes.device
        owner = self.assigned and self.assigned.owner(batch["id"], len(grid), device)
        if owner is None:
            owner = assign(grid, objects, POSITIVE, NEGATIVE)
        return targets(grid, objects, owner, len(self.class_names))

    def remember(self, samples: Iterable[Sample], canvas: tuple[int, int]) -> None:
        """Assign now, once, the anchors of images that are always seen alike on this canvas. No pixels are needed."""
        grid = grid_over(canvas, self.strides, self.sizes, self.proportions)
        self.assigned = self.assigned or Assigned(len(grid))
        for sample in samples:
            objects = Objects.of([sample["boxes"]], [sample["box_labels"]], [sample["box_ignored"]])
            self.assigned.keep([sample["id"]], assign(grid, objects, POSITIVE, NEGATIVE))

    def losses(self, output: Detection, batch: Batch) -> dict[str, Tensor]:
        parts = output.losses(self.targets(batch), self.balance, self.box_loss)
        return {"loss": torch.stack(list(parts.values())).sum(), **parts}

    def nll(self, output: Detection, batch: Batch) -> Float[Tensor, " N"]:
        """Of all anchors of an image, unbalanced."""
        return output.nll(self.targets(batch))

    def found(self, output: Detection, least: float) -> list[Kept]:
        """The answers of each image whose score is at least this, on its canvas."""
        pairs = zip(output.mode().cpu(), output.scores.cpu(), strict=True)
        return [select(boxes, scores, least, self.overlap, MOST) for boxes, scores in pairs]

    def decode(self, output: Detection, batch: Batch) -> list[Prediction]:
        return predictions(self.found(output, self.threshold), batch, self.class_names)

    def describe_truth(self, batch: Batch) -> list[Any]:
        return [as_plain(truth) for truth in truths(batch)]

    def details(self, output: Detection, batch: Batch) -> list[dict[str, Any]]:
        """Of each image all answers, also those below the threshold, and its height and width."""
        rows = zip(answers(self.found(output, FAINTEST), batch), batch["size"].tolist(), strict=True)
        return [{"answers": as_plain(some), "size": size} for some, size in rows]

    def draw(self, output: Detection, batch: Batch) -> list[Pictures]:
        return drawn(self.found(output, self.threshold), batch, palette(self.class_names))

    def metrics(self) -> dict[str, Metric]:
        return {"boxes": BoxPrecision(len(self.class_names))}

    def update(self, metrics: dict[str, Metric], output: Detection, batch: Batch) -> None:
        metrics["boxes"].update(answers(self.found(output, FAINTEST), batch), truths(batch))

    def tune(self, values: dict[str, float]) -> None:
        """The threshold of the greatest F1 on validation."""
        self.threshold = float(f"{values['threshold']:.4g}")

    def settings(self) -> dict[str, Any]:
        anchors = {"sizes": [list(own) for own in self.sizes], "proportions": list(self.proportions)}
        own = {"class_names": list(self.class_names), "threshold": self.threshold, "overlap": self.overlap}
        return pixel_settings(self) | own | anchors | {"balance": self.balance, "box_loss": self.box_loss}
