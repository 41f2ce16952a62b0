"""Fine-tuning what draws: a run goes on from the weights of another, with the network, the latents and the tokens that
they know."""

from typing import Any

from olhar.config import Config
from olhar.data.sample import Collection
from olhar.errors import UserError
from olhar.folder import RunFolder
from olhar.plan_diffusion import OF_THE_WEIGHTS
from olhar.shipped import shipped


def go_on(collection: Collection, config: Config) -> Config:
    """The settings, and where they name a run that draws to start from, what its weights need; of other tasks as they
    are.

    Raises UserError where the weights are of no finished run that draws, where another thing was asked for, or where
    the images say other things than it was told.
    """
    path = config.model.weights
    if collection.task != "diffuse" or path is None:
        return config
    if shipped(path):
        raise UserError(
            f"'{path}' comes along without its autoencoder's run: give --weights a run that was trained here."
        )
    folder = RunFolder.open(path)
    facts = folder.facts
    if facts["task"]["name"] != "diffuse":
        raise UserError(
            f"{path} is a run of {facts['model']['name']} and draws nothing: give --weights a run that does."
        )
    if not facts.get("result"):
        raise UserError(f"{path} is not finished: go on with `olhar resume {path}`, then give it to --weights.")
    reads, captioned = "text" in facts["model"], all(record.captions for record in collection.records)
    if reads != captioned:
        said = "from captions, and these images have none" if reads else "without captions, and these images have some"
        raise UserError(f"{path} learnt to draw {said}: give --weights another run, or leave it out.")
    theirs = {name: setting(folder.config, name) for name in OF_THE_WEIGHTS} | {
        "model.latent": str(folder.autoencoder) if "space" in facts["model"] else "none",
        "data.tokenizer": str(folder.tokenizer_file) if reads else None,
    }
    for name, value in theirs.items():
        if (asked := setting(config, name)) not in (None, "auto", {}, value):
            raise UserError(f"--{name} {asked} is not what {path} was trained with ({value}): leave it out.")
    return config.with_changes({name: value for name, value in theirs.items() if value is not None})


def setting(config: Config, name: str) -> Any:
    """By its dotted name."""
    section, _, own = name.partition(".")
    return getattr(getattr(config, section), own)


def inherit(facts: dict[str, Any], config: Config) -> None:
    """Into the facts of a new run that draws: how far pixels or latents are shifted and scaled, and how many tokens are
    read, as the weights that it starts from know it.

    Raises UserError where those draw grey images, and these have colours, or the other way round.
    """
    if config.model.weights is None:
        return
    theirs, model = RunFolder.open(config.model.weights).facts, facts["model"]
    if theirs["model"]["in_channels"] != model["in_channels"]:
        raise UserError(
            f"{config.model.weights} draws images of {theirs['model']['in_channels']} channels, and these have "
            f"{model['in_channels']}: give --weights another run, or leave it out."
        )
    facts["task"]["settings"] |= {name: theirs["task"]["settings"][name] for name in ("mean", "std")}
    if "space" in model:
        model["space"] |= {name: theirs["model"]["space"][name] for name in ("shift", "scale")}
    if "text" in model:
        model["text"]["length"] = theirs["model"]["text"]["length"]
