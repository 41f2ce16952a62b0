"""Search in two stages: products of vectors find the nearest, and a costlier comparison puts those few in order.

(As BLIP does it, where both are added up: Li et al. 2022, arXiv 2201.12086, section 4.1.)

Shapes: n queries, m things to be found, k of the shortlist.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

SHORTLIST = 32  # compared closely: what is not among the first 32 by its vector is seldom meant

Closer = Callable[[int, Tensor], Tensor]  # a query and the places of some [k] -> how alike they are, [k], at most 1


def rerank(
    similarity: Float[Tensor, "n m"], closer: Closer, share: float = 1.0, most: int = SHORTLIST
) -> tuple[Tensor, Tensor]:
    """Of each query the places of the `most` most similar, [n, k], and how alike they are at a closer look, best first.

    Args:
        share: how much of that is `closer`; the rest is `similarity`.
    """
    first, places = similarity.topk(min(most, similarity.shape[1]), dim=1)
    second = torch.stack([closer(i, own) for i, own in enumerate(places)]).to(first)
    alike = share * second + (1 - share) * first
    order = alike.argsort(dim=1, descending=True, stable=True)
    return places.gather(1, order), alike.gather(1, order)


def reordered(
    similarity: Float[Tensor, "n m"], places: Int[Tensor, "n k"], alike: Float[Tensor, "n k"]
) -> Float[Tensor, "n m"]:
    """Similarities by which those of a shortlist come first, in its order; all are cosines, within 1 of 0."""
    return similarity.scatter(1, places, alike.to(similarity) + 3)
