"""A detector taken apart: its anchors, the assignment, the objectness map, what non-maximum suppression removed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from jaxtyping import Bool, Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from olhar.errors import UserError
from olhar.inspection.detection import Assignment, Suppressed, assignments, at_position, objectness, suppressed
from olhar.inspection.figure import FULL, Style, glow, grid, show
from olhar.inspection.instrument import Instrument, Subject, Table, Values
from olhar.ops.anchors import Grid
from olhar.ops.boxes import to_centre
from olhar.tasks.detect import Detect

IMAGES = 2  # side by side: in less than half a page's width thin boxes are not told apart
OUTLINED = 3  # anchors of an object whose boxes are drawn, the best; of the others the centres
MOST_NAMED = 24  # boxes of an image that are named; beyond them names cover what they name


@dataclass(frozen=True)
class AnchorValues(Values):
    """The anchors of a model over some images, and of each image with boxes those that took an object."""

    grid: Grid
    images: Sequence[Tensor]
    matched: Sequence[Assignment]

    def table(self) -> Table:
        columns = ("stride", "positions", "width", "height", "all of them", "with an object")
        found = torch.cat([one.anchors for one in self.matched]) if self.matched else torch.zeros(0, 4)
        levels = torch.cat([one.level for one in self.matched]) if self.matched else torch.zeros(0)
        sizes, rows = found[:, 2:] - found[:, :2], []
        for i, level in enumerate(self.grid.levels):
            positions = level.height * level.width
            for shape in level.shapes:
                own = (levels == i) & ((sizes - torch.tensor(shape)).abs() < 0.01).all(1)
                width, height = (round(side, 1) for side in shape)
                taken = int(own.sum()) if self.matched else "unknown"
                rows.append((level.stride, f"{level.height}x{level.width}", width, height, positions, taken))
        return Table(columns, rows)


@dataclass(frozen=True)
class AssignmentValues(Values):
    """Which anchor took which object, image by image."""

    images: Sequence[Assignment]
    class_names: Sequence[str]

    def table(self) -> Table:
        columns = ("image", "object", "class", "width", "height", "anchors", "best IoU", "levels")
        rows = []
        for one in self.images:
            for i, (box, label) in enumerate(zip(one.boxes, one.labels.tolist(), strict=True)):
                own = one.object == i
                width, height = (round(side, 1) for side in (box[2:] - box[:2]).tolist())
                best = round(float(one.iou[own].max()), 3) if own.any() else 0.0
                levels = " ".join(str(k + 1) for k in one.level[own].unique().tolist())
                rows.append((one.id, i + 1, self.class_names[label], width, height, int(own.sum()), best, levels))
        return Table(columns, rows)


@dataclass(frozen=True)
class ObjectnessValues(Values):
    """p(object) at every position of every level. maps: of each level [N, H, W]."""

    ids: Sequence[str]
    images: Sequence[Tensor]
    strides: Sequence[int]
    maps: Sequence[Tensor]

    def table(self) -> Table:
        columns = ("image", "stride", "positions", "greatest p(object)", "mean", "above 1/2")
        rows = []
        for i, id in enumerate(self.ids):
            for stride, level in zip(self.strides, self.maps, strict=True):
                own = level[i]
                numbers = round(float(own.max()), 4), round(float(own.mean()), 4), int((own > 0.5).sum())
                rows.append((id, stride, f"{own.shape[0]}x{own.shape[1]}", *numbers))
        return Table(columns, rows)


@dataclass(frozen=True)
class SuppressedValues(Values):
    """What non-maximum suppression kept and removed, image by image."""

    images: Sequence[Suppressed]
    class_names: Sequence[str]
    threshold: float

    def table(self) -> Table:
        columns = ("image", "box", "class", "score", "x0", "y0", "x1", "y1", "removed for", "IoU")
        rows = []
        for one in self.images:
            for i, box in enumerate(one.boxes.tolist()):
                owner, name = int(one.owner[i]), self.class_names[int(one.labels[i])]
                removed = ("", "") if owner == i else (owner + 1, round(float(one.iou[i]), 3))
                corners = [round(edge, 1) for edge in box]
                rows.append((one.id, i + 1, name, round(float(one.scores[i]), 4), *corners, *removed))
        return Table(columns, rows)


def needs_detector(subject: Subject) -> str | None:
    """Why not, for a run that finds no boxes."""
    return None if isinstance(subject.task, Detect) else f"it has no anchors, for it learnt to {subject.task.name}."


def detector(subject: Subject) -> Detect:
    return cast(Detect, subject.task)


def look_at_anchors(subject: Subject) -> AnchorValues:
    batch = subject.first(IMAGES)
    matched = assignments(detector(subject), batch) if "boxes" in batch else []
    return AnchorValues(detector(subject).grid(batch), list(batch["image"].cpu()), matched)


def look_at_assignment(subject: Subject) -> AssignmentValues:
    batch = subject.first(IMAGES)
    if "boxes" not in batch:
        raise UserError("The assignment is of objects that are known, and of new images none are: leave --image out.")
    return AssignmentValues(assignments(detector(subject), batch), detector(subject).class_names)


@torch.inference_mode()
def look_at_objectness(subject: Subject) -> ObjectnessValues:
    batch, task = subject.first(IMAGES), detector(subject)
    maps = objectness(task.output(batch), task.grid(batch))
    return ObjectnessValues(batch["id"], list(batch["image"].cpu()), task.strides, maps)


@torch.inference_mode()
def look_at_suppression(subject: Subject) -> SuppressedValues:
    batch, task = subject.first(IMAGES), detector(subject)
    return SuppressedValues(suppressed(task, task.output(batch), batch), task.class_names, task.threshold)


def outline(axes: Axes, boxes: Float[Tensor, "n 4"], colour: str, width: float = 1.0, **kwargs: object) -> None:
    """Draw boxes; those that reach beyond the image are cut at its border."""
    for x0, y0, x1, y1 in (boxes - 0.5).tolist():  # imshow has pixels' centres at whole numbers
        frame = Rectangle((x0, y0), x1 - x0, y1 - y0, fill=False, edgecolor=colour, linewidth=width, **kwargs)  # type: ignore[arg-type]
        axes.add_patch(frame)


def dots(axes: Axes, boxes: Float[Tensor, "n 4"], colour: str) -> None:
    """The centres of boxes, where these are too many to be drawn."""
    x, y = (to_centre(boxes)[:, :2] - 0.5).T
    axes.scatter(x, y, s=2.5, color=colour, linewidths=0)
    axes.autoscale(False)  # the image fills the axes, whatever lies beyond it


def best(one: Assignment, count: int) -> Bool[Tensor, " P"]:
    """Of each object the anchors that overlap it most, so many of them."""
    chosen = torch.zeros(len(one.object), dtype=torch.bool)
    for k in range(len(one.boxes)):
        places = (one.object == k).nonzero().flatten()
        chosen[places[one.iou[places].argsort(descending=True, stable=True)[:count]]] = True
    return chosen


def name(axes: Axes, box: Sequence[float], words: str, colour: str, style: Style) -> None:
    """A box's name in its upper left corner."""
    plate = {"facecolor": colour, "edgecolor": "none", "pad": 0.8}
    axes.text(
        box[0] + 1, max(box[1], 0) + 1, words, va="top", fontsize=4.8, color=style.paper, bbox=plate, clip_on=True
    )


def canvases(images: Sequence[Tensor], rows: int) -> tuple[Figure, np.ndarray]:
    """Axes for rows of the images side by side, each with its proportions."""
    height, width = images[0].shape[1:]
    columns = max(len(images), 2)
    figure, axes = grid(rows, columns, FULL, rows * (FULL / columns * height / width + 0.25))
    for own in axes.flat:
        own.set_axis_off()
    return figure, axes


def draw_anchors(values: AnchorValues, style: Style) -> Figure:
    """Above the anchors of the middle position of each level, below all that took an object."""
    figure, axes = canvases(values.images, 2 if values.matched else 1)
    for i, image in enumerate(values.images):
        show(axes[0, i], image, "the anchors of one position, a colour for each level", interpolation="none")
        for k, boxes in enumerate(at_position(values.grid)):
            outline(axes[0, i], boxes, style.colour(k))
            centre = (boxes[0, :2] + boxes[0, 2:]) / 2
            axes[0, i].plot(*(centre - 0.5).tolist(), ".", color=style.colour(k), markersize=4)
        if values.matched:
            one = values.matched[i]
            said = f"the {len(one.anchors):,} of {len(values.grid):,} anchors that have one of {len(one.boxes)} objects"
            show(axes[1, i], image, said, interpolation="none")
            for k in range(len(values.grid.levels)):
                dots(axes[1, i], one.anchors[one.level == k], style.colour(k))
                outline(axes[1, i], one.anchors[best(one, 1) & (one.level == k)], style.colour(k))
    handles = [Rectangle((0, 0), 1, 1, fill=False, edgecolor=style.colour(k)) for k in range(len(values.grid.levels))]
    labels = [f"level of stride {level.stride}" for level in values.grid.levels]
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
    return figure


def draw_assignment(values: AssignmentValues, style: Style) -> Figure:
    """Each object filled, and in its colour the anchors that took it."""
    figure, axes = canvases([one.image for one in values.images], 1)
    for i, one in enumerate(values.images):
        said = f"{len(one.boxes)} objects, {len(one.anchors):,} anchors; {one.ignored:,} are not asked"
        show(axes[0, i], one.image, said, interpolation="none")
        for k, (box, label) in enumerate(zip(one.boxes.tolist(), one.labels.tolist(), strict=True)):
            colour = style.colour(k)
            x0, y0, x1, y1 = box
            axes[0, i].add_patch(
                Rectangle((x0 - 0.5, y0 - 0.5), x1 - x0, y1 - y0, color=colour, alpha=0.3, linewidth=0)
            )
            own = one.object == k
            dots(axes[0, i], one.anchors[own], colour)
            outline(axes[0, i], one.anchors[own & best(one, OUTLINED)], colour, 0.8)
            if len(one.boxes) <= MOST_NAMED:
                count = int((one.object == k).sum())
                name(axes[0, i], box, f"{values.class_names[label]}: {count}", colour, style)
    return figure


def draw_objectness(values: ObjectnessValues, style: Style) -> Figure:
    """Each image, and of each level where it sees objects."""
    figure, axes = canvases([values.images[0]] * (1 + len(values.maps)), len(values.images))
    for i, image in enumerate(values.images):
        show(axes[i, 0], image, "the image", interpolation="none")
        for k, (stride, own) in enumerate(zip(values.strides, values.maps, strict=True), 1):
            height, width = image.shape[1:]
            large = own[i].repeat_interleave(stride, 0).repeat_interleave(stride, 1)
            heat = large[:height, :width].numpy()
            said = f"stride {stride}: p(object) up to {float(own[i].max()):.2f}"
            axes[i, k].imshow(glow(image, heat, style), interpolation="none")
            axes[i, k].set_title(said, fontweight="normal", fontsize=7, loc="center", pad=3)
    return figure


def draw_suppression(values: SuppressedValues, style: Style) -> Figure:
    """What is left in the first colour and named, what was removed in the second and thin."""
    figure, axes = canvases([one.image for one in values.images], 1)
    for i, one in enumerate(values.images):
        removed = len(one.boxes) - one.kept
        show(axes[0, i], one.image, f"{one.kept} boxes kept, {removed:,} removed", interpolation="none")
        outline(axes[0, i], one.boxes[one.kept :], style.second, 0.5, linestyle=(0, (3, 1.5)))
        outline(axes[0, i], one.boxes[: one.kept], style.accent, 1.3)
        for k in range(one.kept if one.kept <= MOST_NAMED else 0):
            alike = int((one.owner == k).sum()) - 1
            words = values.class_names[int(one.labels[k])] + (f" (and {alike})" if alike else "")
            name(axes[0, i], one.boxes[k].tolist(), words, style.accent, style)
    handles = [Rectangle((0, 0), 1, 1, fill=False, edgecolor=colour) for colour in (style.accent, style.second)]
    labels = [f"kept, with a score above {values.threshold:.2g}", "removed: overlaps a surer box of its class"]
    figure.legend(handles, labels, loc="outside lower center", ncols=2)
    return figure


ANCHORS = Instrument(
    shows="the anchors of a detector at one position, and all of them that have an object (Figure 2.12 b)",
    reading="Above: the boxes from which answers are measured, at the middle position of each level.\n"
    "Below: dots for those that training asks for an object, and the best box of each object.",
    fits=needs_detector,
    look=look_at_anchors,
    draw=draw_anchors,
    passes=IMAGES,
)
ASSIGNMENT = Instrument(
    shows="which anchors took which object, as training has it (Figure 2.12 c)",
    reading="Filled: an object; in its colour dots for the anchors that must find it, the best three outlined.\n"
    "An object with one anchor is far from every anchor's shape: others may fit it better.",
    fits=needs_detector,
    look=look_at_assignment,
    draw=draw_assignment,
    passes=IMAGES,
)
OBJECTNESS = Instrument(
    shows="where a detector sees an object, level by level, of whichever class",
    reading="Bright: a position whose surest anchor believes in an object; faded: one that sees background.\n"
    "Small objects should light up at small strides; an object that is bright nowhere cannot be found.",
    fits=needs_detector,
    look=look_at_objectness,
    draw=draw_objectness,
    passes=IMAGES,
)
SUPPRESSION = Instrument(
    shows="which boxes non-maximum suppression kept, and which it removed for them",
    reading="Solid: the answers, and how many boxes each stands for; dashed: what was removed.\n"
    "A dashed box around an object of its own was lost to a neighbour: objects here lie close together.",
    fits=needs_detector,
    look=look_at_suppression,
    draw=draw_suppression,
    passes=IMAGES,
)
