"""Drawing in the latents of an autoencoder (Figure 5.3): which one, what is kept of every image, and how it spreads.

The autoencoder is a finished run of its own, RUN/autoencoder. Every image is encoded once, before the first step.

Shapes: N batch, L channels of the latent, h w its space.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import torch
from jaxtyping import Float, Float64, UInt8
from torch import Tensor

from olhar.build import Feeder, task_from_facts
from olhar.config import Config
from olhar.data.latent_reader import LatentReader
from olhar.data.loader import Loader
from olhar.data.sample import Batch, Collection
from olhar.errors import UserError
from olhar.folder import RunFolder
from olhar.layers.space import Latents
from olhar.models import AUTOENCODERS, autoencoder
from olhar.models.vae import VAE
from olhar.plan_diffusion import OWN, own_name
from olhar.tasks.reconstruct import Reconstruct
from olhar.tasks.task import Task

# Of the deviation that the widest channel has. A narrower one is not used, and made as wide as the others it would be
# noise that a model learns to draw.
UNUSED = 0.05
FAR = 2.0  # times wider or narrower, or deviations away, than training: other images
BATCH = 64
NOTE = (
    "Noise is mixed with the latents of an autoencoder, whose run is in autoencoder/: losses and errors are of latents "
    "with deviation 1, and do not compare with those of pixels."
)


def space_facts(latent: str, channels: int, side: int) -> dict[str, Any] | None:
    """What run.json says of the autoencoder that the settled setting names, before it is trained; None for pixels.

    side: the shorter one of the images, px.

    Raises UserError where the setting names no finished autoencoder of such images.
    """
    if latent == "none":
        return None
    if latent == OWN:
        found = {"name": own_name(side), "args": {}, "in_channels": channels}
    else:
        found = facts_of_run(latent, channels)
    with torch.device("meta"):
        made = autoencoder(found["name"], channels, (64, 64), **found["args"])
    return found | {"factor": made.factor, "latent_channels": made.latent_channels}


def factor_of(latent: str, channels: int, side: int) -> int:
    """How many times smaller than images of that shorter side what is drawn is; see `space_facts`."""
    space = space_facts(latent, channels, side)
    return space["factor"] if space else 1


def facts_of_run(path: str, channels: int) -> dict[str, Any]:
    """Of a run that learnt an autoencoder. Raises UserError for any other."""
    folder = RunFolder.open(path)
    facts = folder.facts
    model, cure = facts["model"], "train one with --task reconstruct --model vae, or give --latent own"
    if facts["task"]["name"] != "reconstruct" or not model["name"].startswith("vae"):
        raise UserError(f"{path} is a run of {model['name']} and no variational autoencoder: {cure}.")
    if (corruption := facts["task"]["settings"]["corruption"]) != "none":
        raise UserError(f"The autoencoder of {path} learnt to undo {corruption}, and not to keep images: {cure}.")
    if not facts.get("result"):
        raise UserError(f"{path} is not finished: go on with `olhar resume {path}`, then give it to --latent.")
    if model["in_channels"] != channels:
        kinds = {1: "grey", 3: "coloured"}
        raise UserError(
            f"{path} learnt from {kinds[model['in_channels']]} images, and these are {kinds[channels]}: {cure}."
        )
    return {name: model[name] for name in ("name", "args", "in_channels")}


def to_compress(collection: Collection, config: Config) -> Collection:
    """Where the model of images to draw from is an autoencoder: the same images, with nothing said of them.

    Raises UserError where it is also told to draw in latents.
    """
    name = config.model.name
    if collection.task != "diffuse" or name not in AUTOENCODERS:
        return collection
    if config.model.latent not in ("auto", "none"):
        raise UserError(f"--model {name} trains the autoencoder alone: leave out --latent, or --model.")
    records = [replace(record, label=None, labels=None, captions=()) for record in collection.records]
    said = f"{collection.explanation.removesuffix('.')}; of these the images alone, to be reconstructed."
    return replace(collection, task="reconstruct", records=records, class_names=(), explanation=said)


def complete(facts: dict[str, Any], folder: RunFolder) -> None:
    """Add to `facts` what the finished run of the autoencoder knows: the pixels that it was trained on."""
    if space := facts["model"].get("space"):
        known = RunFolder.open(folder.autoencoder).facts
        space["image_size"] = known["model"]["image_size"]
        space |= {name: known["task"]["settings"][name] for name in ("mean", "std")}


def encoding(task: Task, feeder: Feeder, folder: RunFolder) -> Feeder:
    """The feeder that reads latents in the place of images, where the task draws in them; the task's autoencoder has
    the weights of its run from now on."""
    space = getattr(task, "space", None)
    if not isinstance(space, Latents):
        return feeder
    run = RunFolder(folder.autoencoder)
    trained = task_from_facts(run.facts, run.weights)
    assert isinstance(trained, Reconstruct)
    assert isinstance(trained.model, VAE)
    space.autoencoder.load_state_dict(trained.model.state_dict())
    weights = hashlib.sha256(run.weights.read_bytes()).hexdigest()[:16]
    read, side = feeder.preprocess.read, feeder.preprocess.image_size
    return replace(feeder, latents=LatentReader(read, encoder_of(space), weights, space.shape((side, side))))


def encoder_of(space: Latents) -> Callable[[UInt8[Tensor, "N C H W"]], Float[Tensor, "N L h w"]]:
    """The latents of images as they are kept: on the CPU, and of float32 whatever training computes in."""

    @torch.no_grad()
    def encode(image: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N L h w"]:
        return space.encode(image.to(space.shift.device)).float().cpu()

    return encode


class Spread(NamedTuple):
    """Mean and deviation of each channel."""

    mean: Float64[Tensor, " L"]
    std: Float64[Tensor, " L"]


def settle(
    task: Task, facts: dict[str, Any], train: Loader, validation: Loader, say: Callable[[str], None]
) -> Iterator[str]:
    """Encode every image once, and make the latents of training spread by 1; nothing where the task draws pixels.

    A resumed run keeps the scale that `facts` hold. Yields what is odd about the latents, in plain words.
    Raises UserError where a latent is no number.
    """
    space = getattr(task, "space", None)
    if not isinstance(space, Latents):
        return
    say(f"Encoding {len(train.records) + len(validation.records):,} images, once.")
    found, known = spread(train), facts["model"]["space"]
    new, scale = "scale" not in known, found.std.clamp_min(UNUSED * float(found.std.max()))
    if new:
        known |= {"shift": found.mean.tolist(), "scale": scale.tolist()}
    space.shift.copy_(torch.tensor(known["shift"]).view_as(space.shift))
    space.scale.copy_(torch.tensor(known["scale"]).view_as(space.scale))
    other = spread(validation)
    if new:
        yield from odd(found, other, scale)


def spread(loader: Loader) -> Spread:
    """How the latents of a loader's images spread; its cache holds them from now on."""
    inside = Loader(
        loader.records,
        read=loader.read,
        batch_size=BATCH,
        seed=0,
        shuffle=False,
        workers=loader.workers,
        cache=loader.cache,
    )
    count, total, square = 0, torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for batch in inside.epoch(0):
        refuse_no_numbers(batch)
        latent = batch["latent"].double()
        count += latent[:, 0].numel()
        total = total + latent.sum((0, 2, 3))
        square = square + latent.square().sum((0, 2, 3))
    mean = total / count
    return Spread(mean, (square / count - mean.square()).clamp_min(0).sqrt())


def refuse_no_numbers(batch: Batch) -> None:
    """Raise UserError where a latent is no number."""
    wrong = (~batch["latent"].isfinite().flatten(1).all(1)).nonzero().flatten().tolist()
    if wrong:
        raise UserError(
            f"The autoencoder makes no numbers of {batch['id'][wrong[0]]}: it is damaged or was trained at too high a "
            "rate. Train it anew with --task reconstruct --model vae and a smaller --optim.lr, and give it to --latent."
        )


def odd(train: Spread, validation: Spread, scale: Float64[Tensor, " L"]) -> Iterator[str]:
    """What is odd about latents that ought to have mean 0 and deviation 1."""
    unused = (train.std < scale).nonzero().flatten().tolist()
    if unused:
        yield (
            f"Of the {len(scale)} channels of the latents {len(unused)} hardly vary: the autoencoder does without. "
            "Likely it was trained for too short a time. Try a longer --budget, or a smaller --objective.kl of its own."
        )
    mean, std = (validation.mean - train.mean) / scale, validation.std / scale
    used = train.std >= scale
    far = used & ((mean.abs() > FAR) | (std > FAR) | (std < 1 / FAR))
    if far.any():
        worst = int((far * (std.log().abs() + mean.abs())).argmax())
        yield (
            f"The latents of validation have mean {mean[worst]:.2f} and deviation {std[worst]:.2f} where those of "
            "training have 0 and 1: these are other images, and the validation loss says little. Try another split."
        )
