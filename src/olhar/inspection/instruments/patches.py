"""Nine patches for each of some filters, cut to what the filter sees (Figure 2.5)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure

from olhar.inspection.figure import FULL, Style, grid, pixels, tiles
from olhar.inspection.instrument import Instrument, Subject, Table, Values, needs_maps_of_pixels
from olhar.inspection.measured_field import too_small
from olhar.inspection.patches import Patch, top_patches
from olhar.inspection.receptive_field import ReceptiveField, receptive_fields

FILTERS = 10  # that a page has room for, as Figure 2.5
ACROSS = 5


@dataclass(frozen=True)
class PatchValues(Values):
    """Of some filters of a layer, by index, the patches that excite them most."""

    layer: str
    filters: dict[int, list[Patch]]
    cut: str  # said where the image does not hold what the filter sees

    def note(self) -> str:
        return self.cut

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
    fields = receptive_fields(subject.model, subject.input_shape)
    size = subject.input_shape[1:]
    layer = subject.chosen_map(deepest_inside(list(subject.maps), fields, size))
    channels = subject.maps[layer][0]
    filters = torch.linspace(0, channels - 1, min(FILTERS, channels)).round().int().tolist()
    module, field = subject.model.get_submodule(layer), fields[layer]
    found = top_patches(subject.task, subject.batches(subject.tell), module, field, filters)
    return PatchValues(layer, dict(zip(filters, found, strict=True)), too_small(layer, field, size))


def deepest_inside(names: list[str], fields: Mapping[str, ReceptiveField | None], size: Sequence[int]) -> str:
    """The part of the encoder that sees most, and no more than half of the image: its patches are parts of it."""
    inside = [name for name in names if "encoder" in name.split(".")] or names
    blocks = [name for name in inside if any(other.startswith(f"{name}.") for other in inside)]
    inside = blocks or inside  # what a block gives, and not a step on its way
    seen = {name: field.size for name in inside if (field := fields[name])}
    small = {name: sees for name, sees in seen.items() if all(2 * s <= n for s, n in zip(sees, size, strict=True))}
    return max(small, key=lambda name: (max(small[name]), -len(name))) if small else inside[0]


def draw(values: PatchValues, style: Style) -> Figure:
    """A square of nine for each filter."""
    rows = -(-len(values.filters) // ACROSS)
    figure, axes = grid(rows, ACROSS, FULL, 1.55 * rows + 0.2)
    figure.suptitle(values.layer.removeprefix("encoder."), x=0.01, ha="left", fontsize=8.5, weight="bold")
    for axis, (index, patches) in zip(axes.flat, values.filters.items(), strict=False):
        tiles(axis, whole(patches), 3)
        axis.set_title(f"filter {index}", fontweight="normal", fontsize=7, loc="center", pad=3)
    for axis in axes.flat[len(values.filters) :]:
        axis.set_axis_off()
    return figure


def whole(patches: Sequence[Patch]) -> list[np.ndarray]:
    """Patches as pictures of one size: what lies beyond the border of the image is clear."""
    height, width = (max(max(patch.pixels.shape[axis] for patch in patches), 1) for axis in (1, 2))
    cells = []
    for patch in patches:
        cell, shown = np.zeros((height, width, 4)), pixels(patch.pixels)
        # one that is cut at the top or on the left begins before the image
        y = height - shown.shape[0] if patch.window[0] == 0 else 0
        x = width - shown.shape[1] if patch.window[1] == 0 else 0
        place = cell[y : y + shown.shape[0], x : x + shown.shape[1]]
        place[..., :3] = shown if shown.ndim == 3 else shown[..., None]
        place[..., 3] = 1
        cells.append(cell)
    return cells


PATCHES = Instrument(
    shows="for some filters of a layer the nine patches, among all the images, that excite them most",
    reading="What the nine have in common is what the filter looks for; each shows all that it sees of the image.\n"
    "Early layers look for edges and colours, later ones for parts; a filter whose nine differ has no single meaning.",
    fits=needs_maps_of_pixels,
    look=look,
    draw=draw,
    takes_layer=True,
    passes=200,  # as many images as a report has
)
