"""What the channels of a layer answer to one image, each as a map (Figure 2.12a)."""

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from olhar.inspection.capture import capture, tensors_of
from olhar.inspection.figure import FULL, Style, new_figure, show, tiles
from olhar.inspection.instrument import Instrument, Subject, Table, Values, model_input, needs_maps

MOST, ACROSS = 21, 7  # maps beside the image: three rows of a page


@dataclass(frozen=True)
class MapValues(Values):
    """The maps [C, h, w] of a layer, and the image."""

    layer: str
    maps: np.ndarray
    image: Tensor  # uint8 [C, H, W]

    def table(self) -> Table:
        rows = [
            (i, round(float(m.mean()), 4), round(float(m.max()), 4), round(float((m == 0).mean()), 4))
            for i, m in enumerate(self.maps)
        ]
        return Table(("channel", "mean", "largest", "share of zeros"), rows)


def look(subject: Subject) -> MapValues:
    """Of the first image."""
    layer, batch = subject.chosen_map(), subject.first(1)
    image = model_input(subject.task, batch)
    with torch.inference_mode(), capture(subject.model, [layer]) as found:
        subject.model(image)
    maps = tensors_of(found[layer])[-1][0].float().cpu().numpy()
    return MapValues(layer, maps, batch["image"][0].cpu())


def draw(values: MapValues, style: Style) -> Figure:
    """The channels that answer most, strongest first, all on one scale."""
    strength = np.abs(values.maps).mean((1, 2))
    order = np.argsort(-strength)[:MOST]
    largest = max(float(np.percentile(np.abs(values.maps[order]), 99.5)), 1e-12)
    shares = values.maps[order] / largest
    maps = style.diverging(shares / 2 + 0.5) if values.maps.min() < 0 else style.sequential(shares)
    rows = -(-len(order) // ACROSS)
    height, width = values.maps.shape[1:]
    figure = new_figure(FULL, 1.02 * rows * height / width + 0.1)
    left, right = figure.subplots(1, 2, width_ratios=(1, ACROSS))
    show(left, values.image, values.layer.removeprefix("encoder."))
    left.set_anchor("N")
    tiles(right, list(maps[..., :3]), ACROSS, [str(i) for i in order], 0.2)
    right.set_anchor("NW")
    return figure


FEATURE_MAPS = Instrument(
    shows="what the channels of a layer answer to one image, the strongest first",
    reading="Dark (or, on a dark ground, bright) is where a channel answers; all share one scale.\n"
    "Orange and blue, where there are both, are positive and negative answers.",
    fits=needs_maps,
    look=look,
    draw=draw,
    takes_layer=True,
)
