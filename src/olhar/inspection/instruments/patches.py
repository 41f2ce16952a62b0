"""Nine patches for each of some filters, cut to what the filter sees (Figure 2.5)."""

from dataclasses import dataclass

import torch
from matplotlib.figure import Figure

from olhar.inspection.figure import FULL, Style, new_figure, show
from olhar.inspection.instrument import Instrument, Subject, Table, Values, needs_maps
from olhar.inspection.patches import Patch, top_patches
from olhar.inspection.receptive_field import receptive_fields

FILTERS = 10  # that a page has room for, as Figure 2.5
ACROSS = 5


@dataclass(frozen=True)
class PatchValues(Values):
    """Of some filters of a layer, by index, the patches that excite them most."""

    layer: str
    filters: dict[int, list[Patch]]
    covers: bool  # the filter sees the whole image

    def table(self) -> Table:
        columns = ("filter", "rank", "value", "image", "row", "column", "top", "left", "bottom", "right")
        rows = [
            (index, rank, round(patch.value, 4), patch.id, *patch.position, *patch.window)
            for index, patches in self.filters.items()
            for rank, patch in enumerate(patches, 1)
        ]
        return Table(columns, rows)


def look(subject: Subject) -> PatchValues:
    """All images are looked at; of the layer's filters some that lie evenly among them."""
    layer = subject.chosen_map()
    channels = subject.maps[layer][0]
    filters = torch.linspace(0, channels - 1, min(FILTERS, channels)).round().int().tolist()
    field = receptive_fields(subject.model, subject.input_shape)[layer]
    found = top_patches(subject.task, subject.batches(), layer, field, filters)
    covers = field is None or all(s >= n for s, n in zip(field.size, subject.input_shape[1:], strict=True))
    return PatchValues(layer, dict(zip(filters, found, strict=True)), covers)


def draw(values: PatchValues, style: Style) -> Figure:
    """A square of nine for each filter."""
    rows = -(-len(values.filters) // ACROSS)
    figure = new_figure(FULL, 1.55 * rows + 0.3)
    note = ": it sees the whole image" if values.covers else ""
    name = values.layer.removeprefix("encoder.")
    figure.suptitle(name + note, x=0.01, y=0.985, ha="left", va="top", fontsize=8.5, weight="bold")
    figure.set_layout_engine("none")  # which would pull the nine apart
    outer = figure.add_gridspec(rows, ACROSS, left=0.01, right=0.99, top=0.88, bottom=0.01, wspace=0.1, hspace=0.2)
    for place, (index, patches) in enumerate(values.filters.items()):
        inner = outer[place // ACROSS, place % ACROSS].subgridspec(3, 3, wspace=0.04, hspace=0.04)
        for i, patch in enumerate(patches):
            axes = figure.add_subplot(inner[i // 3, i % 3])
            show(axes, patch.pixels)
            axes.set_aspect("auto" if min(patch.pixels.shape[1:]) else "equal")
            if i == 1:
                axes.set_title(f"filter {index}", fontweight="normal", fontsize=7, loc="center", pad=3)
    return figure


PATCHES = Instrument(
    shows="for some filters of a layer the nine patches, among all the images, that excite them most",
    reading="What the nine have in common is what the filter looks for; each patch is all that it sees of the image.\n"
    "Early layers look for edges and colours, later ones for parts; a filter whose nine differ has no single meaning.",
    fits=needs_maps,
    look=look,
    draw=draw,
    takes_layer=True,
)
