"""What a pair of training curves says: has the model converged, or did it begin to overfit (Figure 1.9)?"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float


@dataclass(frozen=True)
class Turning:
    """From `epoch` on the validation loss rises: by `rise`, in the loss's units, until the end."""

    epoch: float
    loss: float
    rise: float


def turning_point(epochs: Sequence[float], losses: Sequence[float]) -> Turning | None:
    """The epoch after which the validation loss rises for good, or None.

    The rule: smooth the losses with a moving average over 3 evaluations and take its lowest point. It is a
    turning point where at least 3 evaluations follow it, and the mean of the last 3 lies above it by more than
    both 3 standard deviations of the noise from one evaluation to the next and 2% of the whole fall before it.
    Losses that are not finite are left out.
    """
    pairs = [(e, v) for e, v in zip(epochs, losses, strict=True) if np.isfinite(v)]
    if len(pairs) < 5:
        return None
    values = np.array([v for _, v in pairs])
    smoothed = smooth(values)
    lowest = int(smoothed.argmin())
    if len(values) - 1 - lowest < 3:
        return None
    rise = float(values[-3:].mean() - smoothed[lowest])
    fall = float(values[0] - smoothed[lowest])
    if rise <= max(3 * noise(values), 0.02 * fall):
        return None
    return Turning(float(pairs[lowest][0]), float(smoothed[lowest]), rise)


def smooth(values: Float[np.ndarray, "n"]) -> Float[np.ndarray, "n"]:
    """Mean of each value and its two neighbours; the ends stay as they are."""
    inner = (values[:-2] + values[1:-1] + values[2:]) / 3
    return np.concatenate([values[:1], inner, values[-1:]])


def noise(values: Float[np.ndarray, "n"]) -> float:
    """Standard deviation of the noise on a smooth curve, from the median size of its second differences.

    A second difference of white noise of deviation σ has deviation √6 σ, and a normal's median size is 0.6745
    of its deviation; the median ignores the steep beginning.
    """
    return float(np.median(np.abs(np.diff(values, n=2))) / (0.6745 * np.sqrt(6)))
