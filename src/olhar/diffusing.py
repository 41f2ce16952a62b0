"""What a run that learns to draw needs to know: its network, what it is told, and how the noise grows.

Settled once, from the data and the settings, and kept in run.json.
"""

from typing import Any

from torch import nn

from olhar.config import Config
from olhar.data.sample import Collection
from olhar.layers.space import Latents
from olhar.models import autoencoder, denoiser, guided, text_encoder


def task_settings(collection: Collection, config: Config) -> dict[str, Any]:
    """What the task's constructor takes besides the model and the pixels' statistics."""
    objective = config.objective
    return {
        "class_names": list(collection.class_names),
        "predict": objective.predict,
        "schedule": objective.noise_schedule,
        "weighting": objective.weighting,
        "levels": objective.levels,
        "drop": objective.drop,
    }


def make_space(facts: dict[str, Any]) -> Latents | None:
    """The latents that run.json's "model" describes, of an autoencoder with new weights; None where noise is mixed with
    the pixels."""
    if (space := facts.get("space")) is None:
        return None
    made = autoencoder(space["name"], space["in_channels"], tuple(space["image_size"]), **space["args"])
    return Latents(made, space["mean"], space["std"])


def make_denoiser(facts: dict[str, Any], num_classes: int) -> nn.Module:
    """The model that run.json's "model" describes, with new weights."""
    text, size = facts.get("text"), tuple(facts["image_size"])
    args = dict(facts["args"]) | ({"num_classes": num_classes} if num_classes else {})
    args["shrunk"] = facts.get("space", {}).get("factor", 1)
    if text is None:
        return denoiser(facts["name"], facts["in_channels"], size, **args)
    reader = text_encoder(text["name"], text["vocabulary"], text["length"], text["end"], **text["args"])
    drawing = denoiser(facts["name"], facts["in_channels"], size, **args, context_width=reader.width)
    return guided(drawing, reader, text["start"], text["end"])
