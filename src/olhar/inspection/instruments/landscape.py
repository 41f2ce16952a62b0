"""The loss around the trained weights, from above and along two lines; two runs side by side (Figure 2.7)."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.contour import QuadContourSet
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from safetensors.torch import load_file
from torch import Tensor

from olhar.data.sample import first_of
from olhar.errors import UserError
from olhar.inspection.figure import FULL, Style, new_figure
from olhar.inspection.instrument import Instrument, Subject, Table, Values, always, first_with_truth
from olhar.inspection.loss_landscape import Surface, landscape, path_plane, random_plane
from olhar.tasks.classify import Classify

IMAGES, POINTS = 512, 21  # points along each direction, odd: the weights are the middle one
SECONDS = 150.0  # for all surfaces: a person waits, and sees how long
MOST_STEPS = 12  # of a path: of a large model each is as large as the model


@dataclass(frozen=True)
class LandscapeValues(Values):
    """The surface, and of two runs both, by their names."""

    surfaces: dict[str, Surface]

    def table(self) -> Table:
        first = next(iter(self.surfaces.values()))
        columns = ("run", "y \\ x", *(f"{x:.3f}" for x in first.plane.x))
        rows = [
            (name, f"{y:.3f}", *(round(float(v), 5) for v in row))
            for name, one in self.surfaces.items()
            for y, row in zip(one.plane.y, one.loss, strict=True)
        ]
        return Table(columns, rows) if len(self.surfaces) > 1 else Table(columns[1:], [row[1:] for row in rows])

    def document(self) -> dict:
        found = {name: described(one) for name, one in self.surfaces.items()}
        return found.get("") or found


def described(one: Surface) -> dict:
    """A surface as plain values."""
    p = one.plane
    where = {"x": p.x.tolist(), "y": p.y.tolist(), "path": p.path.tolist(), "share": p.share}
    return where | {"loss": one.loss.tolist(), "centre": one.centre, "images": one.images}


def look(subject: Subject) -> LandscapeValues:
    """Around the weights of the run: beside another's in the same random directions, and alone, where it kept its path,
    in those of the path."""
    batch, other = first_with_truth(subject, IMAGES, "landscape"), subject.beside
    if other is None:
        path = steps(subject)
        plane = path_plane(subject.task, path, POINTS) if len(path) > 1 else random_plane(subject.task, POINTS)
        return LandscapeValues({"": landscape(subject.task, batch, plane, SECONDS, subject.tell)})
    refuse_stranger(subject, other)
    names = [one.folder.name if one.folder else "" for one in (subject, other)]
    if names[0] == names[1]:
        names = [str(one.folder) for one in (subject, other)]
    surfaces = {}
    for i, one in enumerate((subject, other)):
        plane = random_plane(one.task, POINTS)
        found = landscape(one.task, batch, plane, SECONDS / 2, lambda share, i=i: subject.tell((i + share) / 2))
        surfaces[names[i]] = found
        batch = first_of(batch, found.images)  # the same for both
    return LandscapeValues(surfaces)


def refuse_stranger(subject: Subject, other: Subject) -> None:
    """Raise UserError where another run did not learn the same from the same kind of image."""
    names = [one.task.class_names if isinstance(one.task, Classify) else () for one in (subject, other)]
    for what, ours, theirs in (
        ("learnt to", subject.task.name, other.task.name),
        ("sees images of", pixels_of(subject), pixels_of(other)),
        ("tells apart", ", ".join(names[0]), ", ".join(names[1])),
    ):
        if ours != theirs:
            where = f"{other.folder} {what} {theirs}, and {subject.folder} {ours}"
            raise UserError(f"{where}: give a run on the same data.")


def pixels_of(subject: Subject) -> str:
    channels, height, width = subject.input_shape
    return f"{width} x {height} pixels in {channels} channels"


def steps(subject: Subject) -> list[dict[str, Tensor]]:
    """The weights that a run kept on its way (--train.keep_path), some of them where there are many."""
    files = sorted(subject.folder.glob("path/step-*.safetensors")) if subject.folder else []
    chosen = np.linspace(0, len(files) - 1, min(len(files), MOST_STEPS)).round().astype(int)
    return [load_file(files[i]) for i in chosen]


def draw(values: LandscapeValues, style: Style) -> Figure:
    """Level lines from above, one scale for all; beside them the loss along the two directions."""
    every = list(values.surfaces.items())
    figure = new_figure(FULL, 3.1 if len(every) == 1 else 2.5)
    axes = figure.subplots(1, 1 + len(every), width_ratios=[1.15] * len(every) + [1.0])
    low = min(float(one.loss.min()) for _, one in every)
    # single steep corners, or all of a steep run, would leave nothing to see of the rest
    high = min(float(np.percentile(one.loss, 97)) for _, one in every)
    levels = np.geomspace(max(low, 1e-4), max(high, low * 1.01, 2e-4), 16)
    for above, (name, one) in zip(axes, every, strict=False):
        filled = draw_above(above, one, levels, style)
        above.set_title(name)
    numbers, planes = FuncFormatter(plain), axes[:-1].tolist()
    bar = figure.colorbar(filled, ax=planes, ticks=levels[::3], format=numbers, pad=0.02, shrink=0.9)
    bar.outline.set_visible(False)  # type: ignore[operator]
    bar.minorticks_off()
    for i, (name, one) in enumerate(every):
        draw_lines(axes[-1], name, one, style.colour(i))
    axes[-1].set(xlabel="first direction (dashed: second)", ylabel=f"loss in nats, {every[0][1].images} images")
    axes[-1].set_yscale("log")
    axes[-1].yaxis.set_major_formatter(numbers)
    axes[-1].yaxis.set_minor_formatter(FuncFormatter(lambda v, _: plain(v) if f"{v:e}"[0] in "25" else ""))
    axes[-1].xaxis.label.set_size(7)
    axes[-1].grid(axis="y")
    axes[-1].legend(loc="upper center")
    return figure


def plain(value: float, place: float | None = None) -> str:
    """0.6, 12, 3,000."""
    return f"{value:.2g}" if value < 100 else f"{value:,.0f}"


def draw_above(axes: Axes, one: Surface, levels: np.ndarray, style: Style) -> QuadContourSet:
    """The plane, the weights and, where it is known, the way to them."""
    p, norm = one.plane, LogNorm(levels[0], levels[-1])
    filled = axes.contourf(p.x, p.y, one.loss, levels=levels, cmap=style.sequential, norm=norm, extend="both")
    axes.contour(p.x, p.y, one.loss, levels=levels, colors=style.paper, linewidths=0.4)
    if len(p.path):
        way = np.vstack([p.path, [0, 0]])
        axes.plot(way[:, 0], way[:, 1], "-o", color=style.second, markersize=2.5, linewidth=0.9)
        plate = {"facecolor": style.paper, "edgecolor": "none", "pad": 1.2}
        axes.annotate("start", way[0], (0, -10), textcoords="offset points", fontsize=6.5, ha="center", bbox=plate)
    axes.plot(0, 0, "o", color=style.second, markersize=4)
    names = ("first direction", "second direction")
    if p.share:
        names = tuple(f"{name} of the path, {part:.0%}" for name, part in zip(names, p.share, strict=True))
    else:
        axes.set_aspect("equal")
    axes.set(xlabel=names[0], ylabel=names[1])
    return filled


def draw_lines(axes: Axes, name: str, one: Surface, colour: str) -> None:
    """The loss along each direction through the weights."""
    p = one.plane
    row, column = int(np.abs(p.y).argmin()), int(np.abs(p.x).argmin())
    axes.plot(p.x, one.loss[row], color=colour)
    axes.plot(p.y, one.loss[:, column], color=colour, linestyle=(0, (4, 2)))
    axes.plot(0, one.centre, "o", color=colour, markersize=4, label=f"{name or 'the weights'}: {one.centre:.3g}")


LANDSCAPE = Instrument(
    shows="the loss around the trained weights; of two runs side by side, as with and without skips",
    reading="The dot is the trained model; at distance 1 each filter is changed by its own length, and colours share a "
    "scale.\nA wide, round valley bears changes of the weights; a narrow or rugged one is where training is hard.",
    fits=always,
    look=look,
    draw=draw,
    takes_beside=True,
)
