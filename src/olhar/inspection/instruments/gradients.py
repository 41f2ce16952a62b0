"""How much gradient reaches each layer: of the trained model, and of new ones with and without skips and normalisation.

Figure 2.6 says why blocks have skips; this shows it on the person's own images.
"""

from dataclasses import dataclass

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from olhar.inspection.figure import FULL, Style, new_figure
from olhar.inspection.gradient_flow import dead_units, fresh, gradient_norms, has_normalisation, has_skips
from olhar.inspection.instrument import Instrument, Subject, Table, Values, always, first_with_truth

IMAGES = 32  # about a batch: what one step of training sees


@dataclass(frozen=True)
class GradientValues(Values):
    """Of each kind of model the gradient's norm over the weight's, by layer; the share of dead units of each ReLU."""

    norms: dict[str, dict[str, float]]
    dead: dict[str, float]

    def table(self) -> Table:
        kinds = list(self.norms)
        rows = [(name, *(self.norms[kind][name] for kind in kinds)) for name in self.norms[kinds[0]]]
        dead = [(f"dead units of {name}", share, *[""] * (len(kinds) - 1)) for name, share in self.dead.items()]
        return Table(("layer", *kinds), rows + dead)


def look(subject: Subject) -> GradientValues:
    """On one batch."""
    task, batch = subject.task, first_with_truth(subject, IMAGES, "gradients")
    norms = {"trained": gradient_norms(task, batch), "new": gradient_norms(fresh(task), batch)}
    skips, normalised = has_skips(task), has_normalisation(task)
    if skips:
        norms["without skips"] = gradient_norms(fresh(task, skips=False), batch)
    if normalised:
        norms["without normalisation"] = gradient_norms(fresh(task, normalised=False), batch)
    if skips and normalised:
        norms["without both"] = gradient_norms(fresh(task, skips=False, normalised=False), batch)
    return GradientValues(norms, dead_units(task, batch))


def draw(values: GradientValues, style: Style) -> Figure:
    """Norms against depth; below the share of dead units, where there are any."""
    some_dead = any(values.dead.values())
    rows = 2 if some_dead else 1
    figure = new_figure(FULL, 3.0 + 1.3 * (rows - 1))
    axes = figure.subplots(rows, 1, squeeze=False, height_ratios=[3, 1.2][:rows])[:, 0]
    for i, (kind, norms) in enumerate(values.norms.items()):
        # a layer that nothing reaches (a shortcut that was taken away) is not at zero: it is not there
        points = [(x, value) for x, value in enumerate(norms.values(), 1) if 0 < value < float("inf")]
        line = "-" if kind in ("trained", "new") else (0, (4, 2))
        axes[0].plot(*zip(*points, strict=True), color=style.colour(i), linestyle=line, marker=style.marker(8 * i),
                     markersize=3, label=kind)  # fmt: skip
    axes[0].set(yscale="log", xlabel="layer with weights, from the image on", ylabel="gradient / weight")
    axes[0].grid(axis="y")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper left", ncols=5)
    for axis in axes:
        axis.xaxis.set_major_locator(MaxNLocator(integer=True))
    if some_dead:
        axes[1].bar(range(1, len(values.dead) + 1), [100 * v for v in values.dead.values()], color=style.second)
        axes[1].set(xlabel="ReLU, in the order of the model", ylabel="dead units, %")
        axes[1].set_ylim(0, max(5.0, 110 * max(values.dead.values())))
        axes[1].grid(axis="y")
    return figure


GRADIENTS = Instrument(
    shows="how much gradient reaches each layer, with and without skips and normalisation, and dead units",
    reading="Level lines train all layers alike; one that falls or rises by powers of ten trains some not at all.\n"
    "A dead unit is zero on all of the images: it learns nothing and says nothing.",
    fits=always,
    look=look,
    draw=draw,
)
