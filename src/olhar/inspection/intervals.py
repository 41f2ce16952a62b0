"""How far a number measured on a sample of images may lie from the truth: 95% intervals.

Shapes: N images, R resamples.
"""

import math
from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

CELLS = 2_000_000  # counts kept at once, 16 MB
Z95 = 1.959964  # the standard normal lies within ±Z95 with probability 0.95


def wilson(successes: int, n: int) -> tuple[float, float]:
    """95% interval of a share, `successes` of `n` (Wilson 1927). Right near 0 and 1, where ±1.96σ is not."""
    assert 0 <= successes <= n > 0, (successes, n)
    share, slack = successes / n, Z95**2 / n
    centre = (share + slack / 2) / (1 + slack)
    half = Z95 * math.sqrt(share * (1 - share) / n + slack / (4 * n)) / (1 + slack)
    return max(0.0, centre - half), min(1.0, centre + half)


def bootstrap(
    statistic: Callable[[Int[np.ndarray, "R N"]], Float[np.ndarray, "R"]], n: int, resamples: int = 400
) -> tuple[float, float]:
    """95% interval of any statistic of n images: the middle of its values on samples drawn again (Efron 1979).

    `statistic` gets R samples as counts: how many times each image was drawn, N = n of them in all. It is the
    same draws for the same n, so that two reports of one run agree. 400 resamples place the ends to about a
    tenth of the width.
    """
    generator = np.random.default_rng(0)
    at_once = max(1, CELLS // n)
    values = []
    for first in range(0, resamples, at_once):
        count = min(at_once, resamples - first)
        drawn = generator.integers(n, size=(count, n))
        values.append(statistic(np.stack([np.bincount(row, minlength=n) for row in drawn])))
    low, high = np.nanpercentile(np.concatenate(values), [2.5, 97.5])
    return float(low), float(high)
