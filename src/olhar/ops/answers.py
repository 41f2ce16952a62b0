"""From numbers for every anchor to a few boxes: a threshold, the surest, non-maximum suppression. No likelihood.

Shapes: A anchors, c classes, n boxes that are kept.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from olhar.ops.boxes import suppress

# Candidates of one image that suppression looks at: beyond them even crowds hold nothing new.
CANDIDATES = 1000


class Kept(NamedTuple):
    """Boxes with their scores and classes, the surest first."""

    boxes: Float[Tensor, "n 4"]
    scores: Float[Tensor, " n"]
    labels: Int[Tensor, " n"]


def select(boxes: Float[Tensor, "A 4"], scores: Float[Tensor, "A c"], least: float, overlap: float, most: int) -> Kept:
    """The answers of one image: classes are independent, so that a box may be kept once for each of them.

    Args:
        least: score below which nothing is an answer.
        overlap: IoU beyond which the less sure of two boxes of one class goes.
        most: boxes that are kept at most.
    """
    found = candidates(boxes, scores, least)
    kept = suppress(found.boxes, found.scores, found.labels, overlap)[:most]
    return Kept(found.boxes[kept], found.scores[kept], found.labels[kept])


def candidates(boxes: Float[Tensor, "A 4"], scores: Float[Tensor, "A c"], least: float) -> Kept:
    """What suppression looks at: every box with every class whose score is above `least`, in no order."""
    flat = scores.flatten()
    above = (flat > least).nonzero().flatten()
    if len(above) > CANDIDATES:
        above = above[flat[above].topk(CANDIDATES).indices]
    anchor = torch.div(above, scores.shape[1], rounding_mode="floor")
    return Kept(boxes[anchor], flat[above], above % scores.shape[1])
