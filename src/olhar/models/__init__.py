"""The architectures by name. A new one is one file here, one line in a table, and a test that comes by itself."""

import inspect
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, NamedTuple, get_args, get_origin

import torch
from torch import nn

from olhar.errors import UserError, nearest
from olhar.models import autoencoder as autoencoders
from olhar.models import clip as clips
from olhar.models import cnn, dit, fastcnn, resnet, resnet9, text, unet, vae, vit
from olhar.models import denoiser as denoisers
from olhar.models.autoencoder import Autoencoder
from olhar.models.base import Decoder, DrawingNetwork, Encoder
from olhar.models.classifier import Classifier
from olhar.models.clip import Clip, Tower
from olhar.models.cnn import CNN
from olhar.models.denoiser import Denoiser
from olhar.models.dense import Dense
from olhar.models.detector import Detector
from olhar.models.dit import DiT
from olhar.models.fastcnn import FastCNN
from olhar.models.guided import Guided
from olhar.models.linear import Linear
from olhar.models.mlp import MLP
from olhar.models.pyramid import Pyramid
from olhar.models.resnet import ResNet
from olhar.models.resnet9 import ResNet9
from olhar.models.text import TextEncoder
from olhar.models.unet import UNetDecoder, UNetEncoder
from olhar.models.vae import VAE, StableVAE
from olhar.models.vit import ViT

MODELS: dict[str, Callable[..., Encoder]] = {
    "linear": Linear,
    "mlp": MLP,
    "cnn": partial(CNN, **cnn.SIZES["cnn"]),
    "cnn-small": partial(CNN, **cnn.SIZES["cnn-small"]),
    "cnn-tiny": partial(CNN, **cnn.SIZES["cnn-tiny"]),
    "cnn-fast": partial(FastCNN, **fastcnn.SIZES["cnn-fast"]),
    "cnn-fast-wide": partial(FastCNN, **fastcnn.SIZES["cnn-fast-wide"]),
    "resnet9-slim": partial(ResNet9, **resnet9.SIZES["resnet9-slim"]),
    "resnet9": partial(ResNet9, **resnet9.SIZES["resnet9"]),
    "resnet18": partial(ResNet, **resnet.SIZES["resnet18"]),
    "resnet34": partial(ResNet, **resnet.SIZES["resnet34"]),
    "resnet50": partial(ResNet, **resnet.SIZES["resnet50"]),
    "resnet101": partial(ResNet, **resnet.SIZES["resnet101"]),
    "resnet152": partial(ResNet, **resnet.SIZES["resnet152"]),
    "unet-small": partial(UNetEncoder, **unet.SIZES["unet-small"]),
    "vit-mini4": partial(ViT, **vit.SIZES["vit-mini4"]),
    "vit-mini8": partial(ViT, **vit.SIZES["vit-mini8"]),
    "vit-ti4": partial(ViT, **vit.SIZES["vit-ti4"]),
    "vit-ti8": partial(ViT, **vit.SIZES["vit-ti8"]),
    "vit-ti16": partial(ViT, **vit.SIZES["vit-ti16"]),
    "vit-s4": partial(ViT, **vit.SIZES["vit-s4"]),
    "vit-s8": partial(ViT, **vit.SIZES["vit-s8"]),
    "vit-s16": partial(ViT, **vit.SIZES["vit-s16"]),
    "vit-b8": partial(ViT, **vit.SIZES["vit-b8"]),
    "vit-b16": partial(ViT, **vit.SIZES["vit-b16"]),
    "vit-b32": partial(ViT, **vit.SIZES["vit-b32"]),
    "vit-l16": partial(ViT, **vit.SIZES["vit-l16"]),
    "vit-l32": partial(ViT, **vit.SIZES["vit-l32"]),
}

# What makes one map of an encoder's levels, for an output a pixel.
DECODERS: dict[str, Callable[..., Decoder]] = {"pyramid": Pyramid, "unet": UNetDecoder}

# What reads captions.
TEXTS: dict[str, Callable[..., TextEncoder]] = {name: partial(TextEncoder, **text.SIZES[name]) for name in text.SIZES}

# Published pairs of towers: their names, and what they are called with.
CLIPS = clips.SIZES

# Image to latent to image.
AUTOENCODERS: dict[str, Callable[..., Autoencoder | VAE]] = {
    "autoencoder": partial(Autoencoder, **autoencoders.SIZES["autoencoder"]),
    "autoencoder-large": partial(Autoencoder, **autoencoders.SIZES["autoencoder-large"]),
    "vae": partial(VAE, **vae.SIZES["vae"]),
    "vae-f16": partial(VAE, **vae.SIZES["vae-f16"]),
    "vae-large": partial(VAE, **vae.SIZES["vae-large"]),
    "vae-stable-diffusion": partial(StableVAE, **vae.SIZES["vae-stable-diffusion"]),
}

# What says which noise an image holds.
DENOISERS: dict[str, Callable[..., DrawingNetwork]] = {
    **{name: partial(Denoiser, **size) for name, size in denoisers.SIZES.items()},
    **{name: partial(DiT, **size) for name, size in dit.SIZES.items()},
}


def encoder(name: str, in_channels: int, image_size: tuple[int, int], **args: Any) -> Encoder:
    """A new, untrained body.

    Args:
        name: a key of MODELS, or timm:NAME.
        image_size: (height, width) of the images it will see.
        args: arguments of the architecture that differ from its table; text such as "64,128" is understood.

    Raises:
        UserError: no such architecture, argument or value.
    """
    if name.startswith("timm:"):
        from olhar.models.timm import Timm  # an extra: imported when asked for

        return Timm(name.removeprefix("timm:"), in_channels, image_size, **args)
    return _make(MODELS, "model", name, args, [*MODELS, "timm:NAME"])(in_channels, image_size)


def decoder(name: str, encoder: Encoder, **args: Any) -> Decoder:
    """A new, untrained decoder for the levels of `encoder`.

    Args:
        name: a key of DECODERS.
        args: arguments that differ from its defaults; text such as "64,128" is understood.

    Raises:
        UserError: no such decoder, argument or value, or the encoder gives no map.
    """
    make = _make(DECODERS, "decoder", name, args)
    must_give_maps(encoder, "A decoder")
    return make(encoder.channels)


def dense(body: Encoder, decoder_name: str, num_outputs: int, **args: Any) -> Dense:
    """`body` with a new decoder of that name and its `args`, and a head of `num_outputs` a pixel."""
    return Dense(body, decoder(decoder_name, body, **args), num_outputs)


def detector(body: Encoder, num_classes: int, **args: Any) -> Detector:
    """`body` with a neck and heads for anchors; `args` are those of `Detector`.

    Raises UserError where the encoder gives no map.
    """
    must_give_maps(body, "Detection")
    return Detector(body, num_classes, **args)


def text_encoder(name: str, vocabulary: int, length: int, end: int, **args: Any) -> TextEncoder:
    """A new, untrained reader of captions.

    Args:
        name: a key of TEXTS.
        vocabulary, length, end: how many tokens there are, how many a caption has at most, and which one ends it.
        args: arguments that differ from its table.

    Raises:
        UserError: no such text encoder, argument or value.
    """
    return _make(TEXTS, "text encoder", name, args)(vocabulary, length, end)


def clip(image: Encoder, reader: TextEncoder, width: int, frozen: Tower = "none", fused: bool = False) -> Clip:
    """Two towers and projections to a common space of `width` numbers; `fused`: words also look at patches.

    Raises UserError where they should and the encoder gives no map.
    """
    if fused:
        must_give_maps(image, "Fusion")
    return Clip(image, reader, width, frozen, fused)


def must_give_maps(body: Encoder, who: str) -> None:
    """Raise UserError for an encoder whose only level is one vector an image."""
    if not body.any_size and max(body.image_size) <= min(body.strides):
        kind = type(body).__name__.lower()
        raise UserError(f"{who} needs an encoder that gives maps, and {kind} gives one vector an image: try a cnn.")


def autoencoder(name: str, in_channels: int, image_size: tuple[int, int], **args: Any) -> Autoencoder | VAE:
    """A new, untrained autoencoder.

    Args:
        name: a key of AUTOENCODERS.
        image_size: (height, width) of the images it will see.
        args: arguments that differ from its table; text such as "64,128" is understood.

    Raises:
        UserError: no such autoencoder, argument or value.
    """
    return _make(AUTOENCODERS, "autoencoder", name, args)(in_channels, image_size)


def denoiser(name: str, in_channels: int, image_size: tuple[int, int], shrunk: int = 1, **args: Any) -> DrawingNetwork:
    """A new, untrained denoiser.

    Args:
        name: a key of DENOISERS.
        image_size: (height, width) of the images it will draw.
        shrunk: how many times smaller what it sees of them is.
        args: arguments that differ from its table; text such as "64,128" is understood.

    Raises:
        UserError: no such denoiser, argument or value.
    """
    return _make(DENOISERS, "denoiser", name, args)(in_channels, image_size, shrunk=shrunk)


def guided(drawing: DrawingNetwork, reader: TextEncoder, start: int, end: int, padding: bool = False) -> Guided:
    """A denoiser that is told what `reader` reads."""
    return Guided(drawing, reader, start, end, padding)


def _make(
    table: Mapping[str, Callable[..., Any]],
    what: str,
    name: str,
    args: dict[str, Any],
    names: Sequence[str] | None = None,
) -> Callable[..., Any]:
    """The entry of a table, bound to checked arguments; `names` are those it may suggest for a wrong one."""
    if name not in table:
        raise UserError(f"There is no {what} '{name}': {nearest(name, names or list(table))}")
    return partial(table[name], **_checked(name, table[name], args))


GIVEN = ("in_channels", "image_size", "vocabulary", "length", "end", "shrunk")  # arguments that the data settle


def _checked(name: str, make: Callable[..., Any], args: dict[str, Any]) -> dict[str, Any]:
    """`args` with the types the architecture asks for."""
    parameters = inspect.signature(make).parameters
    known = [p for p in parameters if p not in GIVEN]
    for key in args:
        if key not in known:
            hint = nearest(key, known) if known else "it has none."
            raise UserError(f"{name} has no argument '{key}': {hint}")
    return {key: _coerce(f"{name}'s {key}", value, parameters[key].annotation) for key, value in args.items()}


def _coerce(what: str, value: Any, hint: Any) -> Any:
    """A value from a command line or a file as the constructor wants it."""
    if options := get_args(hint) if get_origin(hint) is not tuple else ():
        if value not in options:
            raise UserError(f"{what} cannot be {value!r}: {nearest(str(value), options)}")
        return value
    try:
        if get_origin(hint) is tuple:  # of whole numbers, in all architectures
            parts = value.split(",") if isinstance(value, str) else value
            return tuple(int(part) for part in parts)
        if hint is bool:
            return {"true": True, "false": False}[str(value).lower()]
        return hint(value)
    except (KeyError, TypeError, ValueError):
        raise UserError(f"{what} cannot be {value!r}: it is like {_EXAMPLES[get_origin(hint) or hint]}.") from None


_EXAMPLES = {tuple: "64,128,256", bool: "true or false", int: "64", float: "0.1"}


class Row(NamedTuple):
    """One line of `olhar models`."""

    name: str
    parameters: int  # see `describe`
    summary: str
    figure: str  # of the notes; empty where they have none
    kind: str = "model"  # or "decoder", "autoencoder", "text encoder"


def describe() -> list[Row]:
    """Every architecture with its size. Nothing is allocated: parameters are counted on the meta device.

    Of a model with a head of 1000 classes, on colour images of 224x224; of a decoder alone, on the levels of
    ResNet-18; of an autoencoder both ways, on colour images; of a text encoder with CLIP's tokens; of a denoiser of
    colour images of 64x64 alone.
    """
    with torch.device("meta"):
        heads = {name: Classifier(encoder(name, 3, (224, 224)), 1000) for name in MODELS}
        decoders = {name: decoder(name, heads["resnet18"].encoder) for name in DECODERS}
        both = {name: autoencoder(name, 3, (224, 224)) for name in AUTOENCODERS}
        readers = {name: text_encoder(name, 49_408, 77, 49_407) for name in TEXTS}
        denoising = {name: denoiser(name, 3, (64, 64)) for name in DENOISERS}
    rows = [_row(name, model.encoder, model, "model") for name, model in heads.items()]
    rows += [_row(name, model, model, "decoder") for name, model in decoders.items()]
    rows += [_row(name, model, model, "autoencoder") for name, model in both.items()]
    rows += [_row(name, model, model, "text encoder") for name, model in readers.items()]
    return rows + [_row(name, model, model, "denoiser") for name, model in denoising.items()]


def _row(
    name: str,
    described: Encoder | Decoder | Autoencoder | VAE | TextEncoder | DrawingNetwork,
    counted: nn.Module,
    kind: str,
) -> Row:
    summary = (inspect.getdoc(type(described)) or "").partition("\n")[0]
    return Row(name, sum(p.numel() for p in counted.parameters()), summary, described.figure, kind)
