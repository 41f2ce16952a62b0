"""Every setting of a run and its default. `None` means "decided from the data", with the reason printed.

This is the only place defaults live. Frozen dataclasses, standard library only, so that the command line can
show them without importing torch.
"""

import dataclasses
import math
import re
import types
from dataclasses import dataclass, field
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from olhar.errors import UserError, nearest


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which images, how they are read and prepared."""

    task: str | None = None
    """What to learn: classify, regress, segment, detect, reconstruct, align or diffuse. None: recognised from the
    folder."""
    format: str | None = None
    """How the data are read: folders, table, masks, coco, voc, yolo, captions, pairs or plain. None: recognised."""
    image_size: int | None = None
    """Shorter side in pixels of what the model sees. None: from the images' own sizes."""
    scale: float | None = None
    """To segment, detect or reconstruct: pixels the model sees for each of a side. None: chosen; 1 keeps detail."""
    file_column: str | None = None
    """The column of a table that names the image files. None: recognised."""
    label_column: str | None = None
    """The column of a table to learn. None: recognised."""
    tokenizer: str | None = None
    """To align: a tokenizer.json, or CLIP's list of merges. None: learnt from the training captions."""
    text_column: str | None = None
    """The column of a table that holds the captions, or several, separated by commas. None: recognised."""
    ignore: str | None = None
    """Classes of masks that are not learnt, as those that nobody knows are not: their names, separated by commas."""
    val_fraction: float = 0.1
    """Share of train held out for validation, where the data have no validation split."""
    test_fraction: float = 0.0
    """Share held out for the test, where the data have no test split."""
    augment: Literal[
        "auto", "none", "tiny", "small", "mild", "natural", "captioned", "mirror", "paired", "paired-small"
    ] = "auto"
    """Random changes of the training images that keep their meaning."""
    flip: bool | None = None
    """Mirror training images left-right. None: yes, but not for digits or text-like embedded sets."""
    mix: Literal["none", "mixup", "cutmix", "mosaic"] = "none"
    """Mix pairs of training images and their labels; to detect, mosaic: parts of four images on one canvas."""
    corruption: Literal["none", "noise", "grey", "holes", "x2", "x4"] = "none"
    """To reconstruct: what is done to the images, for the model to undo. none: it only has to compress them."""
    noise: str = "25"
    """Deviation of the corruption's noise in grey levels of 255: one number, or a range like 5-50."""
    workers: int | None = None
    """Threads that read and decode. None: one a core."""
    cache_share: float = 0.25
    """Share of the free memory that decoded images may fill; beyond it they go to a file on disk."""
    check: Literal["quick", "full", "off"] = "quick"
    """How closely the doctor looks at the data before training."""
    allow: tuple[str, ...] = ()
    """Findings of the doctor that are known and accepted, by their code."""
    download: bool = False
    """Fetch a torchvision set or Hub weights that are not here. Nothing is fetched otherwise."""


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """The network and the weights it starts from."""

    name: str | None = None
    """An architecture of `olhar models`, or timm:NAME. None: from the data and the time."""
    weights: str | None = None
    """Start from these weights: a safetensors file, a state dict, or a Hub name with --data.download; to diffuse, a
    run that draws."""
    args: dict[str, int | float | str | bool] = field(default_factory=dict)
    """Arguments of the architecture that differ from its table."""
    latent: str = "auto"
    """To diffuse: none: draw pixels; own: in latents of an autoencoder trained first; RUN: of that finished run's.
    auto: own for images of 64 px or more."""
    text: str | None = None
    """To align: the text encoder, of `olhar models`. None: from the data."""
    text_args: dict[str, int | float | str | bool] = field(default_factory=dict)
    """Arguments of the text encoder that differ from its table."""
    width: int | None = None
    """To align: numbers of the space that images and captions share. None: chosen."""
    freeze: Literal["none", "image", "text"] = "none"
    """To align: the tower that keeps the weights it starts from."""
    fusion: Literal["none", "cross-attention"] = "none"
    """To align: words also look at patches, by cross-attention, and put what vectors find in order."""
    decoder: Literal["auto", "pyramid", "unet"] = "auto"
    """How the levels of an encoder become one map: added up, or concatenated."""
    decoder_args: dict[str, int | float | str | bool] = field(default_factory=dict)
    """Arguments of the decoder that differ from its own."""
    detector_args: dict[str, int | float | str | bool] = field(default_factory=dict)
    """To detect: sizes and proportions of the anchors, strides and width; what is not given is fitted to the boxes."""


@dataclass(frozen=True, kw_only=True)
class ObjectiveConfig:
    """The likelihood whose negative logarithm is made smaller."""

    label_smoothing: float | None = None
    """ε of Eq 1.18's soft targets: the true class gets 1 - ε + ε/K."""
    class_weights: Literal["auto", "none", "balanced", "effective"] = "auto"
    """Weigh rare classes up: in inverse proportion to their frequency; effective is milder. auto: only pixels."""
    dice: float = 0.0
    """To segment: how much of the Dice loss, which is no likelihood, is added."""
    likelihood: Literal["gaussian", "laplace"] = "gaussian"
    """To reconstruct: whether errors count by their squares or by their sizes."""
    kl: float = 1.0
    """To reconstruct with a vae: how much the KL divergence of the latent counts; 1 is the evidence lower bound."""
    ssim: float = 0.0
    """To reconstruct: how much of 1 - SSIM, which is no likelihood, is added."""
    balance: Literal["focal", "hard", "none"] = "focal"
    """To detect: how anchors without an object are kept from drowning those with one; none is the likelihood."""
    box_loss: Literal["gaussian", "smooth-l1", "giou"] = "gaussian"
    """To detect: squares of the offsets' errors, or what forgives outliers, or one less the overlap of the boxes."""
    predict: Literal["auto", "noise", "image", "velocity"] = "auto"
    """To diffuse: what the network says of an image with noise; each can be had from each other. auto: by its patch."""
    noise_schedule: Literal["auto", "cosine", "shifted-cosine", "linear", "scaled-linear", "flow"] = "auto"
    """To diffuse: how noise grows from level to level; flow: along a straight line. auto: by the network's patch."""
    weighting: Literal["uniform", "min-snr"] = "uniform"
    """To diffuse: how much the levels of noise count; uniform is the likelihood of what is predicted."""
    levels: Literal["auto", "uniform", "logit-normal"] = "auto"
    """To diffuse: how levels are drawn in training; logit-normal: mostly in the middle. auto: so in latents only."""
    drop: float = 0.1
    """To diffuse: the share of images whose class or caption is hidden, so that guidance can be chosen later."""
    variance: Literal["fixed", "learned"] = "fixed"
    """For regression: one variance, or one the model gives for each image."""


@dataclass(frozen=True, kw_only=True)
class OptimConfig:
    """How a gradient becomes a step, and how large."""

    name: Literal["auto", "sgd", "adamw", "muon"] = "auto"
    """How a gradient becomes a step: SGD with Nesterov momentum, AdamW or Muon. auto: from task and model."""
    lr: float | None = None
    """Peak learning rate."""
    weight_decay: float | None = None
    """Decay of weights only, never of biases and norms (Eq 1.60-1.63; see theory of λ and weight_decay)."""
    momentum: float = 0.9
    """Share of the last step that SGD takes again."""
    schedule: Literal["cosine", "linear", "polynomial", "constant"] = "cosine"
    """Shape of the learning rate after warm-up."""
    warmup: float = 0.1
    """Share of the training spent raising the learning rate from zero."""
    clip: float | None = None
    """Largest gradient norm; longer gradients are shortened to it. None: 1.0 for AdamW, none for SGD."""
    accumulate: int = 1
    """Batches whose gradients are added before a step."""
    ema: float | None = None
    """Decay of the moving average of the weights that is evaluated and saved; 0 turns it off."""


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How long, in what portions, on what."""

    epochs: int | None = None
    """Passes over the training data; with a budget as well, whichever ends first."""
    budget: str | None = None
    """Wall time for everything, from the command to the evaluated model: 90s, 10min, 2h."""
    batch_size: int | None = None
    """Images a gradient step, over all processes."""
    seed: int = 0
    """Where all chance comes from: the same seed gives the same run."""
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    """Number format of the heavy operations. auto: the fastest on this machine, measured."""
    memory_format: Literal["auto", "contiguous", "channels_last"] = "auto"
    """Order of the numbers of an image in memory. auto: the faster one on this machine, measured."""
    patience: int | None = None
    """Stop after this many evaluations without a better one. None: no early stopping."""
    checkpoint_seconds: float = 30.0
    """At most this much work is lost by an interruption."""
    evaluations: int = 20
    """Evaluations on the validation split over the run, at most one an epoch."""
    device: Literal["auto", "cpu", "cuda", "mps"] = "auto"
    """Where to compute. auto: a GPU where there is one."""
    tensorboard: bool = False
    """Write TensorBoard's event files too (needs the extra)."""
    keep_path: bool = False
    """Keep the weights of every evaluation, for `olhar inspect RUN landscape` to draw the way to the last ones."""


@dataclass(frozen=True, kw_only=True)
class Config:
    """All of a run. Written to the run folder, fully resolved, as config.yaml."""

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    objective: ObjectiveConfig = field(default_factory=ObjectiveConfig)
    optim: OptimConfig = field(default_factory=OptimConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def with_changes(self, changes: dict[str, Any]) -> "Config":
        """A new config with dotted settings changed: `{"optim.lr": 0.1}`. Unknown names and values are errors."""
        result = self
        for key, value in changes.items():
            section, _, name = key.partition(".")
            if section not in SECTIONS or not name:
                raise UserError(f"There is no setting '{key}': {nearest(key, all_settings())}")
            part = getattr(result, section)
            hints = get_type_hints(type(part))
            if name not in hints:
                raise UserError(f"There is no setting '{key}': {nearest(key, all_settings())}")
            part = dataclasses.replace(part, **{name: within_limits(key, coerce(key, value, hints[name]))})
            result = dataclasses.replace(result, **{section: part})
        return result

    def to_dict(self) -> dict[str, Any]:
        """Nested plain values, as config.yaml holds them."""
        tree = dataclasses.asdict(self)
        tree["data"]["allow"] = list(self.data.allow)
        return tree

    @classmethod
    def from_dict(cls, tree: dict[str, Any]) -> "Config":
        """The inverse of `to_dict`; an unknown section or key is an error that names the nearest one."""
        flat: dict[str, Any] = {}
        for section, values in tree.items():
            if not isinstance(values, dict):
                raise UserError(f"config.yaml: '{section}' must hold settings: {nearest(section, SECTIONS)}")
            flat |= {f"{section}.{name}": value for name, value in values.items()}
        return cls().with_changes(flat)


SECTIONS = tuple(f.name for f in dataclasses.fields(Config))


# The smallest and largest value of the numbers that have one; all of them are finite.
LIMITS: dict[str, tuple[float, float]] = {
    "data.image_size": (1, math.inf),
    "data.scale": (1e-3, 1),
    "data.val_fraction": (0, 0.9),
    "data.test_fraction": (0, 0.9),
    "data.workers": (1, math.inf),
    "data.cache_share": (0, 1),
    "objective.label_smoothing": (0, 1),
    "objective.dice": (0, math.inf),
    "objective.kl": (0, math.inf),
    "objective.drop": (0, 1),
    "objective.ssim": (0, math.inf),
    "model.width": (1, math.inf),
    "optim.lr": (0, math.inf),
    "optim.weight_decay": (0, math.inf),
    "optim.momentum": (0, 1),
    "optim.warmup": (0, 1),
    "optim.clip": (0, math.inf),
    "optim.accumulate": (1, math.inf),
    "optim.ema": (0, 1),
    "train.epochs": (1, math.inf),
    "train.batch_size": (1, math.inf),
    "train.seed": (0, 2**63 - 1),  # what torch's generator takes
    "train.patience": (1, math.inf),
    "train.checkpoint_seconds": (0, math.inf),
    "train.evaluations": (1, math.inf),
}


def within_limits(key: str, value: Any) -> Any:
    """`value` where its setting allows it, or an error that says what it allows."""
    if key not in LIMITS or value is None:
        return value
    smallest, largest = LIMITS[key]
    if smallest <= value <= largest and math.isfinite(value):
        return value
    allowed = f"{smallest} or more" if math.isinf(largest) else f"between {smallest} and {largest}"
    raise UserError(f"{key} must be {allowed}, not {value}.")


def all_settings() -> list[str]:
    """Every setting by its dotted name."""
    config = Config()
    return [f"{s}.{f.name}" for s in SECTIONS for f in dataclasses.fields(getattr(config, s))]


def coerce(key: str, value: Any, hint: Any) -> Any:
    """`value` as the type a setting wants, or an error that says which values it takes."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        if value is None and type(None) in args:
            return None
        rest = [arg for arg in args if arg is not type(None)]
        return coerce(key, value, rest[0]) if len(rest) == 1 else value
    if origin is Literal:
        if value not in args:
            raise UserError(f"{key} cannot be '{value}': {nearest(str(value), [str(a) for a in args])}")
        return value
    if origin is tuple:
        return tuple(str(v) for v in value)
    if origin is dict:
        return dict(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if isinstance(hint, type) and isinstance(value, hint) and not (hint is int and isinstance(value, bool)):
        return value
    raise UserError(f"{key} must be {getattr(hint, '__name__', hint)}, not {value!r}.")


def parse_duration(text: str) -> float:
    """Seconds of '90s', '10min', '1.5h' or '600'.

    Raises UserError where the text is not a positive duration.
    """
    match = re.fullmatch(r"\s*([0-9]*\.?[0-9]+)\s*(s|sec|m|min|h)?\s*", text.lower())
    seconds = float(match[1]) * {"s": 1, "sec": 1, None: 1, "m": 60, "min": 60, "h": 3600}[match[2]] if match else 0
    if seconds <= 0:
        raise UserError(f"'{text}' is not a duration: write it like 90s, 10min or 2h.")
    return seconds
