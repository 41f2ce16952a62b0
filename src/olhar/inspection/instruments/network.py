"""The network drawn: its stages as boxes, the blocks in them with their skips, and what each costs (Figures 2.3, 2.6,
2.8).
"""

import math
from dataclasses import dataclass
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Polygon

from olhar.inspection.figure import FULL, Style, bare, new_figure
from olhar.inspection.instrument import Instrument, Subject, Table, Values, always
from olhar.inspection.network import NetworkTable, Stage, network
from olhar.inspection.receptive_field import ReceptiveField

MOST_STAGES = 12  # side by side; a page has no room for the names of more
MOST_BLOCKS = 6  # drawn one by one in a stage
COLUMNS = ("layer", "kind", "output", "parameters", "multiply-adds", "bytes", "sees")


@dataclass(frozen=True)
class NetworkValues(Values):
    """The layer table of a model."""

    network: NetworkTable

    def table(self) -> Table:
        rows = [
            (
                layer.name or layer.kind,
                layer.kind,
                "x".join(map(str, layer.output_shape)),
                layer.parameters,
                layer.multiply_adds,
                layer.activation_bytes,
                said(layer.receptive_field) if layer.output_shape else "",
            )
            for layer in self.network.layers
        ]
        total = self.network
        sums = (total.parameters, total.multiply_adds, total.activation_bytes)
        return Table(COLUMNS, [*rows, ("in all", "", "", *sums, "")])


def said(field: ReceptiveField | None) -> str:
    """A field in words: height x width in pixels."""
    return "whole image" if field is None else "x".join(map(str, field.size))


def look(subject: Subject) -> NetworkValues:
    return NetworkValues(network(subject.model, subject.input_shape))


@dataclass(frozen=True)
class Block:
    """A part of a stage as it is drawn: its name, what is written on it, and how its paths meet."""

    name: str
    label: str
    joins: str


def blocks_of(stage: Stage, table: NetworkTable) -> list[Block]:
    """The parts of a stage: those in which two paths meet, and between them its convolutions, pools and linear layers.

    Normalisation and activation belong to what stands before them.
    """
    found: dict[str, Block] = {}
    for layer in stage.layers:
        owner = max((n for n in table.joins if n and layer.name.startswith(n + ".")), key=len, default="")
        how, kind = table.joins.get(owner, ("", layer.kind))
        if owner or layer.multiply_adds or "Pool" in layer.kind:
            found.setdefault(owner or layer.name, Block(owner or layer.name, kind, how))
    return list(found.values())


def draw(values: NetworkValues, style: Style) -> Figure:
    """Boxes in perspective above, the blocks of each below them, and bars of the costs."""
    table = values.network
    every = [stage for stage in table.stages() if stage.output_shape]
    stages = every if len(every) <= MOST_STAGES else [*every[: MOST_STAGES - 3], *every[-3:]]
    most = min(MOST_BLOCKS, max(len(blocks_of(stage, table)) for stage in stages))
    figure = new_figure(FULL, 3.1 + 0.21 * most)
    above, below = figure.subplots(2, 1, height_ratios=(1.75 + 0.21 * most, 1.3))
    above.set_ylim(-0.62 - 0.235 * most, 1.45)
    if len(stages) < len(every):
        above.set_title(f"{len(every) - len(stages)} stages before the last three are left out", fontweight="normal")
    draw_boxes(above, stages, table, style)
    draw_costs(below, stages, style)
    return figure


def draw_boxes(axes: Axes, stages: list[Stage], table: NetworkTable, style: Style) -> None:
    """The image and each stage as a cuboid: height for pixels, thickness for channels, and its blocks below."""
    shapes = [table.input_shape, *(stage.output_shape for stage in stages)]
    names = ["image", *short_names(stages)]
    tallest = max(height(shape) for shape in shapes)
    edges = []
    for i, (name, shape) in enumerate(zip(names, shapes, strict=True)):
        tall = 0.12 + 1.0 * math.sqrt(height(shape) / tallest)
        thick = min(0.05 + 0.035 * math.log2(1 + shape[0]), 0.42)
        left = i - (thick + 0.25 * tall) / 2
        cuboid(axes, left, thick, tall, style, image=i == 0)
        edges.append((left, left + thick + 0.25 * tall, tall * 0.55))
        axes.text(i, -0.14, name, ha="center", va="top", fontweight="bold", fontsize=7)
        axes.text(i, -0.30, describe(shape), ha="center", va="top", color=style.soft, fontsize=6.5)
        if i:
            draw_blocks(axes, i, blocks_of(stages[i - 1], table), style)
    for (_, end, tall), (start, _, next_tall) in pairwise(edges):
        y = min(tall, next_tall)
        axes.add_patch(arrow((end + 0.03, y), (start - 0.03, y), style))
    axes.set_xlim(-0.6, len(shapes) - 0.4)
    bare(axes)


def cuboid(axes: Axes, left: float, thick: float, tall: float, style: Style, image: bool) -> None:
    """Front, top and side; the image itself in the second colour."""
    dx, dy, right = 0.25 * tall, 0.2 * tall, left + thick
    edge, face = (style.second, style.second_soft) if image else (style.accent, style.accent_soft)
    common = {"edgecolor": edge, "linewidth": 0.7, "joinstyle": "round"}
    axes.add_patch(Polygon([(left, 0), (right, 0), (right, tall), (left, tall)], facecolor=face, **common))
    top = [(left, tall), (right, tall), (right + dx, tall + dy), (left + dx, tall + dy)]
    side = [(right, 0), (right + dx, dy), (right + dx, tall + dy), (right, tall)]
    for points, alpha in ((top, 0.35), (side, 0.6)):
        axes.add_patch(Polygon(points, facecolor=edge, alpha=alpha, linewidth=0))
        axes.add_patch(Polygon(points, facecolor="none", **common))


def draw_blocks(axes: Axes, x: int, blocks: list[Block], style: Style) -> None:
    """Small boxes one below the other; around each whose paths meet, the way past it."""
    shown = blocks if len(blocks) <= MOST_BLOCKS else blocks[: MOST_BLOCKS - 1]
    step, tall, wide = 0.235, 0.155, 0.62
    for i, block in enumerate(shown):
        y = -0.66 - i * step
        box = FancyBboxPatch((x - wide / 2, y - tall / 2), wide, tall, boxstyle="round,pad=0,rounding_size=0.04")
        box.set(facecolor=style.sunk, edgecolor=style.line, linewidth=0.6)
        axes.add_patch(box)
        axes.text(x, y - 0.006, block.label[:14], ha="center", va="center", fontsize=5.2, color=style.ink)
        if block.joins:
            skip(axes, x + wide / 2, y, tall, style.second if block.joins == "add" else style.accent)
    if len(shown) < len(blocks):
        y = -0.66 - len(shown) * step
        more = f"and {len(blocks) - len(shown)} more"
        axes.text(x, y, more, ha="center", va="center", fontsize=5.2, color=style.soft)


def skip(axes: Axes, x: float, y: float, tall: float, colour: str) -> None:
    """An arrow from above the right end of a box to below it."""
    ends = ((x - 0.02, y + tall / 2 + 0.01), (x - 0.02, y - tall / 2 - 0.01))
    axes.add_patch(
        FancyArrowPatch(
            *ends,
            connectionstyle="arc3,rad=-0.9",
            arrowstyle="-|>,head_length=2,head_width=1.1",
            color=colour,
            linewidth=0.9,
            shrinkA=0,
            shrinkB=0,
        )
    )


def arrow(start: tuple[float, float], end: tuple[float, float], style: Style) -> FancyArrowPatch:
    return FancyArrowPatch(start, end, arrowstyle="->,head_length=2.2,head_width=1.5", color=style.soft, linewidth=0.8,
                           shrinkA=0, shrinkB=0)  # fmt: skip


def draw_costs(axes: Axes, stages: list[Stage], style: Style) -> None:
    """Of each stage its share of the parameters, the multiply-adds and the activations."""
    rows = (
        ("parameters", [stage.parameters for stage in stages]),
        ("multiply-adds", [stage.multiply_adds for stage in stages]),
        ("activations", [stage.activation_bytes for stage in stages]),
    )
    for i, (name, values) in enumerate(rows):
        total = max(sum(values), 1)
        places = [j + 1 + (i - 1) * 0.26 for j in range(len(stages))]
        shares = [100 * value / total for value in values]
        suffix = "B" if name == "activations" else ""
        axes.bar(places, shares, 0.23, color=style.colour(i), label=f"{name}: {compact(sum(values))}{suffix} in all")
        for place, share, value in zip(places, shares, values, strict=True):
            if value and len(stages) <= 7:
                axes.text(place, share + 1.5, compact(value), ha="center", va="bottom", fontsize=4.6, color=style.soft)
    axes.set_xlim(-0.6, len(stages) + 0.6)
    axes.spines["left"].set_visible(False)
    axes.grid(axis="y")
    axes.tick_params(length=0)
    axes.set_ylim(0, axes.get_ylim()[1] * 1.1)
    axes.set_xticks(range(1, len(stages) + 1), short_names(stages))
    axes.set_ylabel("share of the whole, %")
    axes.legend(loc="upper left", ncols=1, handlelength=0.8, borderaxespad=0.1)


def height(shape: tuple[int, ...]) -> int:
    return shape[1] if len(shape) == 3 else 1


def describe(shape: tuple[int, ...]) -> str:
    if len(shape) == 3 and shape[1] == shape[2]:
        return f"{shape[0]} @ {shape[1]}²"
    return " × ".join(map(str, shape))


def short_names(stages: list[Stage]) -> list[str]:
    """The stages' names without what they begin with, and short enough to stand side by side."""
    limit = 14 if len(stages) <= 7 else 9
    names = []
    for stage in stages:
        name = stage.name
        for prefix in ("encoder.", "decoder."):
            name = name.replace(prefix, "")
        while len(name) > limit and "." in name:
            name = name.partition(".")[2]
        names.append(name if len(name) <= limit else name[: limit - 1] + "…")
    return names


def compact(number: float) -> str:
    """1814073344 -> 1.81G."""
    for unit in ("", "k", "M", "G", "T"):
        if abs(number) < 999.5:
            return f"{number:.3g}{unit}"
        number /= 1000
    return f"{number:.3g}P"


NETWORK = Instrument(
    shows="the layers with their shapes, parameters, multiply-adds and memory, drawn as blocks and stages",
    reading="Boxes: as tall as the map has pixels along a side, as thick as it has channels; a bow around a block is a "
    "skip, orange where it is added, blue where it is laid beside.\n"
    "Bars: which stage holds the parameters, which does the work, which needs the memory.",
    fits=always,
    look=look,
    draw=draw,
)
