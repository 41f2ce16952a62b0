"""What a ReLU network can draw (section 1.4.1, Figures 1.7-1.9): its linear regions, counted exactly.

Between two places where a unit switches on or off the network is a straight line, or a plane. The regions are found by
following those places through the layers: within a region every unit of the next layer is linear, so that where it
switches is a point of an interval or a line through a polygon. Nothing is sampled.

Shapes: m n numbers that enter and leave a layer, P corners of a polygon.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
from jaxtyping import Float
from torch import nn

from olhar.errors import UserError
from olhar.inspection.curves import Turning, turning_point

# Two slopes, two places and a sliver of a polygon are nothing where they differ by less, in parts of what they measure.
CLOSE = 1e-9


@dataclass(frozen=True, eq=False)
class Affine:
    """W a + b."""

    weight: Float[np.ndarray, "n m"]
    bias: Float[np.ndarray, " n"]

    def after(self, inner: "Affine") -> "Affine":
        """This one of what `inner` gives: one affine function."""
        return Affine(self.weight @ inner.weight, self.weight @ inner.bias + self.bias)

    def __call__(self, x: Float[np.ndarray, "... m"]) -> Float[np.ndarray, "... n"]:
        return x @ self.weight.T + self.bias


@dataclass(frozen=True, eq=False)
class Network:
    """Affine layers with a ReLU between each two, none after the last."""

    layers: tuple[Affine, ...]

    @property
    def inputs(self) -> int:
        return self.layers[0].weight.shape[1]

    def __call__(self, x: Float[np.ndarray, "... m"]) -> Float[np.ndarray, "... n"]:
        for layer in self.layers[:-1]:
            x = np.maximum(layer(x), 0)
        return self.layers[-1](x)

    def then(self, second: "Network") -> "Network":
        """The composition: a network as deep as both (Figure 1.7).

        The output of the first is linear and so is what enters the second: together one layer.
        """
        return Network((*self.layers[:-1], second.layers[0].after(self.layers[-1]), *second.layers[1:]))

    @classmethod
    def of(cls, model: nn.Sequential) -> "Network":
        """From a torch model of linear layers and ReLUs.

        Raises:
            UserError: it has another kind of layer.
        """
        layers: list[Affine] = []
        switched = True
        for module in model:
            if isinstance(module, nn.Linear):
                weight = module.weight.detach().double().cpu().numpy()
                bias = np.zeros(len(weight)) if module.bias is None else module.bias.detach().double().cpu().numpy()
                made = Affine(weight, bias)
                layers = [*layers, made] if switched else [*layers[:-1], made.after(layers[-1])]
                switched = False
            elif isinstance(module, nn.ReLU) and layers:
                switched = True
            else:
                kind = type(module).__name__
                raise UserError(f"Regions are counted in networks of Linear and ReLU layers: this one has {kind}.")
        if switched:
            raise UserError("The network must end in a Linear layer: add one after its last ReLU.")
        return cls(tuple(layers))

    @classmethod
    def through(cls, x: Sequence[float], y: Sequence[float]) -> "Network":
        """The network of one hidden layer whose graph joins the points (x, y); flat before the first.

        One unit a joint: each adds what the slope changes by (Figure 1.7).
        """
        slopes = np.diff(y) / np.diff(x)
        changes = np.diff(slopes, prepend=0)
        hidden = Affine(np.ones((len(changes), 1)), -np.array(x[:-1], dtype=float))
        return cls((hidden, Affine(changes[None], np.array([y[0]], dtype=float))))


def most_regions(units: int, inputs: int) -> int:
    """The most regions of one layer: Σ C(D, k) for k to the number of inputs (Zaslavsky 1975); D + 1 on a line."""
    return sum(math.comb(units, k) for k in range(inputs + 1))


@dataclass(frozen=True)
class Piece:
    """A straight piece of a function of one number: from `low` to `high`, with its slope."""

    low: float
    high: float
    slope: float


def pieces(network: Network, low: float = -math.inf, high: float = math.inf) -> list[Piece]:
    """The straight pieces of a network of one input and one output within [low, high], neighbours of one slope joined.

    Raises:
        UserError: it has more inputs or outputs.
    """
    if network.inputs != 1 or len(network.layers[-1].weight) != 1:
        raise UserError(f"Pieces of a line need one input and one output: this network has {network.inputs} inputs.")
    intervals = [(low, high, Affine(np.ones((1, 1)), np.zeros(1)))]
    for layer in network.layers[:-1]:
        intervals = [part for interval in intervals for part in split_interval(*interval, layer)]
    found: list[Piece] = []
    for start, end, inner in intervals:
        slope = network.layers[-1].after(inner).weight.item()
        if found and math.isclose(found[-1].slope, slope, rel_tol=CLOSE, abs_tol=CLOSE):
            found[-1] = Piece(found[-1].low, end, found[-1].slope)
        else:
            found.append(Piece(start, end, slope))
    return found


def split_interval(low: float, high: float, inner: Affine, layer: Affine) -> list[tuple[float, float, Affine]]:
    """An interval cut where units of the layer switch, each part with what leaves the ReLU there."""
    before = layer.after(inner)
    slopes, offsets = before.weight[:, 0], before.bias
    zeros = sorted(float(-b / a) for a, b in zip(slopes, offsets, strict=True) if abs(a) > CLOSE)
    cuts = [low]
    for zero in zeros:
        near = CLOSE * max(1.0, abs(zero))
        if cuts[-1] + near < zero < high - near:
            cuts.append(zero)
    return [(start, end, switched(before, np.array([middle(start, end)]))) for start, end in pairwise([*cuts, high])]


def middle(low: float, high: float) -> float:
    """A place between, where either may be infinite."""
    if math.isinf(low) and math.isinf(high):
        return 0.0
    if math.isinf(low):
        return high - 1
    return low + 1 if math.isinf(high) else (low + high) / 2


def switched(before: Affine, place: Float[np.ndarray, " m"]) -> Affine:
    """What a ReLU makes of an affine function around a place where none of its units switches."""
    on = before(place) > 0
    return Affine(before.weight * on[:, None], before.bias * on)


@dataclass(frozen=True, eq=False)
class Region:
    """A convex polygon in which every unit stays on or off, and the network's affine function there."""

    corners: Float[np.ndarray, "P 2"]
    function: Affine
    pattern: tuple[bool, ...]

    @property
    def centre(self) -> Float[np.ndarray, "2"]:
        return self.corners.mean(0)


def regions(network: Network, low: float = -1.0, high: float = 1.0) -> list[Region]:
    """The regions of a network of two inputs inside the square [low, high]², by which units are on (Figure 1.8).

    Raises:
        UserError: it has another number of inputs.
    """
    if network.inputs != 2:
        raise UserError(f"A map of regions needs two inputs: this network has {network.inputs}.")
    square = np.array([[low, low], [high, low], [high, high], [low, high]], dtype=float)
    found = [Region(square, Affine(np.eye(2), np.zeros(2)), ())]
    for layer in network.layers[:-1]:
        found = [part for region in found for part in split_region(region, layer, high - low)]
    last = network.layers[-1]
    return [Region(region.corners, last.after(region.function), region.pattern) for region in found]


def split_region(region: Region, layer: Affine, side: float) -> list[Region]:
    """A region cut by the lines on which units of the layer switch."""
    before = layer.after(region.function)
    parts = [region.corners]
    for normal, offset in zip(before.weight, before.bias, strict=True):
        size = np.linalg.norm(normal)
        if size > CLOSE:
            parts = [half for part in parts for half in cut(part, normal / size, offset / size, CLOSE * side)]
    made = []
    for part in parts:
        on = tuple(bool(value > 0) for value in before(part.mean(0)))
        made.append(Region(part, switched(before, part.mean(0)), region.pattern + on))
    return made


def cut(
    corners: Float[np.ndarray, "P 2"], normal: Float[np.ndarray, "2"], offset: float, near: float
) -> list[Float[np.ndarray, "_ 2"]]:
    """A convex polygon on either side of the line normal·x + offset = 0; itself, where it lies on one side."""
    height = corners @ normal + offset
    if (height > -near).all() or (height < near).all():
        return [corners]
    sides: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    following = zip(corners, height, np.roll(corners, -1, 0), np.roll(height, -1), strict=True)
    for a, h, b, g in following:
        if h > -near:
            sides[0].append(a)
        if h < near:
            sides[1].append(a)
        if (h > near and g < -near) or (h < -near and g > near):
            crossing = a + (b - a) * h / (h - g)
            sides[0].append(crossing)
            sides[1].append(crossing)
    return [np.array(side) for side in sides]


@dataclass(frozen=True)
class Overfitting:
    """The two curves of a run by epoch (Figure 1.9), and where validation turned upward; None where it did not."""

    train: tuple[tuple[float, float], ...]
    validation: tuple[tuple[float, float], ...]
    turning: Turning | None


def overfitting(metrics: Path) -> Overfitting:
    """Read a run's `metrics.jsonl` and look for the epoch from which the validation loss rises for good.

    Raises:
        UserError: the file is not there, or holds no losses.
    """
    try:
        lines = [json.loads(line) for line in metrics.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, ValueError) as broken:
        raise UserError(f"{metrics} cannot be read as the log of a run: name RUN/metrics.jsonl.") from broken

    def curve(kind: str) -> tuple[tuple[float, float], ...]:
        return tuple((line["epoch"], line["loss"]) for line in lines if line.get("kind") == kind and "loss" in line)

    train, validation = curve("train"), curve("val")
    if not validation:
        raise UserError(f"{metrics} has no validation loss: train with a validation split.")
    epochs, losses = zip(*validation, strict=True)
    return Overfitting(train, validation, turning_point(epochs, losses))
