"""The plan of tasks that answer for every place of an image: what is seen of it, by which network, how fast.

Sizes are of the images as they are on disk.
"""

import math

from olhar.config import Config
from olhar.data.corrupt import DETAIL, parse_noise
from olhar.data.transforms import SMALL
from olhar.plan import Facts, Plan, Recipe, fitting, settle_recipe

ON_CPU, ON_GPU = 192, 384  # px, shorter side: what trains in minutes on two cores, or on a GPU
LONGEST = 1024  # px of an image that clean parts are cut from: beyond it there is more noise than detail
PART = 96  # px: the side of the parts that restoring learns from; what noise or blur is like needs no more
LEAST_SCALE = 0.25  # shrunk further, what is a few pixels wide is gone: larger images are learnt part by part

# in 150 s of CamVid a mean IoU of 36.4 % where AdamW came to 34.2 (one run each)
SEGMENT = Recipe("muon", 0.05, 5e-4, 0.0, "learns most in few passes")
# on emoji and CamVid, batches of 8 and 16 came further in three minutes than larger ones
RESTORE = Recipe("adamw", 5.6e-3, 0.01, 1.0, "steady from random weights")
CODE = Recipe("muon", 0.02, 0.01, 1.0, "learns most in few passes")
# 40,000 images of shapes brought it to 32.1 dB in batches of 16 and to 30.7 of 64; 13,000 to 29.6, in batches of 32 to
# 28.4, of 64 to 26.8 (one run each). What a step of Muon costs beside so few images is a fifth more time.
CODED = 16
ADAM = Recipe("adamw", 2e-3, 0.05, 1.0, "steady from random weights")
SGD = Recipe("sgd", 0.08, 5e-4, 0.0, "batch-normalised networks generalise well with it")
TUNE = Recipe("adamw", 3e-4, 0.05, 1.0, "gentle on weights that already know something")


def resolve_pixels(config: Config, facts: Facts) -> Plan:
    """Every setting of a run that segments or reconstructs."""
    parse_noise(config.data.noise)  # whose mistakes are told before anything begins
    plan = Plan(config)
    settle_network(plan, facts)
    settle_view(plan, facts)
    side = plan.config.data.image_size or PART
    small = min(side, facts.height, facts.width) <= SMALL
    why = "the mask" if facts.task == "segment" else "what is to be restored"
    plan.settle("data.augment", "paired-small" if small else "paired", f"image and {why} change together")
    plan.settle("data.flip", not facts.upright, "mirror images mean the same")
    if facts.task == "segment":
        plan.settle("objective.class_weights", "effective", "rare classes fill few pixels, but count as others do")
    code = plan.config.model.name == "vae-f16"
    usual = (SEGMENT, ADAM, SGD) if facts.task == "segment" else (RESTORE, SEGMENT, SGD)
    recipes = (TUNE, *usual) if facts.pretrained else (CODE, *usual) if code else usual
    batch = (64 if facts.accelerator else CODED) if code else batch_of(facts.task, side)
    settle_recipe(plan, facts, fitting(recipes, plan.config.optim.name), batch, side)
    if plan.config.train.budget is None:
        seen = 100_000 if side <= SMALL else 20_000
        passes = min(max(math.ceil(seen / facts.n_train), 10), 120)
        plan.settle("train.epochs", passes, f"about {passes * facts.n_train:,} images seen")
    return plan


def batch_of(task: str, side: int) -> int:
    """Images a step: fewer where each is larger, and where every pixel is a target that differs from image to image."""
    if task == "reconstruct":
        return 16 if side <= SMALL else 8
    return 64 if side <= SMALL else 16


def settle_network(plan: Plan, facts: Facts) -> None:
    """The network, and how its levels become one map."""
    side = min(facts.height, facts.width, plan.config.data.image_size or math.inf)
    if facts.task == "reconstruct" and facts.corruption == "none":
        plan.settle("model.name", "autoencoder", "it has to say an image in fewer numbers (vae: as a distribution)")
        return
    if facts.task == "reconstruct":
        plan.settle("model.name", "unet-small", "keeps a level at full size, where the detail is")
        plan.settle("model.decoder", "unet", "carries detail past the small levels")
        return
    if side <= SMALL:
        plan.settle("model.name", "unet-small", f"images of {side} px have no room for a stem that shrinks them")
        plan.settle("model.decoder", "unet", "carries detail past the small levels")
        return
    name, why = ("resnet50", "photographs, and a GPU") if facts.accelerator else ("resnet18", "photographs, on a CPU")
    plan.settle("model.name", name, why)
    plan.settle("model.decoder", "pyramid", "adds its levels up, from coarse to fine (Figure 2.10)")


def settle_view(plan: Plan, facts: Facts) -> None:
    """At which scale images are seen, and how much of them at once."""
    shorter = min(facts.height, facts.width)
    detail = facts.task == "reconstruct" and facts.corruption in DETAIL
    wanted = PART if detail else ON_GPU if facts.accelerator else ON_CPU
    size = min(shorter, wanted)
    where = f"the images are {facts.width} x {facts.height}"
    reasons = {
        True: "parts of the images teach as much as all of them",
        False: where if size == shorter else "what trains in minutes here",
    }
    plan.settle("data.image_size", size, reasons[detail])
    asked = plan.config.data.image_size or size
    whole = min(1.0, asked / shorter)
    if facts.corruption == "pairs":
        plan.settle("data.scale", 1.0, "shrunk, the pictures would differ in another way")
    elif detail:
        scale = min(1.0, LONGEST / max(facts.height, facts.width))
        why = "as they are" if scale == 1 else f"no side longer than {LONGEST} px; what has to be undone is added after"
        plan.settle("data.scale", float(f"{scale:.6g}"), why)
    elif whole < LEAST_SCALE:
        plan.settle("data.scale", LEAST_SCALE, f"{where}: shrunk to a quarter, and learnt part by part")
    else:
        plan.settle("data.scale", float(f"{whole:.6g}"), f"all of an image at once; {where}")
