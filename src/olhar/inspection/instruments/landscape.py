"""The loss around the trained weights, from above and along one line (Figure 2.7)."""

from dataclasses import dataclass

import numpy as np
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from safetensors.torch import load_file
from torch import Tensor

from olhar.errors import UserError
from olhar.inspection.figure import FULL, Style, new_figure
from olhar.inspection.instrument import Instrument, Subject, Table, Values, always
from olhar.inspection.loss_landscape import Surface, landscape

IMAGES = 512
TRUTHS = ("label", "labels", "target", "mask", "clean", "boxes")


@dataclass(frozen=True)
class LandscapeValues(Values):
    """The surface."""

    surface: Surface

    def table(self) -> Table:
        at = [round(float(x), 3) for x in self.surface.at]
        rows = [(y, *(round(float(v), 5) for v in row)) for y, row in zip(at, self.surface.loss, strict=True)]
        return Table(("y \\ x", *map(str, at)), rows)

    def document(self) -> dict:
        s = self.surface
        facts = {"at": s.at.tolist(), "loss": s.loss.tolist(), "centre": s.centre, "images": s.images}
        return facts | {"path": s.path.tolist()}


def look(subject: Subject) -> LandscapeValues:
    """Around the weights of the run, with the weights of its checkpoints where it has any."""
    batch = subject.first(IMAGES)
    if not any(key in batch for key in TRUTHS):
        raise UserError("landscape needs the truth of its images: leave --image out, so that the run's own are taken.")
    return LandscapeValues(landscape(subject.task, batch, path=checkpoints(subject)))


def checkpoints(subject: Subject) -> list[dict[str, Tensor]]:
    """The weights of every checkpoint in the run folder, in the order of the training."""
    names = dict(subject.task.named_parameters())
    found = []
    files = subject.folder.glob("checkpoint/step-*/tensors.safetensors") if subject.folder else ()
    for file in sorted(files):
        tensors = {key.removeprefix("task."): value for key, value in load_file(file).items()}
        if all(name in tensors for name in names):
            found.append({name: tensors[name] for name in names})
    return found


def draw(values: LandscapeValues, style: Style) -> Figure:
    """Level lines from above; beside them the loss along the two directions."""
    s = values.surface
    figure = new_figure(FULL, 3.1)
    above, beside = figure.subplots(1, 2, width_ratios=(1.15, 1))
    top = np.percentile(s.loss, 97)  # a single steep corner would leave nothing to see of the rest
    levels = np.geomspace(max(s.loss.min(), 1e-4), max(top, s.loss.min() * 1.01, 2e-4), 16)
    filled = above.contourf(
        s.at, s.at, s.loss, levels=levels, cmap=style.sequential, norm=LogNorm(levels[0], levels[-1]), extend="both"
    )
    above.contour(s.at, s.at, s.loss, levels=levels, colors=style.paper, linewidths=0.4)
    above.plot(0, 0, "o", color=style.second, markersize=4)
    inside = s.path[np.abs(s.path).max(1) <= s.at[-1]] if len(s.path) else s.path
    above.plot(inside[:, 0], inside[:, 1], "-D", color=style.second, markersize=2.5, linewidth=0.9)
    above.set_aspect("equal")
    above.set(xlabel="first direction", ylabel="second direction")
    bar = figure.colorbar(filled, ax=above, ticks=levels[::3], format="%.2g", pad=0.02, shrink=0.9)
    bar.outline.set_visible(False)  # type: ignore[operator]
    middle = len(s.at) // 2
    beside.plot(s.at, s.loss[middle], color=style.accent, label="first direction")
    beside.plot(s.at, s.loss[:, middle], color=style.colours[2], linestyle=(0, (5, 2)), label="second direction")
    beside.plot(0, s.centre, "o", color=style.second, markersize=4, label=f"the weights: {s.centre:.3g}")
    beside.set(xlabel="distance in lengths of the weights", ylabel=f"loss in nats, {s.images} images", yscale="log")
    beside.grid(axis="y")
    beside.legend()
    return figure


LANDSCAPE = Instrument(
    shows="the loss around the trained weights, along two random directions scaled filter by filter",
    reading="The dot is the trained model, and the distance 1 changes every filter by its own length.\n"
    "A wide, round valley bears changes of the weights; a narrow or rugged one is where training is hard.",
    fits=always,
    look=look,
    draw=draw,
)
