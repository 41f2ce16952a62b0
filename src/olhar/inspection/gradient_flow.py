"""How much gradient reaches each layer, with and without skips and normalisation, and which units are dead.

Shapes: N batch, C channels, H W space.
"""

import copy

import torch
from torch import Tensor, nn

from olhar.data.sample import Batch
from olhar.inspection.capture import tensors_of
from olhar.inspection.instrument import see
from olhar.tasks.task import Task

NORMALISATIONS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.GroupNorm, nn.LayerNorm)


def gradient_norms(task: Task, batch: Batch) -> dict[str, float]:
    """Weight of each layer, in the order of the model -> norm of the loss's gradient over the norm of the weight.

    The share by which a step of length one in the gradient's direction would change it. The model is left as it was.
    """
    weights = {name: value for name, value in task.model.named_parameters() if value.ndim > 1}
    with torch.enable_grad():
        loss = task(batch)["loss"]
        gradients = torch.autograd.grad(loss, list(weights.values()), allow_unused=True)
    return {
        name: float(gradient.norm() / value.detach().norm().clamp_min(1e-12)) if gradient is not None else 0.0
        for (name, value), gradient in zip(weights.items(), gradients, strict=True)
    }


def fresh(task: Task, skips: bool = True, normalised: bool = True, seed: int = 0) -> Task:
    """A copy with new weights (He et al. 2015, arXiv 1502.01852), in training mode; without skips or normalisation if
    so asked. Skips are those of parts that have a switch `skip`, as residual blocks do."""
    twin = copy.deepcopy(task).train()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for module in twin.model.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif isinstance(module, NORMALISATIONS):
                module.reset_parameters()
    for module in list(twin.model.modules()):
        if not skips and isinstance(getattr(module, "skip", None), bool):
            module.skip = False  # type: ignore[assignment]
        for name, child in module.named_children() if not normalised else ():
            if isinstance(child, NORMALISATIONS):
                setattr(module, name, nn.Identity())
    return twin


def has_skips(task: Task) -> bool:
    """There is a skip that `fresh` can take away."""
    return any(getattr(module, "skip", None) is True for module in task.model.modules())


def has_normalisation(task: Task) -> bool:
    """There is a normalisation that `fresh` can take away."""
    return any(isinstance(module, NORMALISATIONS) for module in task.model.modules())


def dead_units(task: Task, batch: Batch) -> dict[str, float]:
    """ReLU, and the number of its call where it is called several times -> the share of its channels that are zero on
    every image, everywhere."""
    calls: dict[str, list[Tensor]] = {}

    def look(name: str):
        def hook(module: nn.Module, inputs: object, output: object) -> None:
            values = tensors_of(output)[-1]
            calls.setdefault(name, []).append(values.transpose(0, 1).flatten(1).amax(1) <= 0)

        return hook

    relus = [(name, module) for name, module in task.model.named_modules() if isinstance(module, nn.ReLU)]
    handles = [module.register_forward_hook(look(name)) for name, module in relus]
    try:
        with torch.inference_mode():
            see(task, batch)
    finally:
        for handle in handles:
            handle.remove()
    return {
        f"{name}, call {i}" if len(dead) > 1 else name: float(zero.float().mean())
        for name, dead in calls.items()
        for i, zero in enumerate(dead, 1)
    }
