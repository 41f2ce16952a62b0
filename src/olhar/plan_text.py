"""The plan of alignment: which towers read images and captions, in batches of how many.

Sizes are of the images as they are on disk.
"""

import math

from olhar.config import Config
from olhar.data import caption_view
from olhar.errors import UserError
from olhar.plan import NORMED, QUICK, Facts, Plan, Recipe, fitting, settle_recipe

ON_CPU, ON_GPU, PUBLISHED = 64, 224, 224  # px: what two cores train on in minutes, a GPU, and published weights
FEW = 20_000  # training images below which large towers learn captions by heart
# Passes by which even small towers know few pairs by heart. Of emoji held out, mean recall at 1 and 5 (standard error
# 0.02 to 0.03) was 0.27 after 20 passes, 0.33 after 40 and after 60 at 32 px; on half of them 0.35 after 60 and 0.36
# after 150; at 64 px 0.35 after 40, and 0.30 in 187.
MOST_PASSES = 60

ADAM = Recipe("adamw", 1e-3, 0.1, 1.0, "steady, and decays much: few pairs are soon known by heart")
TUNE = Recipe("adamw", 1e-5, 0.1, 1.0, "gentle on weights that already know something")


def resolve_text(config: Config, facts: Facts) -> Plan:
    """Every setting of a run that aligns."""
    if config.data.mix != "none":
        raise UserError(f"--data.mix {config.data.mix} is for labels of whole images: leave it out.")
    if config.model.freeze != "none" and not config.model.weights:
        raise UserError(f"--model.freeze {config.model.freeze} keeps random weights: give trained ones with --weights.")
    plan, shorter = Plan(config), min(facts.height, facts.width)
    settle_towers(plan, facts)
    usual = PUBLISHED if facts.pretrained else ON_GPU if facts.accelerator else ON_CPU
    size = min(usual, shorter) if not facts.pretrained else usual
    why = f"the images are {facts.width} x {facts.height}" if size == shorter else "what trains in minutes here"
    plan.settle("data.image_size", size, "what its weights were trained at" if facts.pretrained else why)
    plan.settle("data.augment", *caption_view.choose(plan.config.data.image_size or size))
    plan.settle("data.flip", False, "mirrored, left and right in a caption would be wrong")
    recipe = fitting((TUNE if facts.pretrained else ADAM, QUICK, NORMED), plan.config.optim.name)
    # every other pair of a batch is a wrong answer to be told from the right one: many of them teach more
    settle_recipe(plan, facts, recipe, 1024 if facts.accelerator else 256, size, steps=8)
    settle_length(plan, facts)
    return plan


def settle_length(plan: Plan, facts: Facts) -> None:
    """How many passes over the pairs; where a budget says how long, the most there are of few pairs."""
    if plan.config.train.budget is None:
        passes = min(max(math.ceil(150_000 / facts.n_train), 10), MOST_PASSES)
        plan.settle("train.epochs", passes, f"about {passes * facts.n_train:,} pairs seen")
    elif facts.n_train < FEW:
        why = f"at most: by then {facts.n_train:,} pairs are known by heart, and new ones are told apart no better"
        plan.settle("train.epochs", MOST_PASSES, why)


def settle_towers(plan: Plan, facts: Facts) -> None:
    """The two networks and the space they share."""
    if facts.accelerator and facts.n_train >= FEW:
        image, text, width = ("resnet50", "photographs, and a GPU"), "text-base", 512
    else:
        image, text, width = ("resnet9-slim", "few, wide layers: learns most in minutes"), "text-small", 128
    plan.settle("model.name", *image)
    plan.settle("model.text", text, "reads captions; trained with the image tower from the start")
    plan.settle("model.width", width, "numbers that say an image or a caption")
