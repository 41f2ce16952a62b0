"""Diffusion where everything is known: points in the plane from a mixture of Gaussians, noised and brought back.

A mixture with noise is a mixture (each Gaussian is moved and widened), so that what a network would have to learn, the
image and the noise in x_t, is a formula. With it the way back leads to the mixture again, and no error but that of the
steps is left. An "image" here has two numbers, its place.

Shapes: K Gaussians, N points, M moments.
"""

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
from jaxtyping import Float, Float64, Int
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor

from olhar.inspection.figure import FULL, LIGHT, Style, bare, grid
from olhar.inspection.instrument import Instrument, Table, Values, always
from olhar.ops.noise import CLEAN, Estimate, Process, make_process
from olhar.ops.samplers import make_sampler

POINTS, STEPS, MOMENTS = 600, 100, 6
REACH = 3.0  # of a drawing, around 0: nearly all of N(0, 1)
ARROWS = 11  # on a side


@dataclass(frozen=True, eq=False)
class Mixture:
    """Round Gaussians in the plane: how often each, where, how wide."""

    weights: Float64[Tensor, " K"]
    means: Float64[Tensor, "K 2"]
    deviations: Float64[Tensor, " K"]

    @property
    def mean(self) -> Float64[Tensor, "2"]:
        return self.weights @ self.means

    @property
    def covariance(self) -> Float64[Tensor, "2 2"]:
        """Within the Gaussians and between them."""
        apart = self.means - self.mean
        within = (self.weights @ self.deviations.square()) * torch.eye(2, dtype=torch.float64)
        return within + apart.T @ (self.weights[:, None] * apart)

    def sample(self, count: int, generator: torch.Generator) -> tuple[Float64[Tensor, "N 2"], Int[Tensor, " N"]]:
        """Points, and of which Gaussian each is."""
        chosen = torch.multinomial(self.weights, count, replacement=True, generator=generator)
        noise = torch.randn(count, 2, generator=generator, dtype=torch.float64)
        return self.means[chosen] + self.deviations[chosen, None] * noise, chosen

    def noised(self, process: Process, level: int) -> "Mixture":
        """Where points of the mixture are at a level: a x₀ + b ε."""
        a, b = process.at(level)
        return Mixture(self.weights, a * self.means, ((a * self.deviations).square() + b**2).sqrt())

    def log_parts(self, x: Float64[Tensor, "N 2"]) -> Float64[Tensor, "N K"]:
        """The logarithm of the density of each Gaussian, weighted."""
        variance = self.deviations.square()
        far = (x[:, None] - self.means).square().sum(-1)
        return self.weights.log() - (2 * math.pi * variance).log() - far / (2 * variance)

    def score(self, x: Float64[Tensor, "N 2"]) -> Float64[Tensor, "N 2"]:
        """∇ log p(x): towards where the density grows, the mean of what each Gaussian says, by how likely it is."""
        share = self.log_parts(x).softmax(1)
        towards = (self.means - x[:, None]) / self.deviations.square()[:, None]
        return (share[..., None] * towards).sum(1)

    def estimate(self, process: Process, x: Float64[Tensor, "N 2"], level: int) -> Estimate:
        """E[x₀ | x_t] and E[ε | x_t], what a perfect network says: ε is -b ∇ log p(x_t) (Song et al. 2021, arXiv
        2011.13456; Tweedie's formula), and x₀ the mean of what each Gaussian says, for a may be 0."""
        a, b = process.at(level)
        noisy = self.noised(process, level)
        share = noisy.log_parts(x).softmax(1)
        gain = a * self.deviations.square() / noisy.deviations.square()
        each = self.means + gain[:, None] * (x[:, None] - noisy.means)
        return Estimate((share[..., None] * each).sum(1), -b * noisy.score(x))

    def nearest(self, x: Float64[Tensor, "N 2"]) -> Int[Tensor, " N"]:
        """Of which Gaussian each point most likely is."""
        return self.log_parts(x).argmax(1)


def ring() -> Mixture:
    """Five Gaussians around 0, one of them wider, of covariance near 1, as images have."""
    angle = 2 * math.pi * torch.arange(5, dtype=torch.float64) / 5 + math.pi / 2
    around = 1.36 * torch.stack([angle.cos(), angle.sin()], 1)
    wide = torch.tensor([0.3, 0.12, 0.12, 0.12, 0.12], dtype=torch.float64)
    return Mixture(torch.full_like(wide, 0.2), around, wide)


@dataclass(frozen=True, eq=False)
class Particles(Values):
    """The mixture; points on their way to noise, and others on their way back, at the same levels, noisiest last and
    first; of which Gaussian each came, and where each ended."""

    mixture: Mixture
    process: Process
    levels: tuple[int, ...]  # M, from CLEAN up
    forward: Float64[Tensor, "M N 2"]
    origin: Int[Tensor, " N"]
    backward: Float64[Tensor, "M N 2"]
    end: Int[Tensor, " N"]

    def table(self) -> Table:
        """Mean and covariance at every level, of the points and of the formula."""
        columns = ("way", "level", "a", "b", "mean x", "mean y", "var x", "var y", "cov", "exact var x", "exact var y")
        rows = []
        for way, levels, places in (
            ("noise", self.levels, self.forward),
            ("back", self.levels[::-1], self.backward),
        ):
            for level, x in zip(levels, places, strict=True):
                exact, found = self.mixture.noised(self.process, level).covariance, x.T.cov()
                numbers = (*self.process.at(level), *x.mean(0).tolist(), found[0, 0], found[1, 1], found[0, 1])
                numbers = (*numbers, exact[0, 0], exact[1, 1])
                rows.append((way, "clean" if level == CLEAN else level, *(round(float(n), 3) for n in numbers)))
        return Table(columns, rows)


def moments_of(process: Process, count: int = MOMENTS) -> tuple[int, ...]:
    """Levels from CLEAN to the last at which the noise b grows evenly: each looks different from the next."""
    noise = process.noise[:-1]
    wanted = torch.linspace(0, float(noise[-1]), count, dtype=torch.float64)[1:]
    return (CLEAN, *(min(int(i), len(process) - 1) for i in torch.searchsorted(noise, wanted)))


def forward(
    process: Process, x: Float64[Tensor, "N 2"], levels: tuple[int, ...], generator: torch.Generator
) -> Float64[Tensor, "M N 2"]:
    """The points at the levels, each from the one before by q(x_t | x_s): the chain, not the closed form."""
    places = [x]
    for before, after in pairwise(levels):
        scale, deviation = process.step(before, after)
        places.append(scale * places[-1] + deviation * torch.randn(x.shape, generator=generator, dtype=x.dtype))
    return torch.stack(places)


def backward(
    mixture: Mixture,
    process: Process,
    x: Float64[Tensor, "N 2"],
    levels: tuple[int, ...],
    generator: torch.Generator,
    sampler: str = "ddim",
    steps: int = STEPS,
) -> Float64[Tensor, "M N 2"]:
    """Pure noise brought back with the exact estimate: the points at `levels`, which end at CLEAN."""
    way = sorted({*process.levels(steps), *levels} - {CLEAN}, reverse=True)
    places = {way[0]: x}

    def fresh() -> Tensor:
        return torch.randn(x.shape, generator=generator, dtype=x.dtype)

    for state in make_sampler(sampler)(lambda x, level: mixture.estimate(process, x, level), x, process, way, fresh):
        places[state.level] = state.noisy
    return torch.stack([places[level] for level in levels])


def particles(
    process: Process | None = None,
    mixture: Mixture | None = None,
    count: int = POINTS,
    levels: tuple[int, ...] = (),
    sampler: str = "ddim",
    steps: int = STEPS,
    seed: int = 0,
) -> Particles:
    """Points noised by `process`, and noise brought back by the exact score, as a sampler of `olhar generate` does.

    `process` is the cosine one where none is given; `levels`: what is looked at, from CLEAN up to the last;
    without any, some between which the noise grows evenly.
    """
    process = process or make_process("cosine", zero_terminal=True)
    mixture, generator = mixture or ring(), torch.Generator().manual_seed(seed)
    levels = levels or moments_of(process)
    x, origin = mixture.sample(count, generator)
    noise = torch.randn(count, 2, generator=generator, dtype=torch.float64)
    there = forward(process, x, levels, generator)
    back = backward(mixture, process, noise, levels[::-1], generator, sampler, steps)
    return Particles(mixture, process, levels, there, origin, back, mixture.nearest(back[-1]))


def draw(values: Particles, style: Style = LIGHT) -> Figure:
    """Two rows: to noise and back, with arrows of the score on the way back. Colours are the Gaussians."""
    count = len(values.levels)
    with style.context():
        figure, axes = grid(2, count, FULL, 2 * FULL / count + 0.45)
        for i, (level, cell) in enumerate(zip(values.levels, axes[0], strict=True)):
            cloud(cell, values.forward[i], values.origin, style)
            cell.set_title(name_of(level), fontweight="normal", fontsize=7, loc="center", pad=3)
        for i, (level, cell) in enumerate(zip(values.levels[::-1], axes[1], strict=True)):
            if level != CLEAN:
                field(cell, values.mixture.noised(values.process, level), style)
            cloud(cell, values.backward[i], values.end, style)
            cell.set_title(name_of(level), fontweight="normal", fontsize=7, loc="center", pad=3)
        for cell, name in zip(axes[:, 0], ("to noise", "and back"), strict=True):
            cell.set_ylabel(name, fontsize=7)
    return figure


def name_of(level: int) -> str:
    return "clean" if level == CLEAN else f"t = {level}"


def cloud(axes: Axes, x: Float[Tensor, "N 2"], groups: Int[Tensor, " N"], style: Style) -> None:
    """Points in the colours of their groups, on a square around 0."""
    colours = [style.colour(k) for k in groups.tolist()]
    # as pixels: thousands of circles would make a page slow
    axes.scatter(x[:, 0], x[:, 1], s=2.2, c=colours, linewidths=0, alpha=0.75, zorder=2, rasterized=True)
    axes.set(xlim=(-REACH, REACH), ylim=(-REACH, REACH), aspect="equal")
    bare(axes)
    axes.set_facecolor(style.sunk)


def field(axes: Axes, mixture: Mixture, style: Style) -> None:
    """Arrows of the score, longer where it is larger, none longer than their distance."""
    side = torch.linspace(-REACH, REACH, ARROWS + 2, dtype=torch.float64)[1:-1]
    at = torch.cartesian_prod(side, side)
    towards = mixture.score(at)
    length = towards.norm(dim=1, keepdim=True)
    towards = towards / length * length.tanh() * float(side[1] - side[0]) * 0.8
    axes.quiver(
        at[:, 0], at[:, 1], towards[:, 0], towards[:, 1],
        angles="xy", scale_units="xy", scale=1, color=style.soft, width=0.006, headwidth=4, alpha=0.7, zorder=1,
    )  # fmt: skip


# Of no run: `olhar explain diffusion` shows it, and the instrument `denoising` beside images.
PARTICLES = Instrument(
    shows="points of a known mixture on their way to noise and back",
    reading="Noise makes of every cloud the same round one; arrows, the score, point to where points are denser.\n"
    "Following it leads back to the mixture: the variances of the points should be the exact ones, but for chance.",
    fits=always,
    look=lambda subject: particles(),
    draw=draw,
)
