"""Attention: every query looks at all keys, and takes of their values in proportion to how well they match.

Two steps that can be looked at one by one, weights and their application, and `attend`, both at once, which is what
runs. A mask is True where looking is allowed; a query that may look at nothing gets zeros.

Shapes: ... batch and heads, L queries, S keys, D their width, V width of a value.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

Mask = Bool[Tensor, "..."]  # broadcastable to [..., L, S]


def attention_weights(
    query: Float[Tensor, "... L D"], key: Float[Tensor, "... S D"], scaled: bool = True, mask: Mask | None = None
) -> Float[Tensor, "... L S"]:
    """softmax(QKᵀ / √D), each row over the keys (Eq 3.2 and 3.4): how much each query takes of each value.

    Args:
        scaled: divide by √D (Vaswani et al. 2017, arXiv 1706.03762). The notes do not: the sum of D products grows
            like √D, and without the division the softmax of wide vectors has a single winner and no gradient.
    """
    scores = query @ key.mT
    if scaled:
        scores = scores / math.sqrt(query.shape[-1])
    if mask is None:
        return scores.softmax(-1)
    # the lowest finite number: -inf in a whole row would be 0/0, in the gradient too
    lowest = torch.finfo(scores.dtype).min
    return scores.masked_fill(~mask, lowest).softmax(-1).masked_fill(~mask, 0.0)


def apply_weights(weights: Float[Tensor, "... L S"], value: Float[Tensor, "... S V"]) -> Float[Tensor, "... L V"]:
    """SV: each query's mean of the values, by its weights (Eq 3.5). Eq 3.3 adds the query itself."""
    return weights @ value


def causal_mask(queries: int, keys: int, device: torch.device | None = None) -> Bool[Tensor, "L S"]:
    """True where a query may look when it may not look ahead: at its own position and those before it."""
    return torch.ones(queries, keys, dtype=torch.bool, device=device).tril()


def attend(
    query: Float[Tensor, "... L D"],
    key: Float[Tensor, "... S D"],
    value: Float[Tensor, "... S V"],
    mask: Mask | None = None,
    causal: bool = False,
) -> Float[Tensor, "... L V"]:
    """`apply_weights(attention_weights(query, key), value)` in one pass that need not keep the weights.

    Args:
        causal: no query looks at a key of a later position; together with a mask, only where both allow it.
    """
    if causal and mask is not None:
        mask, causal = mask & causal_mask(query.shape[-2], key.shape[-2], query.device), False
    # the backward pass of torch's fused attention in bfloat16 on a CPU takes ten times as long as that of its two steps
    # for 64 queries, and still twice as long for 256
    learning = torch.is_grad_enabled() and (query.requires_grad or key.requires_grad or value.requires_grad)
    if learning and not causal and query.device.type == "cpu" and query.dtype == torch.bfloat16:
        return apply_weights(attention_weights(query, key, mask=mask).to(value.dtype), value)
    return scaled_dot_product_attention(query, key, value, attn_mask=mask, is_causal=causal)
