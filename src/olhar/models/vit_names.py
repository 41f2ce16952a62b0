"""Weights of torchvision's and timm's vision transformers by this project's names.

Shapes: D width, P prefix (1 with a class token), L tokens of patches.
"""

import math
import re
from collections.abc import Mapping

import torch
from torch import Tensor

from olhar.layers.embed import LearnedPositions, resample_positions

# (pattern of their name, ours): torchvision's with what its older files say, then timm's
NAMES = (
    (r"^conv_proj\.", "patches.proj."),
    (r"^encoder\.pos_embedding$", "positions.codes"),
    (r"^encoder\.ln\.", "norm."),
    (r"^encoder\.layers\.encoder_layer_(\d+)\.", r"blocks.\1."),
    (r"\.ln_(\d)\.", r".norm\1."),
    (r"\.self_attention\.out_proj\.", ".attention.out."),
    (r"\.mlp\.(0|linear_1)\.", ".mlp.fc1."),
    (r"\.mlp\.(3|linear_2)\.", ".mlp.fc2."),
    (r"^heads\.head\.", "head."),
    (r"^patch_embed\.proj\.", "patches.proj."),
    (r"^cls_token$", "class_token"),
    (r"^pos_embed$", "positions.codes"),
    (r"\.attn\.proj\.", ".attention.out."),
)
# query, key and value in one matrix, one below the other
TOGETHER = re.compile(r"\.(?:self_attention\.in_proj_|attn\.qkv\.)(weight|bias)$")


def is_vit(state: Mapping[str, Tensor]) -> bool:
    """Whether these are the weights of a vision transformer of torchvision or timm."""
    return "encoder.pos_embedding" in state or {"pos_embed", "patch_embed.proj.weight"} <= set(state)


def vit_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same weights by the names of `ViT`; what it has no place for keeps its name.

    Both keep a batch axis on the class token and the codes of positions, [1, 1, D] and [1, P + L, D], and the codes
    begin with the class token's, as ours do.
    """
    ours: dict[str, Tensor] = {}
    for name, tensor in state.items():
        new = name
        for pattern, replacement in NAMES:
            new = re.sub(pattern, replacement, new)
        if together := TOGETHER.search(new):
            for part, one in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                ours[f"{new[: together.start()]}.attention.{part}.{together[1]}"] = one
        elif new == "class_token":
            ours[new] = tensor.flatten()
        elif new == "positions.codes":
            ours[new] = tensor.flatten(0, -2)
        else:
            ours[new] = tensor
    return ours


def fit_positions(codes: Tensor, positions: LearnedPositions) -> Tensor:
    """Codes [P + L, D] of a square grid for the grid of `positions`; where they are of none, as they are.

    A class token's code is left out where `positions` has no place for it.
    """
    rows, columns = positions.grid
    for prefix in (positions.prefix, 1):
        count = len(codes) - prefix
        side = math.isqrt(max(count, 0))
        if prefix >= positions.prefix and count == rows * columns:
            return codes if prefix == positions.prefix else codes[1:]
        if prefix >= positions.prefix and count and count == side**2:
            of_grid = resample_positions(codes[prefix:], (side, side), positions.grid)
            return torch.cat([codes[: positions.prefix], of_grid])
    return codes
