"""Stable Diffusion as published in diffusers' layout: the names and shapes of its U-Net as those of the Denoiser, and
of its autoencoder as those of the StableVAE. Its text encoder is a CLIP's: see clip_names.py.

The U-Net's projections to queries, keys and values have no bias; ours have one, which is 0 then.
"""

import re

import torch
from torch import Tensor

from olhar.errors import UserError

# What stands once, then what stands in every stage, theirs -> ours.
WHOLE = {
    "time_embedding.linear_1": "tell.0",
    "time_embedding.linear_2": "tell.2",
    "conv_in": "stem",
    "conv_norm_out": "norm",
    "conv_out": "out",
}
STAGES = [
    (r"down_blocks\.(\d+)\.resnets\.(\d+)", r"down.\1.stages.\2.block"),
    (r"down_blocks\.(\d+)\.attentions\.(\d+)", r"down.\1.stages.\2.look"),
    (r"down_blocks\.(\d+)\.downsamplers\.0\.conv", r"down.\1.shrink"),
    (r"up_blocks\.(\d+)\.resnets\.(\d+)", r"up.\1.stages.\2.block"),
    (r"up_blocks\.(\d+)\.attentions\.(\d+)", r"up.\1.stages.\2.look"),
    (r"up_blocks\.(\d+)\.upsamplers\.0\.conv", r"up.\1.grow.1"),
    (r"mid_block\.resnets\.(\d+)", r"middle.\1.block"),
    (r"mid_block\.attentions\.0", r"middle.0.look"),
]
PARTS = {
    "time_emb_proj": "tell",
    "conv_shortcut": "shortcut",
    "proj_in": "into",
    "proj_out": "out",
    "transformer_blocks.0.attn1": "block.attention",
    "transformer_blocks.0.attn2": "block.cross",
    "transformer_blocks.0.norm1": "block.norm1",
    "transformer_blocks.0.norm2": "block.norm_cross",
    "transformer_blocks.0.norm3": "block.norm2",
    "transformer_blocks.0.ff.net.0.proj": "block.mlp.fc1",
    "transformer_blocks.0.ff.net.2": "block.mlp.fc2",
    "to_q": "query",
    "to_k": "key",
    "to_v": "value",
    "to_out.0": "out",
}


def unet_name(theirs: str) -> str:
    """A parameter's name in the Denoiser. Raises UserError for one that Stable Diffusion 1.x does not have."""
    stem, _, kind = theirs.rpartition(".")
    if stem in WHOLE:
        return f"{WHOLE[stem]}.{kind}"
    for pattern, ours in STAGES:
        if found := re.match(pattern + r"(?:\.|$)", stem + "."):
            rest = stem[found.end() :]
            for part, name in PARTS.items():
                rest = re.sub(rf"(^|\.){re.escape(part)}(?=\.|$)", rf"\g<1>{name}", rest)
            return ".".join(filter(None, (found.expand(ours), rest, kind)))
    raise UserError(f"The U-Net has a part '{theirs}', which Stable Diffusion 1.x has not: it is of another model.")


def unet_weights(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of a Denoiser from theirs; 1x1 convolutions may come as matrices, as some files have them."""
    ours: dict[str, Tensor] = {}
    for name, tensor in theirs.items():
        own = unet_name(name)
        conv = own.endswith((".into.weight", ".look.out.weight"))
        ours[own] = tensor[:, :, None, None] if conv and tensor.ndim == 2 else tensor
        if own.endswith((".query.weight", ".key.weight", ".value.weight")):
            ours[own.removesuffix("weight") + "bias"] = torch.zeros_like(tensor[:, 0])
    return ours


# The autoencoder, theirs -> ours; old files call the parts of its attention otherwise.
CODEC = [
    (r"^post_quant_conv\.", "decoder.mix."),
    (r"^quant_conv\.", "encoder.mix."),
    (r"^(\w+)\.conv_in\.", r"\1.stem."),
    (r"^(\w+)\.conv_norm_out\.", r"\1.norm."),
    (r"^(\w+)\.conv_out\.", r"\1.out."),
    (r"\.(?:down|up)_blocks\.(\d+)\.resnets\.(\d+)\.", r".levels.\1.blocks.\2."),
    (r"\.down_blocks\.(\d+)\.downsamplers\.0\.conv\.", r".levels.\1.resize."),
    (r"\.up_blocks\.(\d+)\.upsamplers\.0\.conv\.", r".levels.\1.resize.1."),
    (r"\.mid_block\.resnets\.0\.", ".middle.0."),
    (r"\.mid_block\.attentions\.0\.", ".middle.1."),
    (r"\.mid_block\.resnets\.1\.", ".middle.2."),
    (r"\.conv_shortcut\.", ".shortcut."),
    (r"\.group_norm\.", ".norm."),
    (r"\.(?:to_q|query)\.", ".attention.query."),
    (r"\.(?:to_k|key)\.", ".attention.key."),
    (r"\.(?:to_v|value)\.", ".attention.value."),
    (r"\.(?:to_out\.0|proj_attn)\.", ".attention.out."),
]


def codec_weights(theirs: dict[str, Tensor]) -> dict[str, Tensor]:
    """The state of a StableVAE from theirs; the matrices of its attention may come as 1x1 convolutions."""
    ours: dict[str, Tensor] = {}
    for name, tensor in theirs.items():
        own = name
        for pattern, new in CODEC:
            own = re.sub(pattern, new, own)
        ours[own] = tensor.flatten(1) if ".attention." in own and tensor.ndim == 4 else tensor
    return ours
