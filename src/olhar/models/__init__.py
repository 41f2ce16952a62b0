"""The architectures by name. A new one is one file here, one line in MODELS, and a test that comes by itself."""

import inspect
from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple, get_args, get_origin

import torch

from olhar.errors import UserError, nearest
from olhar.models import cnn, fastcnn, resnet, resnet9
from olhar.models.base import Encoder
from olhar.models.classifier import Classifier
from olhar.models.cnn import CNN
from olhar.models.fastcnn import FastCNN
from olhar.models.linear import Linear
from olhar.models.mlp import MLP
from olhar.models.resnet import ResNet
from olhar.models.resnet9 import ResNet9

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
    if name not in MODELS:
        raise UserError(f"There is no model '{name}': {nearest(name, [*MODELS, 'timm:NAME'])}")
    return MODELS[name](in_channels, image_size, **_checked(name, args))


def _checked(name: str, args: dict[str, Any]) -> dict[str, Any]:
    """`args` with the types the architecture asks for."""
    parameters = inspect.signature(MODELS[name]).parameters
    known = [p for p in parameters if p not in ("in_channels", "image_size")]
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
    parameters: int  # with a head of 1000 classes, on colour images of 224x224
    summary: str
    figure: str  # of the notes; empty where they have none


def describe() -> list[Row]:
    """Every architecture with its size. Nothing is allocated: parameters are counted on the meta device."""
    rows = []
    for name in MODELS:
        with torch.device("meta"):
            model = Classifier(encoder(name, 3, (224, 224)), 1000)
        summary = (inspect.getdoc(type(model.encoder)) or "").partition("\n")[0]
        count = sum(p.numel() for p in model.parameters())
        rows.append(Row(name, count, summary, model.encoder.figure))
    return rows
