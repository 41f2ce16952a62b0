"""A Stable Diffusion as it is published: a folder in diffusers' layout, with one folder for each part of the model.

What it says of each part is read into this library's own terms here, and what is of another architecture is refused.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, get_args

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from olhar.data.text import Tokenizer
from olhar.errors import UserError
from olhar.layers.stable_codec import GROUPS
from olhar.models import autoencoder, denoiser, text_encoder
from olhar.models.base import DrawingNetwork
from olhar.models.clip_names import text_weights
from olhar.models.sd_names import codec_weights, unet_weights
from olhar.models.text import TextEncoder
from olhar.models.vae import VAE
from olhar.models.weights import fetch_first
from olhar.ops.noise import CLEAN, Kind, Process, Schedule, Spacing, make_process

INDEX = "model_index.json"
KINDS = ("StableDiffusionPipeline", "StableDiffusionImg2ImgPipeline")
# Each part's weights, the whole before the half precision.
WEIGHTS = {
    "text_encoder": ("model.safetensors", "model.fp16.safetensors"),
    "unet": ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"),
    "vae": ("diffusion_pytorch_model.safetensors", "diffusion_pytorch_model.fp16.safetensors"),
}
SETTINGS = [*(f"{part}/config.json" for part in WEIGHTS), "scheduler/scheduler_config.json"]
# Either the first two or the third; the others say what fills a text up.
TOKENIZER = ("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")
# What diffusers' settings can say and this library's parts cannot be; what is not said is so.
UNET = {
    "act_fn": "silu",
    "addition_embed_type": None,
    "center_input_sample": False,
    "class_embed_type": None,
    "conv_in_kernel": 3,
    "dual_cross_attention": False,
    "encoder_hid_dim": None,
    "flip_sin_to_cos": True,
    "freq_shift": 0,
    "mid_block_type": "UNetMidBlock2DCrossAttn",
    "norm_eps": 1e-5,
    "num_class_embeds": None,
    "only_cross_attention": False,
    "resnet_time_scale_shift": "default",
    "time_cond_proj_dim": None,
    "time_embedding_type": "positional",
    "transformer_layers_per_block": 1,
}
VAE_SETTINGS = {
    "act_fn": "silu",
    "in_channels": 3,
    "latents_mean": None,
    "latents_std": None,
    "mid_block_add_attention": True,
    "norm_num_groups": GROUPS,
    "out_channels": 3,
    "shift_factor": None,
    "use_post_quant_conv": True,
    "use_quant_conv": True,
}
TEXT = {"layer_norm_eps": 1e-5}
SCHEDULER = {"trained_betas": None}
BETAS: dict[str, Schedule] = {"linear": "linear", "scaled_linear": "scaled-linear", "squaredcos_cap_v2": "cosine"}
SAYS: dict[str, Kind] = {"epsilon": "noise", "v_prediction": "velocity", "sample": "image"}


State = dict[str, Tensor]
Model = TypeVar("Model", bound=nn.Module)


class Noise(NamedTuple):
    """How a published model was taught."""

    process: Process
    says: Kind


class Settings(dict[str, Any]):
    """What a JSON file says. Raises UserError where it does not say what it is asked for."""

    def __init__(self, file: Path, found: dict[str, Any]):
        super().__init__(found)
        self.file = file

    def __missing__(self, key: str) -> Any:
        raise UserError(f"{self.file} does not say its {key}: get it again.")


class StableFolder:
    """A folder in diffusers' layout; each part is made when it is asked for.

    Raises UserError where it is not one, or of a model that is no Stable Diffusion 1.x or 2.x.
    """

    def __init__(self, path: str | Path):
        self.path = Path(path)
        kind = self.read(INDEX).get("_class_name")
        if kind not in KINDS:
            raise UserError(
                f"{path} holds a {kind}, and only Stable Diffusion 1.x and 2.x that draw from a text can be loaded: "
                f"give a folder of a {KINDS[0]}."
            )

    @staticmethod
    def is_one(path: str | Path) -> bool:
        """Whether there is such a folder."""
        return (Path(path) / INDEX).is_file()

    def read(self, name: str) -> Settings:
        """One of its JSON files."""
        file = self.path / name
        try:
            found = json.loads(file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            raise UserError(f"{file} is missing: the folder was copied or downloaded in part, get it again.") from None
        except (OSError, ValueError) as error:
            raise UserError(f"{file} cannot be read ({error}): get it again.") from None
        if not isinstance(found, dict):
            raise UserError(f"{file} is not a list of settings by name: get it again.")
        return Settings(file, found)

    def settings(self, name: str, fixed: dict[str, Any]) -> Settings:
        """The same, where it says nothing else of what is `fixed`."""
        found = self.read(name)
        for key, value in fixed.items():
            if found.get(key, value) != value:
                raise UserError(
                    f"{self.path / name} has {key} {found[key]!r}, and only {value!r} is known: it is of another model "
                    "than Stable Diffusion 1.x or 2.x."
                )
        return found

    def denoiser(self, factor: int, dtype: torch.dtype) -> DrawingNetwork:
        """The U-Net, of latents `factor` times smaller than the image."""
        name = SETTINGS[1]
        found = self.settings(name, UNET)
        downs, widths = found["down_block_types"], tuple(found["block_out_channels"])
        looks = ["CrossAttn" in block for block in downs]
        ups = found["up_block_types"][::-1]
        if [downs, ups] != [[f"{'CrossAttn' * look}{way}Block2D" for look in looks] for way in ("Down", "Up")]:
            raise UserError(
                f"{self.path / name} has other blocks than Stable Diffusion's: {', '.join([*downs, *ups])}."
            )
        # diffusers' "attention_head_dim" is the number of heads
        heads = found.get("num_attention_heads") or found["attention_head_dim"]
        many = [heads] * len(widths) if isinstance(heads, int) else list(heads)
        sizes = {width // count for width, count in zip(widths, many, strict=True)}
        if len(set(many)) > 1 and len(sizes) > 1:
            raise UserError(f"{self.path / name} has heads of several numbers and widths: {many} of {list(widths)}.")
        side = (found.get("sample_size") or 64) * factor
        with torch.device("meta"):
            made = denoiser(
                "stable-diffusion",
                found["in_channels"],
                (side, side),
                factor,
                widths=widths,
                blocks=found["layers_per_block"],
                attention=tuple(i for i, look in enumerate(looks) if look),
                heads=many[0],
                head_width=0 if len(set(many)) == 1 else sizes.pop(),
                context_width=found["cross_attention_dim"],
                groups=found["norm_num_groups"],
            )
        return self.fill(made, "unet", unet_weights, dtype)

    def codec(self) -> tuple[VAE, float]:
        """The autoencoder, and what its latents are multiplied by so that they spread by 1."""
        found = self.settings(SETTINGS[2], VAE_SETTINGS)
        widths = tuple(found["block_out_channels"])
        size = {"widths": widths, "factor": 2 ** (len(widths) - 1), "blocks": found["layers_per_block"]}
        with torch.device("meta"):
            made = autoencoder("vae-stable-diffusion", 3, (512, 512), latent_channels=found["latent_channels"], **size)
        assert isinstance(made, VAE)
        # its output is what is seen: half the digits would show
        return self.fill(made, "vae", codec_weights, torch.float32), found.get("scaling_factor", 0.18215)

    def reader(self, tokenizer: Tokenizer, dtype: torch.dtype) -> TextEncoder:
        """The text encoder."""
        name = SETTINGS[0]
        found = self.settings(name, TEXT)
        if tokenizer.size > found["vocab_size"]:
            raise UserError(
                f"The tokenizer in {self.path} has {tokenizer.size:,} tokens and the text encoder knows "
                f"{found['vocab_size']:,}: they are of two models."
            )
        with torch.device("meta"):
            made = text_encoder(
                "text-clip",
                found["vocab_size"],
                found["max_position_embeddings"],
                tokenizer.end,
                width=found["hidden_size"],
                layers=found["num_hidden_layers"],
                heads=found["num_attention_heads"],
                activation=found["hidden_act"],
            )
        return self.fill(made, "text_encoder", text_weights, dtype)

    def tokenizer(self) -> Tokenizer:
        """What makes tokens of texts, and fills them up as the text encoder learnt it."""
        vocabulary, merges, whole, *others = (self.path / "tokenizer" / name for name in TOKENIZER)
        if vocabulary.is_file() and merges.is_file():
            made = Tokenizer.from_vocabulary(vocabulary, merges)
        elif whole.is_file():
            made = Tokenizer.load(whole)
        else:
            raise UserError(f"{vocabulary.parent} holds neither {TOKENIZER[0]} with {TOKENIZER[1]} nor {TOKENIZER[2]}.")
        made.pad = made.end
        for file in others:
            pad = self.read(f"tokenizer/{file.name}").get("pad_token") if file.is_file() else None
            pad = pad["content"] if isinstance(pad, dict) else pad
            if pad is not None and (id := made.encoding.token_to_id(pad)) is not None:
                made.pad = id
        return made

    def noise(self) -> Noise:
        """How noise grows with the level, and what the U-Net says of it."""
        found = self.settings(SETTINGS[3], SCHEDULER)
        given = {"beta_schedule": "linear", "prediction_type": "epsilon", "timestep_spacing": "leading", **found}
        known = {"beta_schedule": BETAS, "prediction_type": SAYS, "timestep_spacing": get_args(Spacing)}
        for key, values in known.items():
            if given[key] not in values:
                raise UserError(f"{self.path / SETTINGS[3]} has {key} {given[key]!r}: known are {', '.join(values)}.")
        process = make_process(
            BETAS[given["beta_schedule"]],
            given.get("num_train_timesteps", 1000),
            given.get("rescale_betas_zero_snr", False),
            (given["beta_start"], given["beta_end"]) if "beta_start" in given else None,
        )
        signal, noise = process.signal.clone(), process.noise.clone()
        if not given.get("set_alpha_to_one", True):  # the way back ends with the noise of the first level
            signal[CLEAN], noise[CLEAN] = signal[0], noise[0]
        spaced = replace(
            process,
            signal=signal,
            noise=noise,
            spacing=given["timestep_spacing"],
            offset=given.get("steps_offset", 0),
        )
        return Noise(spaced, SAYS[given["prediction_type"]])

    def fill(self, model: Model, part: str, rename: Callable[[State], State], dtype: torch.dtype) -> Model:
        """Give `model`, which has no memory yet, the weights of its part: mapped from the file as they are, or turned
        into `dtype` one by one, so that there are never two of all."""
        file = self.weights(part)
        try:
            theirs = rename(load_file(file))
        except (SafetensorError, OSError) as error:
            raise UserError(f"{file} is not a safetensors file, or was cut short ({error}): get it again.") from None
        own = model.state_dict()
        wrong = [name for name in {**own, **theirs} if shape_of(own, name) != shape_of(theirs, name)]
        if wrong:
            raise UserError(
                f"{file} does not hold what its config.json says: {len(wrong)} tensors are missing, too many or of "
                f"another shape, such as {sorted(wrong)[0]}; get the folder again."
            )
        model.load_state_dict({name: theirs.pop(name).to(dtype) for name in own}, assign=True)
        return model.eval().requires_grad_(False)

    def weights(self, part: str) -> Path:
        """The file of a part's weights."""
        for name in WEIGHTS[part]:
            if (file := self.path / part / name).is_file():
                return file
        there = sorted(file.name for file in (self.path / part).glob("*.bin"))
        why = f"{there[0]} is a pickle, which could run any code and is never read" if there else "nor any others"
        raise UserError(f"{self.path / part} holds no {WEIGHTS[part][0]} ({why}): get the safetensors of this model.")


def shape_of(state: State, name: str) -> torch.Size | None:
    """Of one tensor; None where there is none."""
    return state[name].shape if name in state else None


def find(name: str, download: bool = False) -> Path:
    """The folder `name`, or that of a repository org/name on the Hub: what its cache holds of it, and with `download`
    the settings, the tokenizer and the safetensors, and nothing else.

    Raises UserError where there is none, or the Hub does not give it.
    """
    if Path(name).exists():
        return Path(name)
    if not download:
        from huggingface_hub import try_to_load_from_cache

        cached = try_to_load_from_cache(name, INDEX)
        if not isinstance(cached, str):
            raise UserError(
                f"There is no '{name}' here; if it is a name on the Hub, allow the download with --download."
            )
        return Path(cached).parent
    if (index := fetch_first(name, [INDEX])) is None:
        raise UserError(f"{name} on the Hub has no {INDEX}: it is not in diffusers' layout.")
    StableFolder(index.parent)  # what is of another kind is not worth its gigabytes
    for file in [*SETTINGS, *(f"tokenizer/{file}" for file in TOKENIZER)]:
        fetch_first(name, [file])
    for part, files in WEIGHTS.items():
        if fetch_first(name, [f"{part}/{file}" for file in files]) is None:
            raise UserError(f"{name} on the Hub has no safetensors of its {part}, and pickles are never read.")
    return index.parent
