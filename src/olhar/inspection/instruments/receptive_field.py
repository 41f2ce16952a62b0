"""The receptive field over an image: what positions of each stage can see, and what they do see (Figure 2.9)."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from torch import Tensor

from olhar.inspection.figure import FULL, Style, glow, new_figure, show
from olhar.inspection.instrument import Instrument, Subject, Table, Values, model_input, needs_maps_of_pixels
from olhar.inspection.measured_field import Measured, Window, measured_field, too_small, visible_window
from olhar.inspection.receptive_field import ReceptiveField, receptive_fields

IMAGES = 8  # over which the gradient is averaged: enough that no filter's silence on one image shows
MOST_SHOWN = 5
COLUMNS = ("layer", "positions", "sees", "stride", "of which in the image", "measured", "95% within")


@dataclass(frozen=True)
class Seen:
    """One layer: its field, None for the whole image, what of it lies in the image, and what was measured."""

    layer: str
    positions: tuple[int, int]
    field: ReceptiveField | None
    window: Window
    measured: Measured


@dataclass(frozen=True)
class FieldValues(Values):
    """Of some layers what their middle position sees, of every layer the size of the field, and an image."""

    seen: tuple[Seen, ...]
    sizes: tuple[tuple[str, int], ...]  # of every layer that gives maps, in the order of the forward
    image: Tensor  # uint8 [C, H, W]
    cut: str = ""  # said where the image does not hold the field that was asked for

    def note(self) -> str:
        return self.cut

    def table(self) -> Table:
        return Table(COLUMNS, [row(one) for one in self.seen])


def row(one: Seen) -> tuple[str, ...]:
    """A layer as a line of the table."""
    field = one.field
    found = one.measured.window
    return (
        one.layer,
        "x".join(map(str, one.positions)),
        "x".join(map(str, field.size)) if field else "whole image",
        "x".join(map(str, field.stride)) if field else "",
        sides(one.window),
        sides(found) if found else "nothing",
        f"{one.measured.effective}x{one.measured.effective}",
    )


def sides(window: Window) -> str:
    return f"{window[2] - window[0]}x{window[3] - window[1]}"


def look(subject: Subject) -> FieldValues:
    """The layer that was asked for, or the last of each resolution."""
    batch = subject.first(IMAGES)
    image = model_input(subject.task, batch)
    fields = receptive_fields(subject.model, subject.input_shape)
    layers = [subject.chosen_map()] if subject.layer else stages(subject.maps)
    size = (image.shape[2], image.shape[3])
    seen = []
    for layer in layers:
        measured = measured_field(subject.model, image, layer)
        positions = (subject.maps[layer][1], subject.maps[layer][2])
        window = visible_window(fields[layer], measured.position, size)
        seen.append(Seen(layer, positions, fields[layer], window, measured))
    sizes = tuple((name, max(field.size)) for name in subject.maps if (field := fields.get(name)))
    cut = too_small(layers[0], fields[layers[0]], size) if subject.layer else ""
    return FieldValues(tuple(seen), sizes, batch["image"][0].cpu(), cut)


def stages(maps: dict[str, tuple[int, ...]]) -> list[str]:
    """The last layer of the encoder (or, without one, of the model) at each resolution, fine to coarse."""
    inside = {name: s for name, s in maps.items() if name.startswith("encoder.")} or maps
    last: dict[tuple[int, ...], str] = {}
    for name, shape in inside.items():
        last[shape[1:]] = name
    # a block by its own name: where its last layer ends, it ends
    ends = {shape: min((n for n in inside if inside[n] == inside[name] and name.startswith(n)), key=len)
            for shape, name in last.items()}  # fmt: skip
    return [ends[shape] for shape in sorted(ends, reverse=True)][-MOST_SHOWN:]


def draw(values: FieldValues, style: Style) -> Figure:
    """The image once a layer, and below how the field grows with depth."""
    count = len(values.seen)
    figure = new_figure(FULL, 1.5 + (FULL / max(count, 3)) * 0.9)
    parts: Any = figure.subfigures(2, 1, height_ratios=(FULL / max(count, 3) * 0.9, 1.5))
    above, below = parts[0], parts[1]
    for axes, one in zip(np.atleast_1d(above.subplots(1, max(count, 3))).flat, values.seen, strict=False):
        draw_field(axes, one, values.image, style)
    for axes in above.axes[count:]:
        axes.set_axis_off()
    draw_growth(below.subplots(), values, style)
    return figure


def draw_field(axes: Axes, one: Seen, image: Tensor, style: Style) -> None:
    """The image, bright where the position looks; its window dashed."""
    weight = one.measured.weight
    # the root: the middle of a field weighs a hundred times its border, and both are to be seen
    heat = np.sqrt(weight / weight.max()) if weight.max() else weight
    show(axes, glow(image, heat, style).transpose(2, 0, 1))
    top, left, bottom, right = one.window
    frame = Rectangle((left - 0.5, top - 0.5), right - left, bottom - top, fill=False, linewidth=1.2)
    frame.set(edgecolor=style.accent, linestyle=(0, (3, 2)), clip_on=False)
    axes.add_patch(frame)
    name = one.layer.removeprefix("encoder.")
    can = " × ".join(map(str, one.field.size)) if one.field else "whole image"
    axes.set_title(name, fontsize=7, pad=3)
    axes.set_xlabel(f"can see {can}\n95% within {one.measured.effective} × {one.measured.effective}", fontsize=6.5)


def draw_growth(axes: Axes, values: FieldValues, style: Style) -> None:
    """Sizes against depth, and those that were measured."""
    names = [name for name, _ in values.sizes]
    sizes = [size for _, size in values.sizes]
    side = max(values.image.shape[1:])
    axes.plot(range(1, len(sizes) + 1), sizes, drawstyle="steps-mid", color=style.accent, label="can see")
    shown = [one for one in values.seen if one.layer in names]
    at = [names.index(one.layer) + 1 for one in shown]
    found = [one.measured.effective for one in shown]
    axes.plot(at, found, "D", color=style.second, markersize=4, label="95% of the gradient within")
    axes.axhline(side, color=style.soft, linewidth=0.8, linestyle=(0, (4, 3)))
    axes.text(0.6, side, f"image: {side} pixels", fontsize=6.5, color=style.soft, va="bottom", ha="left")
    axes.set_xlabel("layer, in the order of the forward")
    axes.set_ylabel("pixels along a side")
    axes.set_ylim(0, max(1.15 * side, 1.08 * max(sizes, default=1)))
    axes.set_xlim(0.5, len(sizes) + 0.5)
    axes.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2, borderaxespad=0.2)


RECEPTIVE_FIELD = Instrument(
    shows="which pixels a position of a layer can see, and which it does see, over an image",
    reading="Dashed: all that the middle position of the layer can see, cut at the border. Bright: what does change it."
    "\nMost of the weight lies in the middle: what is larger than the bright part is seen only in parts.",
    fits=needs_maps_of_pixels,
    look=look,
    draw=draw,
    takes_layer=True,
    passes=3 * IMAGES * MOST_SHOWN,
)
