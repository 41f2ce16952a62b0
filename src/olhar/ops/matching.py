"""Which anchor answers for which object, and with which numbers (Figure 2.12c): 1 + 4 + c values an anchor.

The first value says whether there is an object, the next four how the anchor must move and grow to become its box,
the last c which classes it is of. Where there is no object only the first value counts.

Overlaps are computed for rows and columns apart: the anchors of a level are the same few shapes at every position, so
their common width with an object depends on the column alone and their common height on the row. What is left for
each anchor and object is one multiplication.

Shapes: N images, G objects of the one that has most, n objects of one, A anchors, L levels, P anchors with an object,
c classes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from olhar.ops.anchors import Grid
from olhar.ops.boxes import Boxes, area, from_centre, to_centre

BACKGROUND, IGNORED = -1, -2  # in the place of an object's number: no object, or nobody is asked
# A network that has learnt nothing must not overflow: e^4 = 55 times the anchor is larger than any image asks for.
LARGEST_GROWTH = 4.0


def encode(boxes: Boxes, anchors: Boxes) -> Float[Tensor, "... 4"]:
    """How each anchor becomes its box: (dx / w, dy / h, log w'/w, log h'/h), w and h the anchor's.

    dx and dy are from centre to centre. The notes do not write the four values down; these are those of Girshick et
    al. 2014 (arXiv 1311.2524, appendix C). Boxes need an area.
    """
    box, anchor = to_centre(boxes), to_centre(anchors)
    return torch.cat([(box[..., :2] - anchor[..., :2]) / anchor[..., 2:], (box[..., 2:] / anchor[..., 2:]).log()], -1)


def decode(offsets: Float[Tensor, "... 4"], anchors: Boxes) -> Boxes:
    """The boxes that `encode` came from; growth beyond e^LARGEST_GROWTH is cut."""
    anchor = to_centre(anchors)
    centre = anchor[..., :2] + offsets[..., :2] * anchor[..., 2:]
    return from_centre(torch.cat([centre, anchor[..., 2:] * offsets[..., 2:].clamp(max=LARGEST_GROWTH).exp()], -1))


@dataclass(frozen=True, eq=False)
class Objects:
    """The objects of a batch of images side by side; an image with fewer than G ends in boxes of area 0.

    ignored: objects that are there but must be neither found nor missed (COCO's crowds, VOC's difficult ones).
    """

    boxes: Float[Tensor, "N G 4"]
    labels: Int[Tensor, "N G"]
    ignored: Bool[Tensor, "N G"]

    @classmethod
    def of(
        cls,
        boxes: Sequence[Float[Tensor, "_ 4"]],
        labels: Sequence[Int[Tensor, " _"]],
        ignored: Sequence[Bool[Tensor, " _"]] | None = None,
    ) -> "Objects":
        """From one list of boxes and classes an image. G is at least 1."""
        device = boxes[0].device
        most = max(1, *map(len, boxes)) if len(boxes) > 1 else max(1, len(boxes[0]))
        padded = torch.zeros(len(boxes), most, 4, device=device)
        classes = torch.zeros(len(boxes), most, dtype=torch.int64, device=device)
        crowd = torch.zeros(len(boxes), most, dtype=torch.bool, device=device)
        for i, (own, label) in enumerate(zip(boxes, labels, strict=True)):
            padded[i, : len(own)], classes[i, : len(own)] = own, label
            if ignored is not None:
                crowd[i, : len(own)] = ignored[i]
        return cls(padded, classes, crowd)

    @property
    def present(self) -> Bool[Tensor, "N G"]:
        """Which are objects, and not there to fill the table."""
        return area(self.boxes) > 0


def common_share(grid: Grid, boxes: Float[Tensor, "N G 4"]) -> Float[Tensor, "N G A"]:
    """The area that anchor and object share, of the sum of their areas: r = I / (a + b), in [0, 1/2].

    It grows with the IoU, r / (1 - r), and is therefore as good to choose by, and one division an anchor cheaper.
    """
    n, count = boxes.shape[:2]
    starts = grid.starts
    share = torch.empty(n, count, len(grid), device=boxes.device)
    for level, start, end in zip(grid.levels, starts, starts[1:], strict=False):
        x, y = (interval.to(boxes.device) for interval in grid.intervals(level))
        own = torch.tensor(level.shapes, device=boxes.device).prod(-1)
        # one over the sum of the areas, as part of the factor that has the fewest numbers
        columns = _reach(boxes[..., 0], boxes[..., 2], x) / (area(boxes)[..., None] + own)[:, :, None]
        rows = _reach(boxes[..., 1], boxes[..., 3], y)
        out = share[:, :, start:end].view(n, count, level.height, level.width, -1)
        torch.mul(rows[:, :, :, None], columns[:, :, None], out=out)
    return share


def _reach(low: Tensor, high: Tensor, intervals: Float[Tensor, "P k 2"]) -> Float[Tensor, "N G P k"]:
    """How long the piece is that each object and each anchor's interval have in common."""
    low, high = low[..., None, None], high[..., None, None]
    return (torch.minimum(high, intervals[..., 1]) - torch.maximum(low, intervals[..., 0])).clamp_(min=0)


def to_share(iou: float) -> float:
    """The common share r that belongs to an IoU."""
    return iou / (1 + iou)


def assign(
    grid: Grid, objects: Objects, positive: float | None = None, negative: float = 0.4, best: bool = True
) -> Int[Tensor, "N A"]:
    """For each anchor the number of its object in its image, BACKGROUND or IGNORED: both forms of the notes.

    Args:
        positive: None: only the anchor that overlaps an object most gets it. Otherwise all anchors do whose IoU with
            it is at least this; an anchor that reaches it with several objects belongs to the one it overlaps most.
        negative: an anchor whose greatest IoU is at least this, and that has no object, is not asked: IGNORED.
        best: with `positive`, an object that no anchor overlaps so much gets the one that overlaps it most, of those
            that are free; else it has none.

    Where one anchor is the best of several objects, the one it overlaps most gets it. An object outside of every
    anchor has none. Anchors that would answer for an ignored object, and those at least half inside one, are IGNORED.
    """
    share = common_share(grid, objects.boxes)
    greatest, owner = share.max(1)
    result = torch.full_like(owner, BACKGROUND)
    result[greatest >= to_share(negative)] = IGNORED
    wanting = objects.present
    if positive is not None:
        held = greatest >= to_share(positive)
        result = torch.where(held, owner, result)
        reached = torch.zeros(wanting.shape, device=share.device).scatter_add_(1, owner, held.float()) > 0
        wanting = wanting & ~reached & best
    if wanting.any():
        if positive is not None:
            share.mul_(~held[:, None])  # what an object holds is not taken from it
        result = _give_best(share, wanting, result)
    if objects.ignored.any():
        result = _leave_crowds(grid, objects, share, result)
    return result


def _give_best(
    share: Float[Tensor, "N G A"], wanting: Bool[Tensor, "N G"], result: Int[Tensor, "N A"]
) -> Int[Tensor, "N A"]:
    """The assignment where each object that wants one also has the anchor that overlaps it most."""
    most, anchor = share.max(2)
    wanting = wanting & (most > 0)
    image = torch.arange(len(result), device=result.device)
    # the objects of the smaller overlap first, so that the larger overwrite them
    for number in most.argsort(dim=1, stable=True).T:  # of equal ones the later wins, however many the batch has
        chosen = wanting[image, number]
        result[image[chosen], anchor[image, number][chosen]] = number[chosen]
    return result


def _leave_crowds(
    grid: Grid, objects: Objects, share: Float[Tensor, "N G A"], result: Int[Tensor, "N A"]
) -> Int[Tensor, "N A"]:
    """Nobody asks the anchors of ignored objects, nor those that lie at least half inside one and have no object."""
    anchors = area(grid.boxes.to(share.device))
    inside = share * (area(objects.boxes)[..., None] + anchors) >= 0.5 * anchors
    within = (inside & objects.ignored[..., None]).any(1) & (result == BACKGROUND)
    owned = (result >= 0) & objects.ignored.gather(1, result.clamp(min=0))
    return result.masked_fill(within | owned, IGNORED)


class Assigned:
    """The assignments of images that are always seen alike, by their names: made once, before training (section 2.4).

    Every object is compared with every anchor for them, which is nearly all that targets cost. Of an image only the
    anchors are kept that have an object or are not asked; `targets` writes the 4 + c numbers of those few from the
    boxes, in the same operations as ever, so that a training stays the same to the bit.

    Args:
        anchors: A.
    """

    def __init__(self, anchors: int):
        self.anchors = anchors
        self.kept: dict[str, tuple[Tensor, Tensor]] = {}

    def keep(self, ids: Sequence[str], owner: Int[Tensor, "N A"]) -> None:
        """What `assign` gave for some images."""
        for id, own in zip(ids, owner.cpu(), strict=True):
            places = (own != BACKGROUND).nonzero().flatten()
            self.kept[id] = places.int(), own[places].int()

    def owner(self, ids: Sequence[str], anchors: int, device: torch.device) -> Int[Tensor, "N A"] | None:
        """What `assign` would give; None where one of the images is not known, or is seen on another canvas."""
        if anchors != self.anchors or not all(id in self.kept for id in ids):
            return None
        result = torch.full((len(ids) * anchors,), BACKGROUND, device=device)
        own = [self.kept[id] for id in ids]
        places = torch.cat([where.long() + i * anchors for i, (where, _) in enumerate(own)])
        result[places.to(device)] = torch.cat([number.long() for _, number in own]).to(device)
        return result.view(len(ids), anchors)


@dataclass(frozen=True, eq=False)
class Targets:
    """What the outputs of N images are compared with. The 4 + c values are kept only of anchors that have them.

    owner: object of each anchor in its image, BACKGROUND or IGNORED.
    image, anchor: where the P anchors with an object are.
    boxes: of their objects, in pixels.
    offsets: from anchor to object, see `encode`.
    classes: 1 for each class of the object.
    """

    owner: Int[Tensor, "N A"]
    image: Int[Tensor, " P"]
    anchor: Int[Tensor, " P"]
    boxes: Float[Tensor, "P 4"]
    offsets: Float[Tensor, "P 4"]
    classes: Float[Tensor, "P c"]

    def dense(self) -> Float[Tensor, "N A V"]:
        """As the notes write them: 1 + 4 + c values for every anchor, NaN where a value does not count."""
        n, anchors = self.owner.shape
        values = torch.full((n, anchors, 5 + self.classes.shape[1]), float("nan"), device=self.owner.device)
        values[..., 0] = torch.where(self.owner == IGNORED, values[..., 0], (self.owner >= 0).float())
        values[self.image, self.anchor, 1:] = torch.cat([self.offsets, self.classes], 1)
        return values


def targets(grid: Grid, objects: Objects, owner: Int[Tensor, "N A"], num_classes: int) -> Targets:
    """The values for an assignment. Two objects with one and the same box are one object of both classes."""
    image, anchor = (owner >= 0).nonzero(as_tuple=True)
    number = owner[image, anchor]
    one_hot = torch.nn.functional.one_hot(objects.labels, num_classes).float() * objects.present[..., None]
    same = (objects.boxes[:, :, None] == objects.boxes[:, None]).all(-1)
    classes = (same.float() @ one_hot).clamp(max=1)
    boxes = objects.boxes[image, number]
    anchors = grid.boxes.to(boxes.device)[anchor]
    return Targets(owner, image, anchor, boxes, encode(boxes, anchors), classes[image, number])
