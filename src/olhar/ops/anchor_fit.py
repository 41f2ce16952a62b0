"""Anchors that fit the data: three sizes and three proportions by k-means on IoU over the objects' own boxes.

numpy alone, so that a folder can be looked at without torch.

Shapes: n objects, S sizes, R proportions, k = R S shapes, in the order of olhar.ops.anchors.shapes.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float

TURNS = 100  # of k-means; it settles in some ten
# Objects looked at: the centres of ten thousand are those of a million to within a percent.
MOST = 10_000
# The least that two sizes, and two proportions, differ by: where all objects are alike, k-means would make the nine
# anchors of a position one and the same.
SPREAD = 1.15


@dataclass(frozen=True)
class Fit:
    """sizes: √area, ascending; proportions: height over width, ascending; both of the image the model sees.

    mean_iou: of each object with the shape that fits it best, both on one centre: what the fit makes large.
    """

    sizes: tuple[float, ...]
    proportions: tuple[float, ...]
    mean_iou: float


def shape_iou(a: Float[np.ndarray, "n 2"], b: Float[np.ndarray, "k 2"]) -> Float[np.ndarray, "n k"]:
    """IoU of all pairs of widths and heights, laid on one centre."""
    shared = np.minimum(a[:, None], b).prod(-1)
    return shared / (a.prod(-1)[:, None] + b.prod(-1) - shared)


def make(sizes: Float[np.ndarray, " S"], proportions: Float[np.ndarray, " R"]) -> Float[np.ndarray, "k 2"]:
    """Widths and heights of every proportion in every size."""
    root = np.sqrt(proportions)[:, None]
    return np.stack([sizes / root, sizes * root], -1).reshape(-1, 2)


def fit(objects: Float[np.ndarray, "n 2"], num_sizes: int = 3, num_proportions: int = 3) -> Fit:
    """k-means whose k = R S centres are all pairs of R proportions and S sizes, and whose nearness is the IoU.

    Each turn gives every object to the shape it overlaps most, then moves each size, and each proportion, to the
    geometric mean of the objects that chose it (Redmon and Farhadi 2017, arXiv 1612.08242, with centres that are
    products). The start is the quantiles of both, so the result is the same every time; of all turns the best is
    kept, for this mean does not always raise the IoU.

    Args:
        objects: widths and heights in pixels of the image the model sees, all above 0; at least one.
    """
    objects = objects[:: -(-len(objects) // MOST)]
    log_size, log_ratio = np.log(objects.prod(-1)) / 2, np.log(objects[:, 1] / objects[:, 0])
    sizes, ratios = _quantiles(log_size, num_sizes), _quantiles(log_ratio, num_proportions)
    best, before = None, None
    for _ in range(TURNS):
        overlap = shape_iou(objects, make(np.exp(sizes), np.exp(ratios)))
        mean = float(overlap.max(1).mean())
        if best is None or mean > best[0]:
            best = (mean, sizes, ratios)
        chosen = overlap.argmax(1)
        if before is not None and (chosen == before).all():
            break
        sizes = _apart(_means(log_size, chosen % num_sizes, sizes))
        ratios = _apart(_means(log_ratio, chosen // num_sizes, ratios))
        before = chosen
    assert best is not None
    mean, sizes, ratios = best
    return Fit(tuple(np.exp(sizes).tolist()), tuple(np.exp(ratios).tolist()), mean)


def _quantiles(values: Float[np.ndarray, " n"], count: int) -> Float[np.ndarray, " count"]:
    """The middles of `count` equal parts of the values."""
    return _apart(np.quantile(values, (np.arange(count) + 0.5) / count))


def _means(
    values: Float[np.ndarray, " n"], owner: np.ndarray, centres: Float[np.ndarray, " c"]
) -> Float[np.ndarray, " c"]:
    """The mean of the values of each centre; a centre that nobody chose stays."""
    count = np.bincount(owner, minlength=len(centres))
    total = np.bincount(owner, values, minlength=len(centres))
    return np.where(count > 0, total / np.maximum(count, 1), centres)


def _apart(centres: Float[np.ndarray, " c"]) -> Float[np.ndarray, " c"]:
    """The centres sorted, about the same middle, no two nearer than SPREAD (they are logarithms)."""
    centres = np.sort(centres)
    wider = centres.copy()
    for i in range(1, len(wider)):
        wider[i] = max(wider[i], wider[i - 1] + np.log(SPREAD))
    return wider - (wider.mean() - centres.mean())


def reached(
    boxes: Float[np.ndarray, "n 4"],
    size: tuple[int, int],
    strides: Sequence[int],
    shapes: Sequence[Float[np.ndarray, "k 2"]],
    overlap: float = 0.5,
    offset: float = 0.5,
) -> Bool[np.ndarray, " n"]:
    """Which objects an anchor of the grid overlaps by at least this IoU: their share is the recall of the anchors.

    Args:
        boxes: x0 y0 x1 y1 in pixels of the image the model sees, of `size` (height, width).
        shapes: of each level, as in olhar.ops.anchors.Grid.over.
    """
    best = np.zeros(len(boxes))
    low, high = boxes[:, None, :2], boxes[:, None, 2:]
    for stride, own in zip(strides, shapes, strict=True):
        # Of anchors of one shape the nearest overlaps most: the overlap falls off with the distance on each axis.
        count = np.array([-(-size[1] // stride), -(-size[0] // stride)])
        nearest = np.round((low + high) / 2 / stride - offset).clip(0, count - 1)
        centre = (nearest + offset) * stride
        shared = np.minimum(high, centre + own / 2) - np.maximum(low, centre - own / 2)
        shared = shared.clip(0).prod(-1)
        best = np.maximum(best, (shared / ((high - low).prod(-1) + own.prod(-1) - shared)).max(1))
    return best >= overlap
