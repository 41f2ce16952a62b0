"""How two regions overlap: the Dice loss. It is no likelihood, and is added to one (Milletari et al. 2016).

Shapes: N batch, K classes, H W space.
"""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor


def dice_loss(
    probabilities: Float[Tensor, "N K H W"], target: Int[Tensor, "N H W"], known: Bool[Tensor, "N H W"]
) -> Float[Tensor, ""]:
    """1 - 2 |A ∩ B| / (|A| + |B|), with the probabilities as soft regions A and the true ones as B, over the known
    pixels of the batch, averaged over the classes that are in it (arXiv 1606.04797).
    """
    weight = known.flatten(1)[:, None].to(probabilities.dtype)
    p = probabilities.flatten(2) * weight
    b = torch.zeros_like(p).scatter_(1, target.flatten(1)[:, None], weight)
    both, sizes, present = (p * b).sum((0, 2)), (p + b).sum((0, 2)), b.sum((0, 2)) > 0
    overlap = 2 * both / sizes.clamp_min(torch.finfo(p.dtype).eps)
    return 1 - (overlap * present).sum() / present.sum().clamp_min(1)
