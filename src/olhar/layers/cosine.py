"""Unit vectors, and the temperature of a softmax over their products (Eq 3.1, Figure 4.3).

Shapes: E width of a vector.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

# of CLIP (Radford et al. 2021, arXiv 2103.00020)
FIRST_SCALE = 1 / 0.07  # exp(2.6592)
LARGEST_SCALE = 100.0  # a sharper softmax makes training unstable


def unit(x: Float[Tensor, "... E"]) -> Float[Tensor, "... E"]:
    """Of length 1, so that products are cosines (Eq 3.1); in float32 at least."""
    return normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=-1)


def inverse_temperature(logarithm: Float[Tensor, ""]) -> Float[Tensor, ""]:
    """What is learnt as a logarithm, and never grows beyond log 100."""
    if torch.is_grad_enabled():
        with torch.no_grad():  # the last step may have gone beyond
            logarithm.clamp_(max=math.log(LARGEST_SCALE))
        return logarithm.exp()  # and not of what is clamped: no gradient would lead back from the bound
    return logarithm.clamp(max=math.log(LARGEST_SCALE)).exp()
