"""The network as a drawing and a table (Figure 2.8)."""

import math
from itertools import pairwise

from markupsafe import Markup

from olhar.inspection.network import Layer, NetworkTable, Stage
from olhar.inspection.receptive_field import ReceptiveField
from olhar.report.parts import join, part
from olhar.report.story import Panel, Story
from olhar.report.svg import path, picture, tag
from olhar.report.words import compact

HEADS = [
    ("Layer", "text"), ("Output", "number"), ("Parameters", "number"), ("Multiply-adds", "number"),
    ("Memory", "number"), ("Sees", "number"),
]  # fmt: skip
MOST_DRAWN = 7  # more, and the words below them run into each other
LETTER = 7.4  # units of the drawing that a bold letter takes
CAPTION = "Height: how many pixels an activation has along one side. Thickness: how many channels."


def network_panel(story: Story) -> Panel | None:
    table = story.network
    if table is None:
        return None
    stages = table.stages()
    prefix = shared_prefix([stage.name for stage in stages])
    rows = [row(stage, stage.name.removeprefix(prefix)) for stage in stages]
    total = ["in all", "", f"{table.parameters:,}", compact(table.multiply_adds), memory(table.activation_bytes), ""]
    layers = [row(layer, layer.name or layer.kind, layer.kind) for layer in table.layers]
    heads = [("Stage", "text"), *HEADS[1:]]
    every = part("table", [HEADS[0], ("Kind", "text"), *HEADS[1:]], layers)
    drawing = part("figure", draw(table, prefix), CAPTION)
    body = join(drawing, part("table", heads, [*rows, total]), part("details", f"All {len(layers)} layers", every))
    height, width = table.input_shape[1:]
    seen = f"image of {width} × {height} pixels"
    if story.get("model.space"):
        seen = f"latent of {width} × {height} places"
    reading = (
        f"For one {seen}: what each stage gives (channels × height × width), what it "
        "costs, and how much of that one of its positions sees (the receptive field)."
    )
    return Panel("network", "Network", reading, body)


def row(layer: Layer | Stage, name: str, kind: str | None = None) -> list[str]:
    shape = " × ".join(map(str, layer.output_shape)) or "–"
    sees = field(layer.receptive_field) if layer.output_shape else "–"
    costs = [f"{layer.parameters:,}", compact(layer.multiply_adds), memory(layer.activation_bytes)]
    return [name, *([kind] if kind is not None else []), shape, *(c if c != "0" else "–" for c in costs), sees]


def field(seen: ReceptiveField | None) -> str:
    return "whole image" if seen is None else " × ".join(map(str, seen.size))


def memory(size: int) -> str:
    return f"{compact(size)}B" if size >= 1000 else f"{size} B" if size else "–"


def shared_prefix(names: list[str]) -> str:
    """What the most stages' names begin with ('encoder.'), and need not be repeated."""
    heads = [name.partition(".")[0] + "." for name in names if "." in name]
    common = max(set(heads), key=heads.count, default="")
    return common if heads.count(common) > 1 else ""


def draw(table: NetworkTable, prefix: str) -> Markup:
    """Stages as boxes in perspective: the input first, then one a stage."""
    stages = [stage for stage in table.stages() if stage.output_shape]
    if len(stages) > MOST_DRAWN:
        stages = [*stages[: MOST_DRAWN - 3], *stages[-3:]]
    shown = [("image", tuple(table.input_shape))]
    shown += [(stage.name.removeprefix(prefix), stage.output_shape) for stage in stages]
    width, floor = 760.0, 152.0
    slot = width / len(shown)
    tallest = max(space(shape) for _, shape in shown)
    parts: list[Markup] = []
    centres: list[tuple[float, float, float]] = []
    for i, (name, shape) in enumerate(shown):
        height = 8 + 96 * math.sqrt(space(shape) / tallest)
        depth = height * 0.34
        thick = min(3 + 2.1 * math.log2(1 + shape[0]), slot * 0.52)
        left = i * slot + (slot - thick - depth * 0.8) / 2
        parts.append(box(left, floor, thick, height, depth))
        middle = (i + 0.5) * slot
        centres.append((left, left + thick + depth * 0.8, floor - height / 2 - depth / 2))
        parts.append(tag("text", short_name(name, slot), x=middle, y=floor + 20, text_anchor="middle", class_="strong"))
        parts.append(tag("text", describe(shape), x=middle, y=floor + 35, text_anchor="middle"))
    for (_, end, y), (start, _, _) in pairwise(centres):
        tip = start - 3
        arrow = path([(end + 4, y), (tip, y)]) + path([(tip - 4, y - 3), (tip, y), (tip - 4, y + 3)])
        parts.append(tag("path", d=arrow, class_="flow"))
    return Markup('<div class="scroll drawing">{}</div>').format(
        picture(width, 194, "The stages of the network", Markup("").join(parts))
    )


def space(shape: tuple[int, ...]) -> int:
    """Pixels along the height of an activation; 1 for a vector."""
    return shape[1] if len(shape) == 3 else 1


def describe(shape: tuple[int, ...]) -> str:
    if len(shape) == 3:
        return f"{shape[0]} @ " + (f"{shape[1]}²" if shape[1] == shape[2] else f"{shape[1]}×{shape[2]}")
    return " × ".join(map(str, shape))


def short_name(name: str, slot: float) -> str:
    """A name as far as it fits below its box: its end, for siblings begin alike."""
    limit = int(slot / LETTER)
    return name if len(name) <= limit else "…" + name[1 - limit :]


def box(x: float, floor: float, thick: float, height: float, depth: float) -> Markup:
    """A cuboid: front, top and side faces."""
    right, top, dx, dy = x + thick, floor - height, depth * 0.8, depth * 0.5
    front = tag("rect", x=x, y=top, width=thick, height=height, class_="box-front")
    upper = path([(x, top), (x + dx, top - dy), (right + dx, top - dy), (right, top)]) + "Z"
    side = path([(right, top), (right + dx, top - dy), (right + dx, floor - dy), (right, floor)]) + "Z"
    return tag("path", d=upper, class_="box-top") + tag("path", d=side, class_="box-side") + front
