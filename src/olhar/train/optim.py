"""Step 5 of Algorithm 1: which parameters move, how far, and the average of where they have been."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from olhar.train.muon import Muon
from olhar.train.position import Position


def parameter_groups(task: nn.Module, weight_decay: float) -> list[dict]:
    """Two groups: weights decay (Eq 1.63), biases and the scales and shifts of norms do not.

    A bias or a norm's scale does not make a function more wiggly, and decaying it only costs accuracy
    (He et al., Bag of Tricks, arXiv 1812.01187). They are the parameters with fewer than two dimensions.
    """
    trainable = [p for p in task.parameters() if p.requires_grad]
    return [
        {"params": [p for p in trainable if p.ndim >= 2], "weight_decay": weight_decay},
        {"params": [p for p in trainable if p.ndim < 2], "weight_decay": 0.0},
    ]


def make_optimizer(
    task: nn.Module, name: str, lr: float, weight_decay: float, momentum: float
) -> torch.optim.Optimizer:
    """SGD with Nesterov's momentum, AdamW, or Muon (see muon.py).

    `weight_decay` is PyTorch's: with SGD it is 2λ of Eq 1.60; with AdamW it is decoupled from the gradient. SGD and
    AdamW are fused: one pass over the parameters a step.
    """
    if name == "muon":
        return Muon(muon_groups(task, weight_decay), lr=lr, momentum=momentum)
    groups = parameter_groups(task, weight_decay)
    fused = all(p.device.type in ("cpu", "cuda") for p in task.parameters())
    if name == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=momentum, nesterov=momentum > 0, fused=fused)
    assert name == "adamw", name
    return torch.optim.AdamW(groups, lr=lr, betas=(0.9, 0.99), fused=fused)


def muon_groups(task: nn.Module, weight_decay: float) -> list[dict]:
    """Orthogonal steps for the weights between the first layer and the last; SGD for those two, biases and norms.

    The first layer sees pixels and the last gives scores: their scales mean something, and are left to the gradient.
    A model that names its `ends` has AdamW for all that is no matrix between them, words and places among it: what is
    looked up is no matrix that something is multiplied by.
    """
    ends = getattr(getattr(task, "model", None), "ends", None)
    if ends is not None:
        inside = {m.weight for m in task.modules() if isinstance(m, nn.Linear | nn.Conv2d) and m not in ends}
        weights, rest = parameter_groups(task, weight_decay)
        hidden = [p for p in weights["params"] if p in inside]
        outer = {"params": [p for p in weights["params"] if p not in inside], "weight_decay": weight_decay}
        inner = {"params": hidden, "weight_decay": 0.1, "momentum": 0.95, "orthogonal": True}
        return [inner, outer | {"adaptive": True}, rest | {"adaptive": True}]
    weights, rest = parameter_groups(task, weight_decay)
    first, *hidden, last = weights["params"] if len(weights["params"]) > 1 else [*weights["params"], None]
    # momentum 0.6 and decay 0.1: Jordan's for networks of this kind; a decoupled decay is scaled by the rate
    inner = {"params": hidden, "weight_decay": 0.1, "momentum": 0.6, "orthogonal": True}
    outer = {"params": [p for p in (first, last) if p is not None], "weight_decay": weight_decay}
    return [group for group in (inner, outer, rest) if group["params"]]


@dataclass(frozen=True)
class Schedule:
    """The learning rate as a function of progress, the share of the training that is done, in [0, 1].

    A pure function of progress has no state to save, and serves runs counted in epochs and in minutes alike.
    """

    shape: str  # "cosine", "linear", "polynomial", "constant"
    peak: float
    warmup: float = 0.1  # share of the training
    power: float = 2.0  # of the polynomial

    def __call__(self, progress: float) -> float:
        progress = min(max(progress, 0.0), 1.0)
        if progress < self.warmup:
            return self.peak * max(progress, 1e-3 * self.warmup) / self.warmup
        left = (1.0 - progress) / max(1.0 - self.warmup, 1e-9)  # 1 after warm-up, 0 at the end
        factor = {
            "cosine": 0.5 * (1.0 - math.cos(math.pi * left)),
            "linear": left,
            "polynomial": left**self.power,
            "constant": 1.0,
        }[self.shape]
        return self.peak * factor

    def apply(self, optimizer: torch.optim.Optimizer, progress: float) -> float:
        """Set the rate of every group; returns it."""
        lr = self(progress)
        for group in optimizer.param_groups:
            group["lr"] = lr
        return lr


@dataclass(frozen=True, kw_only=True)
class Length:
    """How long to train: a number of steps, until a time has passed, or whichever of the two ends first."""

    steps: int | None = None  # optimizer steps
    seconds: float | None = None  # of training, over all sessions

    def progress(self, position: Position) -> float:
        """The share that is done, from 0 to 1."""
        shares = (position.step / (self.steps or math.inf), position.seconds / (self.seconds or math.inf))
        return min(1.0, max(shares))


class Ema:
    """An exponential moving average of the weights: smoother than the last step, often better, never trained.

    average <- decay * average + (1 - decay) * weights, after each step. Early on the decay is smaller,
    (1 + t) / (10 + t), so that the average forgets the random start. Buffers that count (integers) are copied.
    """

    def __init__(self, task: nn.Module, decay: float):
        self.decay = decay
        self.steps = 0
        self.live = list(_state(task))
        self.average = [tensor.detach().clone() for tensor in self.live]

    @torch.no_grad()
    def update(self) -> None:
        self.steps += 1
        decay = min(self.decay, (1 + self.steps) / (10 + self.steps))
        real = [(a, t) for a, t in zip(self.average, self.live, strict=True) if t.is_floating_point()]
        torch._foreach_lerp_([a for a, _ in real], [t for _, t in real], 1.0 - decay)  # pyright: ignore[reportPrivateImportUsage]
        for average, live in zip(self.average, self.live, strict=True):
            if not live.is_floating_point():
                average.copy_(live)

    @torch.no_grad()
    def swap(self) -> None:
        """Exchange the averaged and the trained weights; a second call puts them back."""
        for average, live in zip(self.average, self.live, strict=True):
            held = live.clone()
            live.copy_(average)
            average.copy_(held)

    def tensors(self) -> dict[str, Tensor]:
        return {str(i): tensor for i, tensor in enumerate(self.average)}

    @torch.no_grad()
    def restore(self, tensors: dict[str, Tensor], steps: int) -> None:
        self.steps = steps
        for i, average in enumerate(self.average):
            average.copy_(tensors[str(i)])


def _state(task: nn.Module) -> Iterator[Tensor]:
    """Everything of a task that training changes: trainable parameters, and buffers such as running means."""
    yield from (p for p in task.parameters() if p.requires_grad)
    yield from task.buffers()
