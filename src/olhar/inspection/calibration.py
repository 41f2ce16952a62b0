"""Do the probabilities mean what they say? Of all answers given with 80%, 80% should be right.

Shapes: N images.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float


@dataclass(frozen=True)
class Bin:
    """The answers whose probability falls in (low, high]: how many, their mean probability, the share that is right."""

    low: float
    high: float
    count: int
    confidence: float
    accuracy: float


@dataclass(frozen=True)
class Calibration:
    """Reliability by bins, empty ones left out, and the expected calibration error.

    `error` is Σ n_b / N |accuracy_b - confidence_b|; `bias` is the mean probability minus the share that is
    right, positive where the model is overconfident.
    """

    bins: tuple[Bin, ...]
    error: float
    bias: float


def calibration(confidence: Float[np.ndarray, "N"], correct: Bool[np.ndarray, "N"], num_bins: int = 15) -> Calibration:
    """Reliability of the probabilities of N answers, of which `correct` came true.

    Bins of equal width, 15 as in Guo et al. 2017 (arXiv 1706.04599), Eq 3. `confidence` lies in [0, 1].
    """
    assert len(confidence) == len(correct) > 0
    edges = np.linspace(0, 1, num_bins + 1)
    index = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, num_bins - 1)
    bins = []
    for b in np.unique(index):
        inside = index == b
        mean, right = float(confidence[inside].mean()), float(correct[inside].mean())
        bins.append(Bin(float(edges[b]), float(edges[b + 1]), int(inside.sum()), mean, right))
    error = sum(b.count * abs(b.accuracy - b.confidence) for b in bins) / len(confidence)
    return Calibration(tuple(bins), error, float(confidence.mean() - correct.mean()))
