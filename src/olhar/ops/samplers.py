"""The way back from noise to an image (Figure 5.2): one function a method, beside its equations.

Each is given what a network thinks of x_t at some level, and where to go from there. All of them walk down a list of
levels, and end at CLEAN. They yield where they are after each step, so that a caller can show it, save it or stop.

Everything that guides the way (text, a mask, keeping colours within their range) is in `predict`.

Shapes: N batch, `...` the numbers of an image.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import pairwise
from typing import NamedTuple

from jaxtyping import Float
from torch import Tensor

from olhar.ops.noise import CLEAN, Estimate, Process

Predict = Callable[[Tensor, int], Estimate]  # (x_t, level) -> the image and the noise it is thought to be mixed from
Draw = Callable[[], Tensor]  # fresh noise from N(0, 1), like x


class State(NamedTuple):
    """Where the way back is."""

    noisy: Float[Tensor, "N ..."]  # x at `level`; at CLEAN the result
    image: Float[Tensor, "N ..."]  # what the image was last thought to be
    level: int


Sampler = Callable[[Predict, Tensor, Process, Sequence[int], Draw], Iterator[State]]


def ddpm(
    predict: Predict, x: Float[Tensor, "N ..."], process: Process, levels: Sequence[int], draw: Draw
) -> Iterator[State]:
    """Draw x_s from q(x_s | x_t, x₀), with the network's image for x₀ (Ho et al. 2020, arXiv 2006.11239, Algorithm 2).

    It takes hundreds of steps: each adds noise that the later ones have to take away.
    """
    for now, then in pairwise([*levels, CLEAN]):
        image, _ = predict(x, now)
        to = process.posterior(now, then)
        x = to.of_noisy * x + to.of_image * image
        if to.deviation:
            x = x + to.deviation * draw()
        yield State(x, image, then)


def ddim(
    predict: Predict,
    x: Float[Tensor, "N ..."],
    process: Process,
    levels: Sequence[int],
    draw: Draw,
    eta: float = 0.0,
) -> Iterator[State]:
    """Mix the network's image and noise again as the next level has them (Song et al. 2021, arXiv 2010.02502, Eq 12).

    eta: how much of the noise is fresh. With 0 the way is a function of where it began; with 1 it is as random as
        `ddpm`, and the same as it.
    """
    for now, then in pairwise([*levels, CLEAN]):
        image, noise = predict(x, now)
        a, b = process.at(then)
        fresh = eta * process.posterior(now, then).deviation if eta else 0.0
        x = a * image + math.sqrt(b**2 - fresh**2) * noise
        if fresh:
            x = x + fresh * draw()
        yield State(x, image, then)


def euler(
    predict: Predict, x: Float[Tensor, "N ..."], process: Process, levels: Sequence[int], draw: Draw
) -> Iterator[State]:
    """Follow the slope of the way, a straight line a step.

    With the time σ of a diffusion (`Process.straightened`) a step is one of `ddim` with eta 0, in other letters.
    """
    for now, then in pairwise([*levels, CLEAN]):
        estimate = predict(x, now)
        x = _line(process, x, estimate, process.slope(estimate), now, then)
        yield State(x, estimate.image, then)


def heun(
    predict: Predict, x: Float[Tensor, "N ..."], process: Process, levels: Sequence[int], draw: Draw
) -> Iterator[State]:
    """Follow the mean of the slopes at both ends of a step (Karras et al. 2022, arXiv 2206.00364, Algorithm 1).

    A step asks the network twice, but the last, which is Euler's: a slope at CLEAN means nothing. Neither does one at
    pure noise of a diffusion, where σ is infinite.
    """
    for now, then in pairwise([*levels, CLEAN]):
        estimate = predict(x, now)
        slope = process.slope(estimate)
        ahead = _line(process, x, estimate, slope, now, then)
        if then != CLEAN and process.straightened(now)[0]:
            slope = (slope + process.slope(predict(ahead, then))) / 2
            ahead = _line(process, x, estimate, slope, now, then)
        x = ahead
        yield State(x, estimate.image, then)


def dpm2m(
    predict: Predict,
    x: Float[Tensor, "N ..."],
    process: Process,
    levels: Sequence[int],
    draw: Draw,
    eta: float = 0.0,
) -> Iterator[State]:
    """DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095, Algorithm 2 and section 5): what the network thought one step
    before says how its image changes along the way, for nothing.

    Time is λ = log(a / b); a step of h in it multiplies noise by e^-h, which is (a / b) / (a' / b').

    eta: how much of the noise is replaced by fresh noise. With 1 the way is that of an SDE, as `ddpm`'s, in few steps:
        what the network got wrong is forgotten and made good later on.
    """
    before: tuple[Tensor, float] | None = None  # the last image, and the last h
    for now, then in pairwise([*levels, CLEAN]):
        image, _ = predict(x, now)
        (a, b), (a_next, b_next) = process.at(now), process.at(then)
        shrink = a * b_next / (b * a_next)  # e^-h: 0 at CLEAN, and from pure noise
        h = -math.log(shrink) if shrink else math.inf
        towards = image
        if before is not None and then != CLEAN:
            last, last_h = before
            towards = image + h / (2 * last_h) * (image - last)  # last_h is infinite after pure noise: no change known
        x = b_next / b * shrink**eta * x + a_next * (1 - shrink ** (1 + eta)) * towards
        if fresh := b_next * math.sqrt(1 - shrink ** (2 * eta)):
            x = x + fresh * draw()
        before = image, h
        yield State(x, image, then)


def _line(process: Process, x: Tensor, estimate: Estimate, slope: Tensor, now: int, then: int) -> Tensor:
    """x at the level `then`, in a straight line of that slope."""
    (scale, time), (scale_then, time_then) = process.straightened(now), process.straightened(then)
    if not scale:  # of pure noise x / scale does not exist; this is what the line comes to
        a, b = process.at(then)
        return a * estimate.image + b * estimate.noise
    return scale_then * (x / scale + (time_then - time) * slope)


# Steps each needs for a good image: what papers and practice give them, halved where a step asks twice.
STEPS = {"dpm2m": 20, "dpm2m-sde": 20, "ddim": 50, "euler": 50, "heun": 15, "ddpm": 250}
SAMPLERS: dict[str, Sampler] = {
    "dpm2m": dpm2m,
    "dpm2m-sde": partial(dpm2m, eta=1.0),
    "ddim": ddim,
    "euler": euler,
    "heun": heun,
    "ddpm": ddpm,
}


def make_sampler(name: str, eta: float = 0.0) -> Sampler:
    """A sampler by name; `eta` is for "ddim"."""
    return partial(ddim, eta=eta) if name == "ddim" else SAMPLERS[name]
