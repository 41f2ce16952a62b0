"""The plan of learning to draw: how large images are, by which network, how fast.

Sizes are of the images as they are on disk.
"""

import math
from dataclasses import replace

from olhar.config import Config, ModelConfig, ObjectiveConfig, OptimConfig, parse_duration
from olhar.data.transforms import SMALL, TINY
from olhar.errors import UserError
from olhar.plan import NORMED, Decision, Facts, Plan, Recipe, fitting, settle_recipe

ON_CPU, ON_GPU = 64, 128  # px: what two cores learn to draw in minutes, and a GPU
# Of the time, or the passes, of a run that draws in latents: what its autoencoder gets, which is trained first.
FIRST_SHARE = 0.3
# What weights that draw cannot do without: of the run they are taken from.
OF_THE_WEIGHTS = (
    "model.name",
    "model.args",
    "model.text",
    "model.text_args",
    "model.latent",
    "objective.predict",
    "objective.noise_schedule",
    "data.image_size",
    "data.tokenizer",
)
# Layers of the small transformer where a budget is long enough, and how long, s. Of shapes, autoencoder included, they
# drew 69 % as told after 82 minutes of one core; half as many 53 % after 72, and 57 % after 34 more of two cores.
DEEP, DEEP_FROM = 8, 1800
OWN = "own"  # of the latent: an autoencoder is trained first
FROM = 64  # px: smaller images are drawn as they are, or in latents of an autoencoder that shrinks them less
FEWEST = 20  # training images; of fewer, whatever is drawn is one of them

ADAM = Recipe("adamw", 1e-3, 0.01, 1.0, "steady at every level of the noise")
MUON = Recipe("muon", 0.02, 0.01, 1.0, "learns most in few passes")


def resolve_diffusion(config: Config, facts: Facts) -> Plan:
    """Every setting of a run that learns to draw."""
    if config.data.mix != "none":
        raise UserError(f"--data.mix {config.data.mix} is for labels of whole images: leave it out.")
    if facts.n_train < FEWEST:
        raise UserError(
            f"{facts.n_train} training images are too few to learn to draw from: a model would only repeat them. "
            f"Give {FEWEST} at least, better some hundreds."
        )
    plan = Plan(config)
    largest, shorter = ON_GPU if facts.accelerator else ON_CPU, min(facts.height, facts.width)
    settle_space(plan, facts)
    size = halvable(min(shorter, largest), facts.shrunk)
    where = f"the images are {facts.width} x {facts.height}"
    plan.settle("data.image_size", size, where if shorter <= size else f"what can be learnt here in minutes; {where}")
    side = plan.config.data.image_size or size
    settle_network(plan, facts, side)
    plan.settle("data.augment", "none", "what was changed would be drawn changed")
    plan.settle("data.flip", False, "what was mirrored would be drawn mirrored")
    settle_recipe(
        plan,
        facts,
        fitting((MUON, ADAM, NORMED), plan.config.optim.name),
        128 if side <= TINY or facts.accelerator or facts.shrunk > 1 else 32,
        side,
    )
    if plan.config.train.budget is None:
        seen = 400_000 if side <= SMALL else 100_000
        passes = min(max(math.ceil(seen / facts.n_train), 10), 400)
        plan.settle("train.epochs", passes, f"about {passes * facts.n_train:,} images seen")
    if facts.pretrained:
        known = "what its weights were trained with"
        plan.decisions = [replace(d, reason=known) if d.setting in OF_THE_WEIGHTS else d for d in plan.decisions]
    return plan


def settled(latent: str, side: int) -> str:
    """The setting, where it leaves to the shorter side of the images whether noise is mixed with pixels or latents."""
    if latent != "auto":
        return latent
    return OWN if side >= FROM else "none"


def own_name(side: int) -> str:
    """The autoencoder that is trained first for images of that shorter side."""
    return "vae-f16" if side >= FROM else "vae"


def settle_space(plan: Plan, facts: Facts) -> None:
    """Whether noise is mixed with the pixels or with latents."""
    latent, shrunk = plan.config.model.latent, facts.shrunk
    if latent == "none":
        return
    for setting in ("data.augment", "data.flip"):
        section, _, name = setting.partition(".")
        if getattr(getattr(plan.config, section), name) not in (None, False, "auto", "none"):
            raise UserError(
                f"--{setting} changes images, and latents are made of each only once: leave it out, or give "
                "--latent none."
            )
    if min(facts.height, facts.width) < 4 * shrunk:
        raise UserError(f"Images of {facts.width} x {facts.height} px leave latents too small: give --latent none.")
    first = f"; it is trained first, in {FIRST_SHARE:.0%} of the time" if latent == OWN else ""
    plan.decisions.append(Decision("model.latent", latent, f"a latent stands for {shrunk} x {shrunk} pixels{first}"))


def autoencoder_config(config: Config) -> Config:
    """The settings of the autoencoder that a run with these settings, all settled, draws in: of the same images, for
    FIRST_SHARE as long."""
    budget = config.train.budget and f"{FIRST_SHARE * parse_duration(config.train.budget):.1f}s"
    epochs = config.train.epochs and math.ceil(FIRST_SHARE * config.train.epochs)
    return Config(
        # mirror images are images as well; the doctor has spoken
        data=replace(config.data, task="diffuse", augment="auto", flip=None, tokenizer=None, check="off"),
        model=ModelConfig(name=own_name(config.data.image_size or FROM)),
        objective=ObjectiveConfig(),
        optim=OptimConfig(),
        train=replace(config.train, budget=budget, epochs=epochs, batch_size=None),
    )


def halvable(side: int, shrunk: int = 1) -> int:
    """The largest side up to `side` that can be halved as often as its network does, or the least that can.

    shrunk: how many times smaller than the image is what the network sees.
    """
    seen = side // shrunk
    step = shrunk * (4 if seen <= TINY else 8 if seen < 32 else 16)
    return max(step, side // step * step)


def settle_network(plan: Plan, facts: Facts, side: int) -> None:
    """The network, what it says, and how noise grows."""
    said_noise, schedule = plan.config.objective.predict == "noise", plan.config.objective.noise_schedule
    if said_noise and (schedule == "flow" or (facts.shrunk > 1 and schedule in ("cosine", "shifted-cosine"))):
        raise UserError(
            f"--objective.noise-schedule {schedule} ends in nothing but noise, from which noise tells no image: give "
            "--objective.predict velocity, or --objective.noise-schedule scaled-linear."
        )
    if facts.shrunk > 1:
        why = "the few places of a latent are tokens"
        if deeper(plan.config, facts):
            plan.config = plan.config.with_changes({"model.args": {**plan.config.model.args, "depth": DEEP}})
            why = f"{why}; {DEEP} layers, as there is time for twice the usual"
        plan.settle("model.name", "dit-small" if facts.accelerator else "dit-mini", why)
    if facts.captioned and (plan.config.model.name or "").startswith("dit"):
        plan.settle("model.text", "text-words", "its words stand beside the places, and the network reads them itself")
    elif facts.captioned:
        plan.settle("model.text", "text-small", "reads captions; trained along")
    if facts.shrunk > 1:
        plan.settle("objective.predict", "velocity", "what a network can tell at every level")
        usual, why = ("scaled-linear", "leaves some of the image") if said_noise else ("cosine", "usual in latents")
        plan.settle("objective.noise_schedule", usual, why)
        # after 6 minutes of one core, 23% of shapes were drawn right with all levels alike and 30% so (one run each)
        plan.settle("objective.levels", "logit-normal", "what things look like is decided in the middle")
        return
    plan.settle("objective.levels", "uniform", "each matters to pixels")
    if side <= TINY:
        plan.settle("model.name", "denoiser-tiny", f"images of {side} px")
    elif facts.accelerator:
        plan.settle("model.name", "denoiser", "a GPU trains it")
    else:
        plan.settle("model.name", "denoiser-mini", "narrow: what a CPU trains in minutes needs steps more than width")
    # a larger image is seen in patches, so that a level costs the same
    if "patch" not in plan.config.model.args and (patch := patch_of(side, facts.accelerator)) > 1:
        plan.config = plan.config.with_changes({"model.args": {**plan.config.model.args, "patch": patch}})
    # noise has as many numbers as a patch has pixels, and no network as narrow carries them all: in patches of 4 px of
    # shapes velocities left the pictures grainy after 7 minutes, images had no grain after 3 (one run each)
    patched = int(plan.config.model.args.get("patch", 1)) > 1
    said = ("image", "in patches") if patched else ("velocity", "at every level")
    plan.settle("objective.predict", said[0], f"what a network can tell {said[1]}")
    # where things are, which shape and colour they have is settled at a signal-to-noise ratio of 1/1000 to 1/20 at
    # 64 px; of the cosine's levels an eighth lie there, of the shifted one's a third
    schedule = ("shifted-cosine", "large things show through much noise") if patched else ("cosine", "usual in pixels")
    plan.settle("objective.noise_schedule", *schedule)


def deeper(config: Config, facts: Facts) -> bool:
    """Whether a CPU has the time for twice the layers, where neither the network nor its depth was asked for."""
    asked = config.model.name or "depth" in config.model.args
    seconds = parse_duration(config.train.budget) if config.train.budget else 0.0
    return not facts.accelerator and not asked and seconds >= DEEP_FROM


def patch_of(side: int, accelerator: bool) -> int:
    """Pixels along a position: no more than 16 positions along a side on a CPU, or 64 on a GPU, if it divides so."""
    most = 64 if accelerator else 16
    patch = 1
    while side / patch > most and side % (8 * patch) == 0:
        patch *= 2
    return patch
