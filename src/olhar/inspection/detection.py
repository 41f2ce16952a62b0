"""How a detector comes to its answers: anchors, which of them took which object, where it sees any, what NMS removed.

All functions look at images as the model sees them, on its canvas, and boxes are in its pixels.

Shapes: C channels, h w the canvas, A anchors, k anchors a position, n objects, P anchors with an object, m candidates.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int, UInt8
from torch import Tensor

from olhar.data.sample import Batch
from olhar.objectives.detection import Detection
from olhar.ops.anchors import Grid
from olhar.ops.answers import candidates
from olhar.ops.boxes import iou, removed_by, suppress
from olhar.ops.matching import IGNORED
from olhar.tasks.detect import Detect


@dataclass(frozen=True)
class Assignment:
    """Which anchors answer for which objects of one image, as training has it.

    anchors: those with an object; object: the number of each one's; level: that each stands on; iou: with its object.
    ignored: how many anchors nobody asks.
    """

    id: str
    image: UInt8[Tensor, "C h w"]
    boxes: Float[Tensor, "n 4"]
    labels: Int[Tensor, " n"]
    anchors: Float[Tensor, "P 4"]
    object: Int[Tensor, " P"]
    level: Int[Tensor, " P"]
    iou: Float[Tensor, " P"]
    ignored: int


@dataclass(frozen=True)
class Suppressed:
    """Every box of one image whose score reaches the threshold, the kept ones first, then the surest.

    owner: of each the place of the box it was removed for, its own where it was kept; iou: with that box.
    """

    id: str
    image: UInt8[Tensor, "C h w"]
    boxes: Float[Tensor, "m 4"]
    scores: Float[Tensor, " m"]
    labels: Int[Tensor, " m"]
    owner: Int[Tensor, " m"]
    iou: Float[Tensor, " m"]

    @property
    def kept(self) -> int:
        """The first so many are the answers."""
        return int((self.owner == torch.arange(len(self.owner))).sum())


def at_position(grid: Grid, row: float = 0.5, column: float = 0.5) -> list[Float[Tensor, "k 4"]]:
    """Of each level the k anchors of one position (Figure 2.12b), at these shares of height and width."""
    found = []
    for level, start in zip(grid.levels, grid.starts, strict=False):
        y, x = min(int(row * level.height), level.height - 1), min(int(column * level.width), level.width - 1)
        first = start + (y * level.width + x) * len(level.shapes)
        found.append(grid.boxes[first : first + len(level.shapes)])
    return found


def assignments(task: Detect, batch: Batch) -> list[Assignment]:
    """Which anchor took which object in each image of a batch with boxes (Figure 2.12c)."""
    grid, targets = task.grid(batch), task.targets(batch)
    ends, found = torch.tensor(grid.starts[1:]), []
    for i, id in enumerate(batch["id"]):
        own = targets.image == i
        anchor, boxes = targets.anchor[own].cpu(), batch["boxes"][i].cpu()
        number = targets.owner[i].cpu()[anchor]
        found.append(
            Assignment(
                id=id,
                image=batch["image"][i].cpu(),
                boxes=boxes,
                labels=batch["box_labels"][i].cpu(),
                anchors=grid.boxes[anchor],
                object=number,
                level=torch.bucketize(anchor, ends, right=True),
                iou=iou(grid.boxes[anchor], boxes[number]),
                ignored=int((targets.owner[i] == IGNORED).sum()),
            )
        )
    return found


def objectness(output: Detection, grid: Grid) -> list[Float[Tensor, "N H W"]]:
    """Of each level p(object) at every position: that of its surest anchor, of each image of a batch."""
    p = torch.sigmoid(output.object_logits).cpu()
    parts = zip(grid.levels, grid.starts, grid.starts[1:], strict=False)
    return [p[:, a:b].view(len(p), one.height, one.width, len(one.shapes)).amax(3) for one, a, b in parts]


def suppressed(task: Detect, output: Detection, batch: Batch) -> list[Suppressed]:
    """What non-maximum suppression looked at in each image of a batch, and for which box it removed what it did."""
    rows = []
    for i, (boxes, scores) in enumerate(zip(output.mode().cpu(), output.scores.cpu(), strict=True)):
        found = candidates(boxes, scores, task.threshold)
        kept = suppress(found.boxes, found.scores, found.labels, task.overlap)
        owner = removed_by(found.boxes, found.labels, kept, task.overlap)
        gone = torch.ones(len(owner), dtype=torch.bool)
        gone[kept] = False
        rest = gone.nonzero().flatten()
        order = torch.cat([kept, rest[found.scores[rest].argsort(descending=True, stable=True)]])
        place = torch.empty_like(order)
        place[order] = torch.arange(len(order))
        rows.append(
            Suppressed(
                id=batch["id"][i],
                image=batch["image"][i].cpu(),
                boxes=found.boxes[order],
                scores=found.scores[order],
                labels=found.labels[order],
                owner=place[owner[order]],
                iou=iou(found.boxes[order], found.boxes[owner[order]]),
            )
        )
    return rows
