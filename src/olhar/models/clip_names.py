"""Weights of published CLIPs by this project's names: OpenAI's and open_clip's layout, and Hugging Face's.

Shapes: D width of a tower, E width of the common space.
"""

import math
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

from torch import Tensor

from olhar.errors import UserError

HEAD = 64  # width of a head, in both towers of all of OpenAI's and of most of open_clip's
SURE = 1024  # the widest image tower that is known to have such heads

# (pattern of their name, ours); the first that fits the beginning, then all that fit the rest
TOWERS = (
    (r"visual\.conv1\.", "image_encoder.patches.proj."),
    (r"visual\.class_embedding$", "image_encoder.class_token"),
    (r"visual\.positional_embedding$", "image_encoder.positions.codes"),
    (r"visual\.ln_pre\.", "image_encoder.pre_norm."),
    (r"visual\.ln_post\.", "image_encoder.norm."),
    (r"visual\.proj$", "image_projection.weight"),
    (r"visual\.transformer\.resblocks\.", "image_encoder.blocks."),
    (r"transformer\.resblocks\.", "text_encoder.blocks."),
    (r"token_embedding\.weight$", "text_encoder.words.weight"),
    (r"positional_embedding$", "text_encoder.positions"),
    (r"ln_final\.", "text_encoder.norm."),
    (r"text_projection$", "text_projection.weight"),
    (r"logit_scale$", "log_scale"),
    (r"vision_model\.embeddings\.patch_embedding\.", "image_encoder.patches.proj."),
    (r"vision_model\.embeddings\.class_embedding$", "image_encoder.class_token"),
    (r"vision_model\.embeddings\.position_embedding\.weight$", "image_encoder.positions.codes"),
    (r"vision_model\.pre_layrnorm\.", "image_encoder.pre_norm."),  # the slip of the pen is theirs
    (r"vision_model\.post_layernorm\.", "image_encoder.norm."),
    (r"vision_model\.encoder\.layers\.", "image_encoder.blocks."),
    (r"visual_projection\.", "image_projection."),
    (r"text_model\.embeddings\.token_embedding\.", "text_encoder.words."),
    (r"text_model\.embeddings\.position_embedding\.weight$", "text_encoder.positions"),
    (r"text_model\.encoder\.layers\.", "text_encoder.blocks."),
    (r"text_model\.final_layer_norm\.", "text_encoder.norm."),
)
BLOCKS = (
    (r"\.ln_(\d)\.", r".norm\1."),
    (r"\.layer_norm(\d)\.", r".norm\1."),
    (r"\.(attn|self_attn)\.out_proj\.", ".attention.out."),
    (r"\.self_attn\.q_proj\.", ".attention.query."),
    (r"\.self_attn\.k_proj\.", ".attention.key."),
    (r"\.self_attn\.v_proj\.", ".attention.value."),
    (r"\.mlp\.c_fc\.", ".mlp.fc1."),
    (r"\.mlp\.c_proj\.", ".mlp.fc2."),
)
UNUSED = ("position_ids",)  # counts from 0, which old files of Hugging Face's hold


def is_clip(state: Mapping[str, Tensor]) -> bool:
    """Whether these are the weights of a CLIP in one of the two layouts."""
    return "visual.proj" in state or "visual_projection.weight" in state


def clip_names(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The same weights by the names of `Clip`; what it has no place for keeps its name.

    open_clip's projections multiply from the right, [D, E]: they are transposed. Its attention keeps query, key and
    value in one matrix, one below the other.
    """
    ours: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name.endswith(UNUSED):
            continue
        new = our_name(name)
        if ".attn.in_proj_" in new:
            block, _, kind = new.partition(".attn.in_proj_")  # kind: weight or bias
            for part, one in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                ours[f"{block}.attention.{part}.{kind}"] = one
        else:
            ours[new] = tensor.mT if name in ("visual.proj", "text_projection") else tensor
    return ours


def text_weights(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state of a TextEncoder from Hugging Face's text tower alone; newer files leave out the `text_model.` that all
    names of older ones begin with."""
    ours: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if not name.endswith(UNUSED):
            whole = name if name.startswith("text_model.") else f"text_model.{name}"
            ours[our_name(whole).removeprefix("text_encoder.")] = tensor
    return ours


def our_name(name: str) -> str:
    """One name, but for that of the matrix of three."""
    for pattern, new in TOWERS:
        if re.match(pattern, name):
            name = re.sub("^" + pattern, new, name)
            break
    for pattern, new in BLOCKS:
        name = re.sub(pattern, new, name)
    return name


class Untold(NamedTuple):
    """What no shape of its weights tells of a CLIP; heads are None where nobody says."""

    activation: str = "quick_gelu"  # of the feed-forward networks
    image_heads: int | None = None
    text_heads: int | None = None


def architecture(state: Mapping[str, Tensor], untold: Untold, start: int, end: int) -> dict[str, Any]:
    """What run.json's "model" says of a CLIP with a ViT, told from the shapes of its weights by the names of `Clip`.

    Args:
        start, end: tokens of its vocabulary.

    Raises UserError where a tower is another than OpenAI's are, or nobody says how many heads it has.
    """
    patches = state.get("image_encoder.patches.proj.weight")
    if patches is None or "image_encoder.positions.codes" not in state:
        raise UserError("The image tower of these weights is no vision transformer: others are not known here.")
    width, channels, patch, _ = patches.shape
    side = patch * math.isqrt(len(state["image_encoder.positions.codes"]) - 1)
    if not {"text_encoder.words.weight", "text_encoder.positions", "text_projection.weight"} <= state.keys():
        raise UserError("The text tower of these weights is not CLIP's own transformer: others are not known here.")
    vocabulary, reader = state["text_encoder.words.weight"].shape
    for tower, wide in (("image_encoder", width), ("text_encoder", reader)):
        inside = len(state[f"{tower}.blocks.0.mlp.fc1.weight"])
        if inside != 4 * wide:
            raise UserError(f"A tower {wide} wide has layers of {inside}, not of {4 * wide}: it is not known here.")
    activation = untold.activation
    heads = untold.image_heads or heads_of(width), untold.text_heads or heads_of(reader)
    image = {"patch": patch, "width": width, "depth": blocks(state, "image_encoder"), "heads": heads[0]}
    text = {"width": reader, "layers": blocks(state, "text_encoder"), "heads": heads[1], "activation": activation}
    return {
        "name": "vit-b32",
        "args": image | {"pre_norm": True, "activation": activation},
        "in_channels": channels,
        "image_size": [side, side],
        "text": {
            "name": "text-clip",
            "vocabulary": vocabulary,
            "length": len(state["text_encoder.positions"]),
            "start": start,
            "end": end,
            "args": text,
        },
        "width": len(state["image_projection.weight"]),
        "frozen": "none",
        "fusion": "none",
    }


def heads_of(width: int) -> int:
    """Of a tower, where nobody says. Raises UserError where it may have others than most."""
    if width % HEAD or width > SURE:
        raise UserError(
            f"How many heads a tower {width} wide has, no shape tells: put the config.json, or open_clip_config.json, "
            "of these weights beside them."
        )
    return width // HEAD


def blocks(state: Mapping[str, Tensor], tower: str) -> int:
    """How many blocks a tower has."""
    return 1 + max(int(name.split(".")[2]) for name in state if name.startswith(f"{tower}.blocks."))
