"""What is said and known of the boxes of a batch: answers, truth and pictures, from the canvas to the image as it came.

Shapes: n boxes of one image.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from jaxtyping import Float
from torch import Tensor

from olhar.data.box_view import in_image, views
from olhar.data.sample import Batch, Colour
from olhar.metrics_detection import Answers, Truth
from olhar.ops.answers import Kept
from olhar.ops.outline import outlined
from olhar.tasks.task import Pictures, Prediction


@dataclass(frozen=True)
class BoxPrediction(Prediction):
    """The objects of one image, the surest first. `boxes` are x0 y0 x1 y1 in its own pixels."""

    boxes: Float[Tensor, "n 4"]
    scores: tuple[float, ...]
    labels: tuple[str, ...]
    class_names: tuple[str, ...]

    def counts(self) -> dict[str, int]:
        """How many of each class there are, of those that are there, most first."""
        return dict(Counter(self.labels).most_common())

    def row(self) -> dict[str, Any]:
        boxes = [[round(v, 1) for v in box] for box in self.boxes.tolist()]
        scores = [round(score, 4) for score in self.scores]
        return {"id": self.id, "labels": list(self.labels), "scores": scores, "boxes": boxes}


def predictions(found: Sequence[Kept], batch: Batch, class_names: tuple[str, ...]) -> list[Prediction]:
    """What was found in each image of a batch, in words."""
    rows: list[Prediction] = []
    for id, kept, at in zip(batch["id"], found, views(batch), strict=True):
        labels = tuple(class_names[k] for k in kept.labels.tolist())
        rows.append(BoxPrediction(id, in_image(kept.boxes, at), tuple(kept.scores.tolist()), labels, class_names))
    return rows


def answers(found: Sequence[Kept], batch: Batch) -> list[Answers]:
    """The same as the metrics want it."""
    rows = zip(found, views(batch), strict=True)
    return [Answers(in_image(k.boxes, at).numpy(), k.scores.numpy(), k.labels.numpy()) for k, at in rows]


def truths(batch: Batch) -> list[Truth]:
    """The objects of each image of a batch in its own pixels."""
    rows = zip(batch["boxes"], batch["box_labels"], batch["box_ignored"], views(batch), strict=True)
    return [
        Truth(in_image(boxes.cpu(), at).numpy(), labels.cpu().numpy(), ignored.cpu().numpy())
        for boxes, labels, ignored, at in rows
    ]


def drawn(found: Sequence[Kept], batch: Batch, colours: Sequence[Colour]) -> list[Pictures]:
    """Each image of a batch as it is, with what was found, and with what is there."""
    strips: list[Pictures] = []
    for i, (image, kept) in enumerate(zip(batch["image"].cpu(), found, strict=True)):
        said = outlined(image, kept.boxes, [colours[k] for k in kept.labels.tolist()])
        strips.append({"image": image, "prediction": said})
        if "boxes" in batch:
            own = [colours[k] for k in batch["box_labels"][i].tolist()]
            strips[i]["truth"] = outlined(image, batch["boxes"][i].cpu(), own)
    return strips
