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
    flat = scores.flatten()
    candidates = (flat > least).nonzero().flatten()
    if len(candidates) > CANDIDATES:
        candidates = candidates[flat[candidates].topk(CANDIDATES).indices]
    anchor = torch.div(candidates, scores.shape[1], rounding_mode="floor")
    label = candidates % scores.shape[1]
    kept = suppress(boxes[anchor], flat[candidates], label, overlap)[:most]
    return Kept(boxes[anchor[kept]], flat[candidates[kept]], label[kept])
