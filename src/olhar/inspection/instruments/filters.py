"""The weights themselves: the filters of the first layer as pictures, those of any other as tiles (Figure 2.5)."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import nn

from olhar.errors import UserError
from olhar.inspection.figure import FULL, Style, new_figure, tiles
from olhar.inspection.instrument import Instrument, Subject, Table, Values, needs_pixels

WEIGHTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
PICTURES, ACROSS = 64, 16  # filters as pictures: four rows of a page
TILES = 12  # filters, and inputs of each, as tiles: smaller ones are not told apart


@dataclass(frozen=True)
class FilterValues(Values):
    """The weights [F, C, h, w] of a layer, F filters over C channels; `seen`: those channels are the image's."""

    layer: str
    weights: Float[np.ndarray, "F C h w"]
    seen: bool

    @property
    def norms(self) -> Float[np.ndarray, "F"]:
        return np.sqrt((self.weights**2).sum((1, 2, 3)))

    @property
    def order(self) -> list[int]:
        """Filters, the largest first."""
        return np.argsort(-self.norms, kind="stable").tolist()

    def table(self) -> Table:
        kernels = np.sqrt((self.weights**2).sum((2, 3)))  # [F, C]
        rows = [
            (i, round(float(norm), 4), round(float(w.mean()), 5), int(k.argmax()), round(float(k.max() / norm), 4))
            for i, (norm, w, k) in enumerate(zip(self.norms.clip(1e-12), self.weights, kernels, strict=True))
        ]
        return Table(("filter", "norm", "mean", "strongest input", "its share of the norm"), rows)


def look(subject: Subject) -> FilterValues:
    """Of the layer that was asked for, or the first."""
    layers = {name: m for name, m in subject.model.named_modules() if isinstance(m, WEIGHTED)}
    channels, height, width = subject.input_shape
    layer = subject.layer or next(iter(layers))
    if layer not in layers:
        inside = [name for name in layers if name.startswith(f"{layer}.")]
        raise UserError(f"'{layer}' has no filters of its own: try --layer {(inside or list(layers))[0]}.")
    module = layers[layer]
    weights = module.weight.detach().float().cpu().numpy()
    if isinstance(module, nn.ConvTranspose2d):
        weights = weights.transpose(1, 0, 2, 3)
    first = layer == next(iter(layers))
    if isinstance(module, nn.Linear):
        of_pixels = first and weights.shape[1] == channels * height * width
        weights = weights.reshape(-1, *(subject.input_shape if of_pixels else (weights.shape[1], 1, 1)))
    return FilterValues(layer, weights, first and weights.shape[1] == channels and min(weights.shape[2:]) > 1)


def draw(values: FilterValues, style: Style) -> Figure:
    """Pictures of what sees the image; of other layers the norm of every kernel, and the strongest as tiles."""
    return draw_pictures(values, style) if values.seen else draw_tiles(values, style)


def draw_pictures(values: FilterValues, style: Style) -> Figure:
    """The largest first, each on its own scale: in colour where it sees three channels."""
    order = values.order[:PICTURES]
    across = min(ACROSS, max(len(order), 8))
    cells = []
    for weight in values.weights[order]:
        share = weight / max(float(np.abs(weight).max()), 1e-12)
        cells.append(0.5 + 0.5 * share.transpose(1, 2, 0) if len(share) == 3 else signed(share.mean(0), style))
    height, width = values.weights.shape[2:]
    rows = -(-len(order) // across)
    figure = new_figure(FULL, 1.4 * FULL / across * height / width * rows + 0.05)
    tiles(figure.subplots(), cells, across, [str(i) for i in order], head=0.38)
    return figure


def draw_tiles(values: FilterValues, style: Style) -> Figure:
    """On the left all kernels by their norm, on the right the largest filters: a row each, its strongest inputs."""
    if max(values.weights.shape[2:]) == 1:  # a kernel of one number needs no tile
        figure = new_figure(FULL, 3.4)
        matrix(figure.subplots(), values.weights[:, :, 0, 0], style)
        return figure
    norms = np.sqrt((values.weights**2).sum((2, 3)))
    rows, columns = values.order[:TILES], min(TILES, norms.shape[1])
    largest = max(float(np.abs(values.weights[rows]).max()), 1e-12)
    strongest = [(i, j) for i in rows for j in np.argsort(-norms[i], kind="stable")[:columns]]
    figure = new_figure(FULL, 3.4)
    left, right = figure.subplots(1, 2, width_ratios=(1.15, 1))
    matrix(left, norms, style)
    tiles(right, [signed(values.weights[i, j] / largest, style) for i, j in strongest], columns, apart=0.25)
    right.set_title("largest filters, with their strongest inputs", fontweight="normal", fontsize=7, loc="center")
    low, high = right.get_ylim()[::-1]
    for place, i in enumerate(rows):
        y = low + (place + 0.5) * (high - low) / len(rows)
        right.text(right.get_xlim()[0], y, f"{i} ", ha="right", va="center", fontsize=6, color=style.soft)
    return figure


def matrix(axes: Axes, numbers: Float[np.ndarray, "F C"], style: Style) -> None:
    """Filters by inputs: signed weights, or norms, from nothing to the largest."""
    largest = max(float(np.percentile(np.abs(numbers), 99.5)), 1e-12)
    both = bool(numbers.min() < 0)
    scale = {"cmap": style.diverging, "vmin": -largest} if both else {"cmap": style.sequential, "vmin": 0}
    drawn = axes.imshow(numbers, vmax=largest, aspect="auto", interpolation="nearest", **scale)
    axes.set(xlabel="input", ylabel="filter")
    bar = axes.figure.colorbar(drawn, ax=axes, pad=0.02, shrink=0.9)
    bar.set_label("weight" if both else "norm of the kernel", fontsize=7)
    bar.outline.set_visible(False)


def signed(share: Float[np.ndarray, "h w"], style: Style) -> Float[np.ndarray, "h w 3"]:
    """A kernel around zero, in [-1, 1], in colours."""
    return style.diverging(0.5 + share / 2)[..., :3]


FILTERS = Instrument(
    shows="the weights of the first layer's filters as pictures, or of any layer as norms and tiles",
    reading="Pictures are what each filter answers to most, on its own scale; of tiles orange adds, blue takes away."
    "\nFilters that look like noise have learnt little; many that look alike say that there are more than are needed.",
    fits=needs_pixels,
    look=look,
    draw=draw,
    takes_layer=True,
    passes=0,
)
