"""L2 regularisation and weight decay (section 1.3, Eq 1.60-1.63), and what torch's optimisers make of them.

The notes add λ Σ w² to the loss, whose gradient is 2 λ w. torch's SGD adds `weight_decay` times w: to do what Eq 1.63
says it must be given 2 λ. Adam divides that term, like every gradient, by the size of past gradients; AdamW takes
lr * weight_decay * w away beside the step, whatever the gradient was.
"""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

OPTIMISERS: Mapping[str, Callable[..., torch.optim.Optimizer]] = {
    "sgd": torch.optim.SGD,
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
}


def penalised(loss: Tensor, weights: Tensor, decay: float) -> Tensor:
    """L = E + λ Σ w² (Eq 1.60)."""
    return loss + decay * weights.square().sum()


def penalised_gradient(gradient: Tensor, weights: Tensor, decay: float) -> Tensor:
    """∇L = ∇E + 2 λ w (Eq 1.61)."""
    return gradient + 2 * decay * weights


def step(weights: Tensor, gradient: Tensor, lr: float, decay: float) -> Tensor:
    """w' = w - lr ∇E - 2 lr λ w (Eq 1.63): the loss itself needs no penalty."""
    return weights - lr * gradient - 2 * lr * decay * weights


def weight_decay_for(decay: float) -> float:
    """torch's `weight_decay` that does with SGD what λ does in Eq 1.60: 2 λ."""
    return 2 * decay


def weight_decay_for_mean(share: float, parameters: int) -> float:
    """The same where the penalty is α times the mean of w² and not their sum: 2 α / parameters."""
    return 2 * share / parameters


def torch_step(name: str, weights: Tensor, gradient: Tensor, lr: float, weight_decay: float, steps: int = 1) -> Tensor:
    """The weights after `steps` steps of torch's optimiser, "sgd", "adam" or "adamw", all with the same gradient."""
    place = weights.clone().requires_grad_()
    optimiser = OPTIMISERS[name]([place], lr=lr, weight_decay=weight_decay)
    for _ in range(steps):
        place.grad = gradient.clone()
        optimiser.step()
    return place.detach()


def compare(weight: float, gradient: float, lr: float, decay: float) -> dict[str, float]:
    """One weight after one step, under everything that is called weight decay with the same number λ."""
    w, g = torch.tensor([weight], dtype=torch.float64), torch.tensor([gradient], dtype=torch.float64)
    found = {"Eq 1.63": step(w, g, lr, decay)}
    found["SGD, weight_decay = 2 λ"] = torch_step("sgd", w, g, lr, weight_decay_for(decay))
    for name, shown in (("sgd", "SGD"), ("adam", "Adam"), ("adamw", "AdamW")):
        found[f"{shown}, weight_decay = λ"] = torch_step(name, w, g, lr, decay)
    return {name: value.item() for name, value in found.items()}
