"""The loss around the weights of a model, in one and in two directions (Figure 2.7; Li et al. 2018, "Visualizing the
Loss Landscape of Neural Nets", arXiv 1712.09913).

The weights themselves are never touched: each point is the model called with others in their place.
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.func import functional_call

from olhar.data.sample import Batch, first_of
from olhar.tasks.task import Task

Direction = dict[str, Tensor]
FEWEST = 32  # images: with fewer the surface is one of single images


@dataclass(frozen=True)
class Surface:
    """`loss` [n, n] in nats at θ + x d1 + y d2, rows for y; `at` [n] are x and y, from -span to span.

    `images` were looked at; `path` [steps, 2] are places of other weights, laid on the plane by least squares.
    """

    at: np.ndarray
    loss: np.ndarray
    centre: float
    images: int
    path: np.ndarray


def random_direction(task: Task, seed: int) -> Direction:
    """A random step with, filter by filter, the length of the weights (Section 4 of the paper).

    What has one axis (offsets, normalisation) stays where it is, as the paper has it.
    """
    generator = torch.Generator().manual_seed(seed)
    found: Direction = {}
    for name, value in task.named_parameters():
        step = torch.randn(value.shape, generator=generator).to(value)
        if value.ndim < 2:
            step.zero_()
        else:
            norms = [t.flatten(1).norm(dim=1).view(-1, *[1] * (t.ndim - 1)) for t in (value.detach(), step)]
            step *= norms[0] / norms[1].clamp_min(1e-12)
        found[name] = step
    return found


def landscape(
    task: Task,
    batch: Batch,
    points: int = 21,
    span: float = 1.0,
    seed: int = 0,
    seconds: float = 150.0,
    path: Sequence[Mapping[str, Tensor]] = (),
) -> Surface:
    """The mean loss of a batch over a square of points x points around the weights, `points` odd.

    Args:
        span: how far along each direction, in lengths of the weights.
        seconds: where all points with all images would take longer, fewer images are looked at.
        path: weights of other moments of the training, by the task's names.
    """
    assert points % 2, "the weights themselves are the point in the middle"
    first, second = random_direction(task, seed), random_direction(task, seed + 1)
    weights = {name: value.detach() for name, value in task.named_parameters()}
    at = np.linspace(-span, span, points)
    batch = affordable(task, batch, points**2, seconds)
    loss = np.zeros((points, points))
    with torch.inference_mode():
        for i, y in enumerate(at):
            row = {name: value + float(y) * second[name] for name, value in weights.items()}
            for j, x in enumerate(at):
                moved = {name: value + float(x) * first[name] for name, value in row.items()}
                loss[i, j] = mean_loss(task, moved, batch)
        centre = mean_loss(task, weights, batch)
    places = [project(weights, one, first, second) for one in path]
    return Surface(at, loss, centre, len(batch["id"]), np.array(places).reshape(-1, 2))


def mean_loss(task: Task, weights: Mapping[str, Tensor], batch: Batch, size: int = 128) -> float:
    """The loss with other weights, `size` images at a time."""
    count, total = len(batch["id"]), 0.0
    for start in range(0, count, size):
        part: Batch = {key: value[start : start + size] for key, value in batch.items()}  # type: ignore[assignment]
        total += float(functional_call(task, dict(weights), (part,))["loss"]) * len(part["id"])
    return total / count


def affordable(task: Task, batch: Batch, evaluations: int, seconds: float) -> Batch:
    """As many of the images as can be looked at so often in the time, measured on some of them."""
    count = len(batch["id"])
    weights = dict(task.named_parameters())
    trial = first_of(batch, min(count, 128))
    with torch.inference_mode():
        mean_loss(task, weights, trial)  # the first call prepares memory
        start = time.perf_counter()
        mean_loss(task, weights, trial)
    each = (time.perf_counter() - start) / len(trial["id"])
    return first_of(batch, max(min(FEWEST, count), min(count, int(seconds / (evaluations * each)))))


def project(
    weights: Mapping[str, Tensor], other: Mapping[str, Tensor], first: Direction, second: Direction
) -> tuple[float, float]:
    """x and y of the point of the plane nearest to other weights."""

    def dot(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
        return float(sum((a[name].double() * b[name].double()).sum() for name in weights))

    away = {name: other[name].to(value) - value for name, value in weights.items()}
    gram = np.array([[dot(first, first), dot(first, second)], [dot(first, second), dot(second, second)]])
    x, y = np.linalg.solve(gram, np.array([dot(first, away), dot(second, away)]))
    return float(x), float(y)
