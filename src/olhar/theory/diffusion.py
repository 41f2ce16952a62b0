"""Diffusion without a network (Figure 5.2): an image is a point, and the way into noise and back can be computed.

Where the data are M known points, what a perfectly trained denoiser says has a closed form. The library's own process
and samplers (olhar.ops) then lead from noise to those points, as they lead a trained model to images.

Shapes: M points of the data, N particles, D coordinates of a point (pixels of an image).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from olhar.ops.noise import Estimate, Process
from olhar.ops.samplers import Predict, State, make_sampler


def perfect_denoiser(data: Float[Tensor, "M D"], process: Process) -> Predict:
    """(x_t, level) -> E[x₀ | x_t], where x₀ is any of the data with equal probability, and the noise that follows.

    x_t ~ N(a x₀, b²), so p(x₀ = i | x_t) = softmax_i(-|x_t - a x_i|² / 2b²): the mean of the data weighted by how well
    each explains what is seen. In pure noise all do alike and it is their mean; near the image one has all the weight.
    It can only give back the data: that a trained network draws anything new is what it does not learn perfectly.
    """

    def predict(x: Float[Tensor, "N D"], level: int) -> Estimate:
        a, b = process.at(level)
        share = torch.softmax(-(torch.cdist(x, a * data).square()) / (2 * b**2), 1)
        return process.estimate("image", share @ data, x, torch.full((len(x),), level))

    return predict


def into_noise(
    data: Float[Tensor, "N D"], process: Process, levels: Sequence[int], generator: torch.Generator | None = None
) -> list[Float[Tensor, "N D"]]:
    """The way of each point through rising levels, the data first: q(x_t | x_s) step by step."""
    path, before = [data], -1  # CLEAN, the level of the data themselves
    for level in levels:
        scale, deviation = process.step(before, level)
        path.append(scale * path[-1] + deviation * torch.randn(data.shape, generator=generator, dtype=data.dtype))
        before = level
    return path


def out_of_noise(
    data: Float[Tensor, "M D"],
    process: Process,
    particles: int,
    steps: int = 50,
    sampler: str = "ddim",
    generator: torch.Generator | None = None,
) -> list[State]:
    """The way back of some particles, from N(0, 1) to the data: where they are after each step, the noise first."""

    def draw() -> Float[Tensor, "N D"]:
        return torch.randn(particles, data.shape[1], generator=generator, dtype=data.dtype)

    levels, start = process.levels(steps), draw()
    predict = perfect_denoiser(data, process)
    first = State(start, predict(start, levels[0]).image, levels[0])
    return [first, *make_sampler(sampler)(predict, start, process, levels, draw)]
