"""Whether generated images are like the data, and not the data themselves: a distance of two sets of images, and what a
sample's nearest training images are.

Both compare features: rows of numbers that say what an image shows, such as a classifier's before its last layer.

Shapes: N samples, M other images, D features.
"""

import math
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

MOST_AT_ONCE = 2**24  # differences held in memory at a time


class Distance(NamedTuple):
    """An estimate and its standard error."""

    value: float
    error: float


class Nearest(NamedTuple):
    """For each sample the training images nearest to it, the nearest first."""

    indices: Int[Tensor, "N k"]
    distances: Float[Tensor, "N k"]


def kernel_distance(
    samples: Float[Tensor, "N D"], data: Float[Tensor, "M D"], subsets: int = 50, size: int = 100, seed: int = 0
) -> Distance:
    """The squared maximum mean discrepancy of two sets of features with the kernel (x·y / D + 1)³, unbiased: the Kernel
    Inception Distance (Binkowski et al. 2018, arXiv 1801.01401), of whatever made the features.

    0 where both are of one distribution, whatever their number; a single estimate may lie below. It is the mean over
    random `subsets` of `size` of either set, as in the paper; the error is that of the mean of disjoint parts, as many
    as there are, for subsets that overlap would seem surer than they are.
    """
    size = min(size, len(samples), len(data))
    if size < 2:
        raise ValueError("a distance needs two samples and two images at least")
    samples, data = samples.double(), data.double()
    generator = torch.Generator().manual_seed(seed)

    def order(of: Tensor) -> Tensor:
        return of[torch.randperm(len(of), generator=generator)]

    drawn = [discrepancy(order(samples)[:size], order(data)[:size]) for _ in range(subsets)]
    parts = max(2, min(len(samples), len(data)) // size)
    apart = [
        discrepancy(some, other)
        for some, other in zip(order(samples).tensor_split(parts), order(data).tensor_split(parts), strict=True)
        if min(len(some), len(other)) > 1
    ]
    spread = torch.tensor(apart).std().item() if len(apart) > 1 else math.nan
    return Distance(sum(drawn) / len(drawn), spread / math.sqrt(max(len(apart), 1)))


def discrepancy(samples: Float[Tensor, "N D"], data: Float[Tensor, "M D"]) -> float:
    """mean k(x, x') + mean k(y, y') - 2 mean k(x, y), of pairs of different rows (Gretton et al. 2012, Eq 3)."""

    def kernel(a: Tensor, b: Tensor) -> Tensor:
        return (a @ b.T / a.shape[1] + 1) ** 3

    def among(a: Tensor) -> Tensor:
        pairs = kernel(a, a)
        return (pairs.sum() - pairs.diagonal().sum()) / (len(a) * (len(a) - 1))

    return float(among(samples) + among(data) - 2 * kernel(samples, data).mean())


def nearest(samples: Float[Tensor, "N ..."], training: Float[Tensor, "M ..."], count: int = 1) -> Nearest:
    """The training images nearest to each sample by the root of the mean squared difference: of pixels, which finds
    what was learnt by heart, or of features, which finds what looks alike."""
    near, other = samples.flatten(1).float(), training.flatten(1).float()
    rows = max(1, MOST_AT_ONCE // len(other))
    found = [torch.cdist(some, other).topk(min(count, len(other)), largest=False) for some in near.split(rows)]
    distances = torch.cat([one.values for one in found]) / math.sqrt(near.shape[1])
    return Nearest(torch.cat([one.indices for one in found]), distances)
