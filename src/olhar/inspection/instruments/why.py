"""Why the model answers what it does: Grad-CAM, integrated gradients and occlusion, side by side."""

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from olhar.inspection.attribution import enlarged, grad_cam, integrated_gradients, occlusion
from olhar.inspection.figure import FULL, Style, bare, glow, grid, show
from olhar.inspection.instrument import Instrument, Subject, Table, Values, model_input, needs_classes
from olhar.tasks.classify import Classify

IMAGES = 4
STEPS = 20  # of the integral: the sum is then within some percent of the score's difference, and the table says so
WINDOWS = 6  # squares along a side that hide the image, half over each other


@dataclass(frozen=True)
class Reason:
    """One image: what was answered, and why. Maps are [H, W]; `cam` is in [0, 1] and None without a map to look at.

    `explained` is the sum of the integrated gradients, `difference` what it should be: the score less that of an image
    of the mean colour.
    """

    id: str
    answer: str
    probability: float
    truth: str
    image: Tensor  # uint8 [C, H, W]
    cam: np.ndarray | None
    gradients: np.ndarray
    occlusion: np.ndarray
    explained: float
    difference: float


@dataclass(frozen=True)
class WhyValues(Values):
    """The reasons for some answers, and the layer of Grad-CAM."""

    reasons: tuple[Reason, ...]
    layer: str

    def table(self) -> Table:
        columns = ("image", "answer", "probability", "truth", "score explained", "score less that of nothing")
        rows = [
            (r.id, r.answer, round(r.probability, 4), r.truth, round(r.explained, 3), round(r.difference, 3))
            for r in self.reasons
        ]
        return Table(columns, rows)


def look(subject: Subject) -> WhyValues:
    """The likeliest class of each image explained."""
    task = subject.task
    assert isinstance(task, Classify)
    batch = subject.first(IMAGES)
    image = model_input(task, batch)
    size = (image.shape[2], image.shape[3])
    with torch.inference_mode():
        output = task.output(batch)
        probabilities, target = output.probabilities.float(), output.logits.argmax(1)
        nothing = task.model(torch.zeros_like(image[:1]))[0]
    target = target.clone()
    layer = subject.chosen_map() if subject.maps else ""
    cam = enlarged(grad_cam(task.model, image, target, layer), size).cpu().numpy() if layer else None
    gradients = integrated_gradients(task.model, image, target, STEPS).float().cpu()
    window = max(1, round(2 * min(size) / (WINDOWS + 1)))
    hidden = occlusion(task.model, image, target, window, max(1, window // 2)).float().cpu().numpy()
    truths = task.describe_truth(batch) if "label" in batch or "labels" in batch else [""] * len(target)
    reasons = [
        Reason(
            id=batch["id"][i],
            answer=task.class_names[k],
            probability=float(probabilities[i, k]),
            truth=truths[i] if isinstance(truths[i], str) else ";".join(truths[i]),
            image=batch["image"][i].cpu(),
            cam=None if cam is None else cam[i],
            gradients=gradients[i].sum(0).numpy(),
            occlusion=hidden[i],
            explained=float(gradients[i].sum()),
            difference=float(output.logits[i, k] - nothing[k]),
        )
        for i, k in enumerate(target.tolist())
    ]
    return WhyValues(tuple(reasons), layer)


def draw(values: WhyValues, style: Style) -> Figure:
    """A row an image: itself, Grad-CAM, integrated gradients, occlusion."""
    columns = 4 if values.layer else 3
    count = len(values.reasons)
    width = min(FULL, 1.62 * columns)
    figure, axes = grid(count, columns, width, 1.62 * count + 0.25)
    heads = ["", f"Grad-CAM, {values.layer.removeprefix('encoder.')}", "integrated gradients", "occlusion"]
    for row, reason in zip(axes, values.reasons, strict=True):
        show(row[0], reason.image, f"{reason.answer} {reason.probability:.0%}")
        if reason.truth and reason.truth != reason.answer:
            row[0].title.set_color(style.second)
            row[0].set_xlabel(f"is {reason.truth}", fontsize=6.5)
        if reason.cam is not None:
            show(row[1], glow(reason.image, reason.cam, style).transpose(2, 0, 1))
        signed(row[-2], reason.gradients, style)
        signed(row[-1], reason.occlusion, style)
    for i, head in zip(range(1, columns), heads[1:] if values.layer else heads[2:], strict=True):
        axes[0][i].set_title(head, fontweight="normal", fontsize=7, loc="center", pad=3)
    return figure


def signed(axes: Axes, heat: np.ndarray, style: Style) -> None:
    """A map around zero: orange for, blue against. The largest percent is cut, so that single pixels do not rule."""
    largest = max(float(np.percentile(np.abs(heat), 99)), 1e-12)
    axes.imshow(heat, cmap=style.diverging, vmin=-largest, vmax=largest, interpolation="nearest")
    bare(axes)


WHY = Instrument(
    shows="which parts of an image the likeliest class hangs on: Grad-CAM, integrated gradients, occlusion",
    reading="Bright and orange parts speak for the answer, blue ones against it; orange words are wrong answers.\n"
    "Grad-CAM says where, integrated gradients which pixels, occlusion what the answer would miss if it were hidden.",
    fits=needs_classes,
    look=look,
    draw=draw,
    takes_layer=True,
    passes=IMAGES * (3 + 3 * STEPS + WINDOWS**2),  # a way back costs two passes
)
