"""The loss around the weights of a model, in two directions (Figure 2.7; Li et al. 2018, "Visualizing the Loss
Landscape of Neural Nets", arXiv 1712.09913).

The weights themselves are never touched: each point is the model called with others in their place.

Shapes: P numbers in all weights.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call

from olhar.data.sample import Batch, first_of
from olhar.tasks.task import Task

Direction = dict[str, Tensor]
FEWEST = 32  # images: with fewer the surface is one of single images
MARGIN = 0.2  # of a path's extent, beyond its ends


@dataclass(frozen=True)
class Plane:
    """Two directions from the weights, each as long as these, by the task's names; `x` and `y`, the points along them.

    `path` [steps, 2] are places of other moments of the training; `share` of their distance lies along each direction.
    """

    first: Direction
    second: Direction
    x: np.ndarray
    y: np.ndarray
    path: np.ndarray
    share: tuple[float, float] | None = None


@dataclass(frozen=True)
class Surface:
    """`loss` [len(y), len(x)] in nats at θ + x d1 + y d2, for the directions of `plane`; `images` were looked at."""

    plane: Plane
    loss: np.ndarray
    centre: float
    images: int


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


def random_plane(task: Task, points: int, span: float = 1.0, seed: int = 0) -> Plane:
    """A square of points x points around the weights, `points` odd, in two random directions."""
    assert points % 2, "the weights themselves are the point in the middle"
    at = np.linspace(-span, span, points)
    return Plane(random_direction(task, seed), random_direction(task, seed + 1), at, at, np.empty((0, 2)))


def path_plane(task: Task, path: Sequence[Mapping[str, Tensor]], points: int) -> Plane:
    """The plane through the weights in which the way to them lies best: the principal components of what is left to go
    at each step of `path`, the weights of earlier moments by the task's names, two or more (Section 7.2 of the paper).

    Random directions would show nothing of it: in so many dimensions they are orthogonal to any path.
    """
    weights = {name: value.detach() for name, value in task.named_parameters()}
    away = torch.stack([flat({name: step[name].to(value) - value for name, value in weights.items()}) for step in path])
    gram = (away @ away.T).double()
    values, vectors = torch.linalg.eigh(gram)  # rising
    lengths = values[[-1, -2]].clamp_min(0).sqrt()
    unit = (vectors[:, [-1, -2]] / lengths.clamp_min(1e-12)).T.to(away) @ away  # [2, P]
    size = flat(weights).norm()
    places = (vectors[:, [-1, -2]] * lengths / size).cpu().numpy()
    first, second = (views(step, weights) for step in unit * size)
    share = tuple((values[[-1, -2]] / values.sum().clamp_min(1e-12)).tolist())
    x, y = (np.linspace(*around(column), points) for column in places.T)
    return Plane(first, second, x, y, places, share)


def around(places: Float[np.ndarray, " n"]) -> tuple[float, float]:
    """From where to where a path and the weights, at 0, are seen."""
    low, high = min(places.min(), 0.0), max(places.max(), 0.0)
    margin = MARGIN * max(high - low, 1e-3)
    return low - margin, high + margin


def landscape(
    task: Task, batch: Batch, plane: Plane, seconds: float = 150.0, tell: Callable[[float], None] = lambda share: None
) -> Surface:
    """The mean loss of a batch over a plane around the weights.

    Args:
        seconds: where all points with all images would take longer, fewer images are looked at.
        tell: is told the share of the points that is done.
    """
    weights = {name: value.detach() for name, value in task.named_parameters()}
    start, first, second = (flat(one) for one in (weights, plane.first, plane.second))
    batch = affordable(task, batch, plane.x.size * plane.y.size, seconds)
    loss, moved = np.zeros((len(plane.y), len(plane.x))), torch.empty_like(start)
    named = views(moved, weights)  # of one memory, that every point is written to
    with torch.inference_mode():
        for i, y in enumerate(plane.y):
            row = torch.add(start, second, alpha=float(y))
            for j, x in enumerate(plane.x):
                torch.add(row, first, alpha=float(x), out=moved)
                loss[i, j] = mean_loss(task, named, batch)
                tell((i * len(plane.x) + j + 1) / loss.size)
        centre = mean_loss(task, weights, batch)
    return Surface(plane, loss, centre, len(batch["id"]))


def flat(tensors: Mapping[str, Tensor]) -> Float[Tensor, " P"]:
    """All of them as one vector."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors.values()])


def views(vector: Float[Tensor, " P"], like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The inverse of `flat`: parts of one vector, in the shapes of others and by their names."""
    parts = vector.split([tensor.numel() for tensor in like.values()])
    return {name: part.view(tensor.shape) for part, (name, tensor) in zip(parts, like.items(), strict=True)}


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
