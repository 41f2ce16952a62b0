"""Where a transformer looks: the weights of its attention, head by head and rolled out through its blocks.

Shapes: N images, h heads, T tokens (of patches, perhaps after a class token), S tokens of a context, H W
grid of patches.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from olhar.layers.attention import MultiHeadAttention


@contextmanager
def attention_weights_of(model: nn.Module, cross: bool | None = False) -> Iterator[dict[str, Float[Tensor, "N h T S"]]]:
    """Keep the weights of every self-attention in `model` by its name, or of every cross-attention, whose context is
    not its own tokens, or with None of both, for as long as the `with` lasts.

    What runs never forms them (ops/attention.py): they are computed beside it from the same tokens.
    """
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Any:
        def hook(module: MultiHeadAttention, inputs: Any, named: dict[str, Any]) -> None:
            context = inputs[1] if len(inputs) > 1 else named.get("context")
            if cross in (None, context is not None):
                found[name] = module.weights(*inputs, **named).float()

        return hook

    attentions = {name: module for name, module in model.named_modules() if isinstance(module, MultiHeadAttention)}
    handles = [one.register_forward_pre_hook(keep(name), with_kwargs=True) for name, one in attentions.items()]
    try:
        yield found
    finally:
        for handle in handles:
            handle.remove()


def rollout(weights: Sequence[Float[Tensor, "N h T T"]]) -> Float[Tensor, "N T T"]:
    """How much of each token of the input is in each token of the output, block after block; rows sum to 1.

    Each block gives the mean of its heads and, by its skip, each token itself, half and half (Abnar and Zuidema 2020,
    arXiv 2005.00928). The feed-forward networks are left out: they mix no tokens.
    """
    mixed = None
    for one in weights:
        heads = one.mean(1)
        block = (heads + torch.eye(heads.shape[-1], device=heads.device)) / 2
        mixed = block if mixed is None else block @ mixed
    assert mixed is not None, "there is no block to roll out"
    return mixed


def looked_at(weights: Float[Tensor, "... T T"], grid: tuple[int, int], class_token: bool) -> Float[Tensor, "... H W"]:
    """What stands for the whole image looks at each patch this much: the class token, or the mean of all tokens.

    What the class token takes of itself is left out, so that a map may sum to less than 1.
    """
    row = weights[..., 0, 1:] if class_token else weights.mean(-2)
    return row.unflatten(-1, grid)


def mean_distance(weights: Float[Tensor, "N h T T"], grid: tuple[int, int], class_token: bool) -> Float[Tensor, " h"]:
    """How far each head looks, in patches: the mean distance between a patch and what it takes of others, weighted
    (Dosovitskiy et al. 2021, arXiv 2010.11929, Figure 7). Near are edges and textures, far are shapes."""
    start = int(class_token)
    among = weights[..., start:, start:]
    places = torch.cartesian_prod(torch.arange(grid[0]), torch.arange(grid[1])).float().to(weights.device)
    apart = torch.cdist(places.view(-1, 2), places.view(-1, 2))
    return ((among * apart).sum(-1) / among.sum(-1)).mean((0, 2))


def entropy(weights: Float[Tensor, "N h T S"]) -> Float[Tensor, " h"]:
    """In nats, the mean over tokens: 0 where a head looks at one token, log S where at all alike."""
    return -torch.special.xlogy(weights, weights).sum(-1).mean((0, 2))
