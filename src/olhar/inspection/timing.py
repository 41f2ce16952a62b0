"""What a step of training costs, by its parts: the forward, the gradient and the update (Algorithm 1, steps 2 to 5)."""

import copy
import time
from collections.abc import Callable
from dataclasses import dataclass
from statistics import median

import torch

from olhar.data.sample import Batch
from olhar.tasks.task import Task

REPEATS = 5  # of which the median is taken: one that the machine interrupted does not count


@dataclass(frozen=True)
class StepTime:
    """Seconds of one step on `images` images: the median of several."""

    forward: float
    backward: float
    update: float
    images: int


def time_of_step(task: Task, batch: Batch, repeats: int = REPEATS) -> StepTime:
    """Measure steps of training on one batch: loss, `.backward()`, and an update by AdamW.

    A copy is trained, so that the task stays as it was.
    """
    twin = copy.deepcopy(task).train()
    optimizer = torch.optim.AdamW([p for p in twin.parameters() if p.requires_grad], lr=1e-6)
    rows: list[tuple[float, float, float]] = []
    with torch.enable_grad():
        for _ in range(1 + repeats):  # the first prepares memory
            losses: list[torch.Tensor] = []
            forward = seconds(lambda losses=losses: losses.append(twin(batch)["loss"]))
            backward = seconds(losses[0].backward)
            rows.append((forward, backward, seconds(optimizer.step)))
            optimizer.zero_grad()
    forward, backward, update = (median(column) for column in zip(*rows[1:], strict=True))
    return StepTime(forward, backward, update, len(batch["id"]))


def seconds(act: Callable[[], object]) -> float:
    """How long it takes, until an accelerator has done it too."""
    settle()
    start = time.perf_counter()
    act()
    settle()
    return time.perf_counter() - start


def settle() -> None:
    """Wait for what an accelerator still has to do."""
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()
