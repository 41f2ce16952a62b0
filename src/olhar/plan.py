"""Settings nobody gave, chosen from the data, the machine and the time, each with its reason in words.

Sizes are of the images as they are on disk; costs are measured, not guessed.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from olhar.config import Config
from olhar.data.transforms import SMALL, TINY
from olhar.data.transforms import choose as choose_augment
from olhar.errors import UserError


@dataclass(frozen=True)
class Decision:
    """One line of the plan."""

    setting: str
    value: Any
    reason: str


@dataclass(frozen=True)
class Facts:
    """What the plan rests on."""

    n_train: int
    task: str  # a key of olhar.tasks.TASKS
    num_classes: int
    height: int  # median of the images, px
    width: int
    accelerator: bool  # a GPU, or another device faster than a CPU
    upright: bool = False  # mirrored images mean something else: digits, letters
    pretrained: bool = False
    world: int = 1  # processes
    captioned: bool = False  # images have captions
    corruption: str = "none"  # of images to reconstruct: a setting's value, or "pairs"
    shrunk: int = 1  # how many times smaller the latents are in which a model draws; 1: it draws pixels


@dataclass
class Plan:
    """A config with nothing left open, and why each choice was made."""

    config: Config
    decisions: list[Decision] = field(default_factory=list)

    def lines(self) -> list[str]:
        """The plan as a person reads it."""
        width = max(len(d.setting) for d in self.decisions)
        return [f"  {d.setting:<{width}}  {d.value!s:<10}  {d.reason}" for d in self.decisions]

    def settle(self, setting: str, value: Any, reason: str) -> None:
        """Choose `value` unless the person chose already."""
        section, _, name = setting.partition(".")
        given = getattr(getattr(self.config, section), name)
        if given not in (None, "auto"):
            self.decisions.append(Decision(setting, given, "as asked"))
        else:
            self.config = self.config.with_changes({setting: value})
            self.decisions.append(Decision(setting, value, reason))


@dataclass(frozen=True)
class Candidate:
    """A model and image size that a plan may choose, strongest first, and the passes it needs to be worth it."""

    model: str
    image_size: int
    epochs: int


@dataclass(frozen=True)
class Picked:
    """What a budget chose, the passes over the data it has time for, and the reason in words."""

    model: str
    image_size: int
    passes: float
    reason: str


# From random weights a larger network only pays if the time allows it enough passes over the data. How many is
# our judgement, not a measurement: what papers that train these networks quickly give them.
SMALL_CANDIDATES = (("resnet18", 40), ("cnn-fast-wide", 7), ("cnn-fast", 0))
PHOTO_CANDIDATES = (("resnet50", 224, 60), ("resnet18", 224, 40), ("resnet18", 128, 15), ("resnet18", 96, 0))


def candidates(facts: Facts, asked: int | None = None) -> list[Candidate]:
    """What a run with a budget may choose from, strongest first. `asked`: the image size, where it was given."""
    side = min(facts.height, facts.width)
    if (asked or side) <= TINY:
        return [Candidate("cnn-tiny", asked or side, 0)]
    if (asked or side) <= SMALL:
        return [Candidate(model, asked or side, epochs) for model, epochs in SMALL_CANDIDATES]
    return [Candidate(m, asked or size, e) for m, size, e in PHOTO_CANDIDATES if asked or size <= max(side, 96)]


def default_model(facts: Facts) -> tuple[str, str]:
    """The model of a run without a budget, and why."""
    side = min(facts.height, facts.width)
    if side <= TINY:
        return "cnn-tiny", f"images of {side} px have no room for a deeper network"
    if side <= SMALL:
        if facts.accelerator:
            return "resnet18", "a GPU trains it on small images in minutes"
        return "cnn-fast", "what a CPU trains on small images in minutes"
    if facts.accelerator:
        return "resnet50", "photographs, and a GPU to learn from them"
    return "resnet18", "photographs, on a CPU"


def default_size(facts: Facts, model: str) -> tuple[int, str]:
    """Side of the square the model sees, and why."""
    side = min(facts.height, facts.width)
    if side <= SMALL:
        return side, f"the images' own size ({facts.width} x {facts.height})"
    wanted = 224 if facts.accelerator or facts.pretrained else 128
    size = min(wanted, max(32, side // 32 * 32))
    if size < wanted:
        return size, f"the images are {facts.width} x {facts.height}"
    return size, "the size its weights were trained at" if facts.pretrained else (
        "fine detail, at a cost a GPU bears" if facts.accelerator else "a third of the cost of 224 px on a CPU"
    )


def resolve(config: Config, facts: Facts, picked: "Picked | None" = None) -> Plan:
    """The whole plan. `picked` is what a budget chose."""
    plan = Plan(config)
    name, reason = (picked.model, picked.reason) if picked else default_model(facts)
    plan.settle("model.name", name, reason)
    chosen, reason = (picked.image_size, picked.reason) if picked else default_size(facts, name)
    plan.settle("data.image_size", chosen, reason)
    side = plan.config.data.image_size or chosen
    settle_length(plan, facts, side)
    passes = min(picked.passes if picked else math.inf, plan.config.train.epochs or math.inf)
    plan.settle("data.augment", *choose_augment(side, facts.n_train, passes))
    plan.settle(
        "data.flip",
        not facts.upright,
        "mirrored, these mean something else" if facts.upright else "mirror images mean the same",
    )
    settle_optimizer(plan, facts, side)
    return plan


@dataclass(frozen=True)
class Recipe:
    """An optimizer with the settings that go with it; the rate is for batches of 128."""

    optimizer: str
    lr: float
    weight_decay: float
    clip: float
    why: str


NORMED = Recipe("sgd", 0.1, 5e-4, 0.0, "batch-normalised networks generalise best with it")
# in two passes over CIFAR-10 it took cnn-fast to 82% where SGD took it to 78% (one run each)
QUICK = Recipe("muon", 0.1, 5e-4, 0.0, "learns most in few passes")
# in five passes over CIFAR-10 Muon for the matrices of the blocks and AdamW for the rest took vit-mini4 to 75 %; with
# rates of 0.005, 0.02 and 0.04 to 75, 73 and 71 %, and AdamW alone, the better of two rates, to 68 % (one run each)
FRESH_VIT = Recipe("muon", 0.01, 0.01, 1.0, "learns most in few passes")
PLAIN = Recipe("adamw", 1e-3, 0.05, 1.0, "steady without batch normalisation")
PRETRAINED = Recipe("adamw", 1e-4, 0.05, 1.0, "gentle on weights that already know something")


def recipe_for(facts: Facts, model: str, optimizer: str) -> Recipe:
    """The recipe for a model; `optimizer`, unless "auto", is what was asked for."""
    usual = NORMED if model.startswith(("cnn", "resnet")) else PLAIN
    if model.startswith("cnn-fast"):
        usual = QUICK
    if model.startswith("vit"):
        usual = FRESH_VIT
    if facts.pretrained:
        usual = PRETRAINED
    return fitting((usual, NORMED, PLAIN, QUICK), optimizer)


def fitting(recipes: Sequence[Recipe], optimizer: str) -> Recipe:
    """The first with the optimizer that was asked for, or simply the first where it is "auto"."""
    return next(recipe for recipe in recipes if optimizer in ("auto", recipe.optimizer))


def settle_optimizer(plan: Plan, facts: Facts, side: int) -> None:
    """Batch size, optimizer, learning rate, decay, smoothing."""
    recipe = recipe_for(facts, plan.config.model.name or "", plan.config.optim.name)
    if facts.task == "regress":  # a square grows without bound where a logarithm of classes does not
        recipe = replace(recipe, clip=recipe.clip or 1.0)
    # a step of Muon costs the same for any batch, so that large ones are cheaper
    usual = 32 if side > SMALL else 512 if facts.accelerator or recipe is QUICK else 128
    settle_recipe(plan, facts, recipe, usual, side)
    if facts.task == "classify":
        plan.settle("objective.label_smoothing", 0.1, "keeps the model from being too sure")


# The settings that only some tasks use, and which; all others are for every task.
USED_BY: dict[str, tuple[str, ...]] = {
    "data.scale": ("segment", "detect", "reconstruct"),
    "data.tokenizer": ("align", "diffuse"),
    "data.text_column": ("align", "diffuse"),
    "data.corruption": ("reconstruct",),
    "data.noise": ("reconstruct",),
    "model.latent": ("diffuse",),
    "model.text": ("align", "diffuse"),
    "model.text_args": ("align", "diffuse"),
    "model.width": ("align",),
    "model.freeze": ("align",),
    "model.fusion": ("align",),
    "model.decoder": ("segment", "reconstruct"),
    "model.decoder_args": ("segment", "reconstruct"),
    "model.detector_args": ("detect",),
    "objective.label_smoothing": ("classify",),
    "objective.class_weights": ("classify", "segment"),
    "objective.dice": ("segment",),
    "objective.likelihood": ("reconstruct",),
    "objective.kl": ("reconstruct",),
    "objective.ssim": ("reconstruct",),
    "objective.balance": ("detect",),
    "objective.box_loss": ("detect",),
    "objective.predict": ("diffuse",),
    "objective.noise_schedule": ("diffuse",),
    "objective.weighting": ("diffuse",),
    "objective.levels": ("diffuse",),
    "objective.drop": ("diffuse",),
    "objective.variance": ("regress",),
}


def refuse_unused(config: Config, *tasks: str) -> None:
    """Raise UserError where a setting was changed that none of these tasks uses, the first of which is learnt: it would
    change nothing."""
    given, usual = config.to_dict(), Config().to_dict()
    for setting, users in USED_BY.items():
        section, _, name = setting.partition(".")
        if not {*tasks} & {*users} and given[section][name] != usual[section][name]:
            option, wanted = f"--{setting.replace('_', '-')}", " or ".join(f"to {one}" for one in users)
            raise UserError(f"{option} is for learning {wanted}, and this is to {tasks[0]}: leave it out.")


def check_mix(mix: str, task: str) -> None:
    """Raise UserError where a task has not what is mixed: labels of whole images, or boxes."""
    if mix == "mosaic" and task != "detect":
        raise UserError(f"--data.mix mosaic puts boxes together, and this is to {task}: leave it out.")
    if mix in ("mixup", "cutmix") and task not in ("classify", "regress"):
        instead = "give mosaic" if task == "detect" else "leave it out"
        raise UserError(f"--data.mix {mix} is for labels of whole images, and this is to {task}: {instead}.")


def settle_recipe(plan: Plan, facts: Facts, recipe: Recipe, usual: int, side: int, steps: int = 16) -> None:
    """The recipe for batches of `usual` images, or of as many as few images allow: at least `steps` a pass, for with
    fewer a pass teaches too little."""
    largest = 2 ** int(math.log2(max(8, facts.n_train / steps)))
    batch = max(min(usual, largest) // facts.world, 1) * facts.world
    reason = f"{steps} steps or more a pass over few images" if batch < usual else f"usual for images of {side} px"
    plan.settle("train.batch_size", batch, reason)
    batch = plan.config.train.batch_size or batch
    plan.settle("optim.name", recipe.optimizer, recipe.why)
    # twice the batch, twice the step for SGD (Goyal et al., arXiv 1706.02677), its root for Adam (Malladi et al.,
    # arXiv 2205.10287)
    scale = {"sgd": batch / 128, "adamw": math.sqrt(batch / 128), "muon": 1.0}[recipe.optimizer]
    scaled = f" for batches of 128, scaled to {batch}" if scale != 1 else ""
    plan.settle("optim.lr", float(f"{recipe.lr * scale:.2g}"), f"{recipe.lr:g} is usual{scaled}")
    plan.settle("optim.weight_decay", recipe.weight_decay, f"usual with {recipe.optimizer}")
    why = "against rare long gradients" if recipe.clip else "not needed with batch normalisation"
    plan.settle("optim.clip", recipe.clip, why)


def settle_length(plan: Plan, facts: Facts, side: int) -> None:
    """How many passes over the data, where no budget says how long."""
    if plan.config.train.budget is None:
        # enough images seen to converge from random weights, within what a laptop does over a coffee
        seen = 300_000 if side <= SMALL else 60_000
        passes = min(max(math.ceil(seen / facts.n_train), 10), 120)
        if facts.pretrained:
            passes = max(5, passes // 4)
        plan.settle("train.epochs", passes, f"about {passes * facts.n_train:,} images seen")


def ema_decay(steps: int) -> tuple[float, str]:
    """The average of the weights remembers a fiftieth of the run: less is noise, more is the past."""
    decay = min(1 - 1 / max(steps / 50, 2), 0.9999)
    return float(f"{decay:.4g}"), f"remembers a fiftieth of about {steps:,} steps"


def pick(options: list[Candidate], n_train: int, seconds: float, speed: Callable[[Candidate], float]) -> Picked:
    """The strongest candidate that `seconds` allow enough passes, by `speed`, measured images a second here."""
    rate, passes = 0.0, 0.0
    for option in options:
        rate = speed(option)
        passes = seconds * rate / n_train
        if passes >= option.epochs:
            reason = f"{rate:,.0f} images/s here: {passes:.1f} passes in the time"
            return Picked(option.model, option.image_size, passes, reason)
    reason = f"the fastest there is: {passes:.1f} passes in the time at {rate:,.0f} images/s"
    return Picked(options[-1].model, options[-1].image_size, passes, reason)
