"""The plan of detection: how large images are seen, by which network, how fast.

Sizes are of the images as they are on disk.
"""

import math

from olhar.anchoring import ON_CPU, ON_GPU, canvas_scale, check_given
from olhar.config import Config
from olhar.data.transforms import SMALL
from olhar.plan import Facts, Plan, Recipe, fitting, settle_recipe
from olhar.plan_pixels import SGD, TUNE

# in 16 passes over 205 images of blood cells AP50 0.86 on the test, where AdamW at its best rate of three came to 0.74
DETECT = Recipe("muon", 0.05, 0.05, 1.0, "learns most in few passes")
ADAM = Recipe("adamw", 8e-3, 0.05, 1.0, "steady from random weights")


def resolve_boxes(config: Config, facts: Facts) -> Plan:
    """Every setting of a run that detects."""
    check_given(config.model.detector_args)
    plan, shorter = Plan(config), min(facts.height, facts.width)
    scale = canvas_scale(max(facts.height, facts.width), ON_GPU if facts.accelerator else ON_CPU)
    size = max(1, round(scale * shorter))
    where = f"the images are {facts.width} x {facts.height}"
    plan.settle("data.image_size", size, where if scale == 1 else f"what trains in minutes here; {where}")
    asked = plan.config.data.image_size or size
    plan.settle("data.scale", float(f"{min(1.0, asked / shorter):.6g}"), "all of an image at once")
    small = asked <= SMALL
    if facts.accelerator and not small:
        plan.settle("model.name", "resnet50", "photographs, and a GPU")
    else:
        plan.settle("model.name", "resnet9-slim", "few, wide layers: learns most in minutes")
    plan.settle("data.augment", "paired-small" if small else "paired", "image and boxes change together")
    plan.settle("data.flip", not facts.upright, "mirror images mean the same")
    recipes = (TUNE, DETECT, SGD) if facts.pretrained else (DETECT, ADAM, SGD)
    settle_recipe(plan, facts, fitting(recipes, plan.config.optim.name), 64 if small else 16, asked)
    if plan.config.train.budget is None:
        seen = 100_000 if small else 20_000
        passes = min(max(math.ceil(seen / facts.n_train), 10), 120)
        plan.settle("train.epochs", passes, f"about {passes * facts.n_train:,} images seen")
    return plan
