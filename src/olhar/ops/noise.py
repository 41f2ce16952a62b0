"""The way from an image to pure noise (Figures 5.1, 5.2), and what a network may be asked on the way back.

At level t an image x₀ is seen as x_t = a_t x₀ + b_t ε with ε ~ N(0, 1): a_t is what is left of the image, b_t how much
noise there is. Level 0 is nearly the image, level T - 1 nearly or wholly noise, and CLEAN, below all of them, the image
itself. Diffusion (Ho et al. 2020, arXiv 2006.11239) keeps a² + b² = 1, so that what has variance 1 keeps it; flow
matching (Lipman et al. 2023, arXiv 2210.02747; Liu et al. 2023, arXiv 2209.03003) goes straight, a + b = 1.

Images are expected to have mean 0 and variance 1, or at least to lie in [-1, 1]: left in [0, 255], at the last level
of the linear schedule the mean would still be up to 1.62, and not the N(0, 1) that generation starts from.

Shapes: N batch, T levels, S = T + 1 entries of a table, `...` the numbers of an image.
"""

import math
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

Kind = Literal["noise", "image", "velocity"]  # what a network is asked for; each can be had from each other
Schedule = Literal["linear", "scaled-linear", "cosine", "shifted-cosine", "flow"]
Spacing = Literal["trailing", "leading", "linspace"]  # which levels a way back of few steps visits; diffusers' names
Weighting = Literal["uniform", "min-snr"]
Drawing = Literal["uniform", "logit-normal"]  # how levels are drawn in training
SCHEDULES = get_args(Schedule)

CLEAN = -1  # the level of an image without noise: the last entry of a process's tables
MOST_BETA = 0.999  # of the cosine schedule, whose last step would otherwise divide by 0 (arXiv 2102.09672)
SHIFT = 3.0  # how much less is left of the image at a level of "shifted-cosine", as a share of the noise
# Of the logit of a level, as a share of all, in training where it is drawn from a normal distribution. By the cosine
# schedule nine levels in ten then have a signal-to-noise ratio of 1/30 to 3: the outlines of things appear there.
CENTRE, SPREAD = 0.6, 0.8
GAMMA = 5.0  # the signal-to-noise ratio beyond which images count no more (arXiv 2303.09556, section 3.4)


class Estimate(NamedTuple):
    """What a network thinks of x_t: the image and the noise that it was mixed from."""

    image: Float[Tensor, "N ..."]
    noise: Float[Tensor, "N ..."]


class Posterior(NamedTuple):
    """q(x_s | x_t, x₀) = N(of_noisy x_t + of_image x₀, deviation²)."""

    of_noisy: float
    of_image: float
    deviation: float


@dataclass(frozen=True, eq=False)
class Process:
    """The tables of a and b, the last entry CLEAN's.

    straight: a + b = 1, flow matching; otherwise a² + b² = 1.
    spacing, offset: of the levels of a way back; see `levels`.
    """

    signal: Float64[Tensor, " S"]
    noise: Float64[Tensor, " S"]
    straight: bool = False
    spacing: Spacing = "trailing"
    offset: int = 0

    def __len__(self) -> int:
        """T, the number of levels."""
        return len(self.signal) - 1

    def at(self, level: int) -> tuple[float, float]:
        """a and b of one level."""
        return float(self.signal[level]), float(self.noise[level])

    def snr(self, level: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        """The signal-to-noise ratio a² / b²."""
        return (looked_up(self.signal, level) / looked_up(self.noise, level)).square()

    def mix(
        self, image: Float[Tensor, "N ..."], noise: Float[Tensor, "N ..."], level: Int[Tensor, " N"]
    ) -> Float[Tensor, "N ..."]:
        """x_t ~ q(x_t | x₀) at once, not step by step (Ho et al., Eq 4)."""
        a, b = self._columns(level, image)
        return a * image + b * noise

    def target(
        self, kind: Kind, image: Float[Tensor, "N ..."], noise: Float[Tensor, "N ..."], level: Int[Tensor, " N"]
    ) -> Float[Tensor, "N ..."]:
        """What a perfect network of this kind would say.

        The velocity is dx/dφ along the circle a = cos φ, b = sin φ: a ε - b x₀ (Salimans and Ho 2022, arXiv
        2202.00512); along the straight path it is dx/db = ε - x₀.
        """
        if kind == "velocity":
            a, b = (1.0, 1.0) if self.straight else self._columns(level, image)
            return a * noise - b * image
        return noise if kind == "noise" else image

    def estimate(
        self, kind: Kind, said: Float[Tensor, "N ..."], noisy: Float[Tensor, "N ..."], level: Int[Tensor, " N"]
    ) -> Estimate:
        """Image and noise from whatever a network said of x_t: the inverse of `target`.

        Where no image is left (a = 0) noise tells nothing of it, and where nothing else is left (b = 0) the image
        tells nothing of the noise; velocity tells both everywhere.
        """
        a, b = self._columns(level, noisy)
        if kind == "velocity":
            # (x, v) is (x₀, ε) turned by a matrix of determinant a² + b², or a + b: 1 in either case
            image = (noisy if self.straight else a * noisy) - b * said
            return Estimate(image, (noisy if self.straight else b * noisy) + a * said)
        if kind == "noise":
            return Estimate((noisy - b * said) / a, said)
        return Estimate(said, (noisy - a * said) / b)

    def step(self, before: int, after: int) -> tuple[float, float]:
        """q(x_t | x_s) of a noisier level t, `after`, is N(scale x_s, deviation²): (scale, deviation)."""
        (a_s, b_s), (a_t, b_t) = self.at(before), self.at(after)
        return a_t / a_s, math.sqrt(max(b_t**2 - (a_t / a_s * b_s) ** 2, 0.0))

    def posterior(self, now: int, then: int) -> Posterior:
        """Where x_s, of the less noisy level `then`, was, given where x_t is and x₀ (Ho et al., Eq 7)."""
        (a_s, b_s), b_t = self.at(then), self.at(now)[1]
        scale, deviation = self.step(then, now)
        return Posterior(scale * b_s**2 / b_t**2, a_s * deviation**2 / b_t**2, b_s * deviation / b_t)

    def straightened(self, level: int) -> tuple[float, float]:
        """(scale, time) in which the way back has the slope `slope`: d(x / scale) / d(time).

        Of a diffusion x / a = x₀ + σ ε, with time σ = b / a and slope ε (Song et al. 2021, arXiv 2010.02502, Eq 14;
        Karras et al. 2022, arXiv 2206.00364). A flow is straight as it is.
        """
        a, b = self.at(level)
        if self.straight:
            return 1.0, b
        return a, b / a if a else math.inf

    def slope(self, estimate: Estimate) -> Float[Tensor, "N ..."]:
        """See `straightened`."""
        return estimate.noise - estimate.image if self.straight else estimate.noise

    def weights(self, weighting: Weighting, kind: Kind, level: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
        """How much the squared error of each example counts.

        "uniform": 1, which for the noise is the simplified objective of Ho et al. (Eq 14). "min-snr": what amounts to
        min(SNR, γ) for the error of the image (Hang et al. 2023, arXiv 2303.09556). Neither is a likelihood.
        """
        if weighting == "uniform":
            return torch.ones(len(level), device=level.device)
        snr = self.snr(level)
        of_image = snr.clamp(max=GAMMA)
        # an error e of the image is one of e a / b of the noise, and of e / b of either velocity
        per_image = {
            "image": 1.0,
            "noise": 1 / snr.clamp(min=1e-12),
            "velocity": looked_up(self.noise, level) ** 2,
        }
        return (of_image * per_image[kind]).float()

    def draw(self, drawing: Drawing, count: int, device: torch.device | None = None) -> Int[Tensor, " N"]:
        """As many levels at random, to train with: all equally likely, or those in the middle more often (Esser et al.
        2024, arXiv 2403.03206, section 3.1), at which most is decided of what a picture shows. Errors then count by how
        often their level is drawn."""
        if drawing == "logit-normal":
            share = torch.sigmoid(CENTRE + SPREAD * torch.randn(count, device=device))
            return (share * len(self)).long().clamp(max=len(self) - 1)
        return torch.randint(len(self), (count,), device=device)

    def levels(self, steps: int, strength: float = 1.0) -> list[int]:
        """`steps` levels, evenly and downwards; of them, where the way begins at an image with noise, the lower share
        `strength`, at least one.

        "trailing" ones begin with the noisiest, so that what generation starts from is what training called noise
        (Lin et al. 2024, arXiv 2305.08891, section 3.3). Others are for models that are published with them: "leading"
        ones end with level `offset`, "linspace" ones have both ends.
        """
        top, every = len(self) - 1, len(self) / steps
        if self.spacing == "leading":
            found = [min(i * int(every) + self.offset, top) for i in reversed(range(steps))]
        elif self.spacing == "linspace":
            found = [round(i * top / max(1, steps - 1)) for i in reversed(range(steps))]
        else:
            found = [round(len(self) - i * every) - 1 for i in range(steps)]
        # as many "leading" ones as there are levels, moved by an offset, would visit the noisiest twice
        return list(dict.fromkeys(found[steps - max(1, round(steps * strength)) :]))

    def _columns(self, level: Int[Tensor, " N"], like: Float[Tensor, "N ..."]) -> tuple[Tensor, Tensor]:
        """a and b of each example, as they multiply tensors like `like`."""
        shape = (-1, *(1 for _ in like.shape[1:]))
        a, b = (looked_up(table, level).to(like.dtype).view(shape) for table in (self.signal, self.noise))
        return a, b


def looked_up(table: Float64[Tensor, " S"], level: Int[Tensor, " N"]) -> Float[Tensor, " N"]:
    """The table's numbers at these levels, on their device; in float32 where it has no float64 (mps)."""
    exact = table.float() if level.device.type == "mps" else table
    return exact.to(level.device)[level]


# The first and the last beta of a schedule that is a line, for 1000 levels.
ENDS: dict[Schedule, tuple[float, float]] = {"linear": (1e-4, 0.02), "scaled-linear": (0.00085, 0.012)}


def betas(schedule: Schedule, levels: int, ends: tuple[float, float] | None = None) -> Float64[Tensor, " T"]:
    """The variance of the noise that each step of a diffusion adds.

    "linear" is that of Ho et al., "scaled-linear", linear in its root, that of Stable Diffusion; `ends` are those of
    another line. "cosine" is that of Nichol and Dhariwal (2021, arXiv 2102.09672, Eq 17), which destroys an image more
    slowly: of the linear one's levels more than half have less than a tenth of its power left. "shifted-cosine" divides
    its signal-to-noise ratio by SHIFT² (Hoogeboom et al. 2023, arXiv 2301.11093, section 2.1): large flat things are
    seen through much noise, and where they are and of which colour is settled at levels of which the cosine has few.
    """
    if schedule in ENDS:
        power = 0.5 if schedule == "scaled-linear" else 1.0
        first, last = ends or ENDS[schedule]
        return torch.linspace(first**power, last**power, levels, dtype=torch.float64) ** (1 / power)
    assert schedule in ("cosine", "shifted-cosine"), schedule
    at = torch.arange(levels + 1, dtype=torch.float64) / levels
    # 0.008: the first noise is then just below the steps of 8-bit pixels
    left = ((at + 0.008) / 1.008 * math.pi / 2).cos().square()
    if schedule == "shifted-cosine":
        left = left / (left + SHIFT**2 * (1 - left))
    return (1 - left[1:] / left[:-1]).clamp(max=MOST_BETA)


def make_process(
    schedule: Schedule = "cosine",
    levels: int = 1000,
    zero_terminal: bool = False,
    ends: tuple[float, float] | None = None,
) -> Process:
    """A process by the name of its schedule, in float64: products of a thousand factors lose digits in float32.

    zero_terminal: a diffusion is rescaled so that the last level is nothing but noise (Lin et al. 2024, arXiv
        2305.08891, Algorithm 1). A network must then be asked for the velocity. A flow always ends so.
    ends: see `betas`.
    """
    if schedule == "flow":
        time = torch.arange(1, levels + 1, dtype=torch.float64) / levels
        return Process(_with_clean(1 - time, 1.0), _with_clean(time, 0.0), straight=True)
    signal = (1 - betas(schedule, levels, ends)).cumprod(0).sqrt()
    if zero_terminal:
        signal = (signal - signal[-1]) * signal[0] / (signal[0] - signal[-1])
    return Process(_with_clean(signal, 1.0), _with_clean((1 - signal.square()).sqrt(), 0.0))


def _with_clean(table: Float64[Tensor, " T"], clean: float) -> Float64[Tensor, " S"]:
    return torch.cat([table, table.new_tensor([clean])])


def fixed(
    names: Sequence[str], image: Float[Tensor, "N ..."], levels: int
) -> tuple[Int[Tensor, " N"], Float[Tensor, "N ..."]]:
    """A level below `levels` and noise for each image, of its name alone: figures made with them can be compared."""
    level, noise = [], []
    for name in names:
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        level.append(torch.randint(levels, (), generator=generator))
        noise.append(torch.randn(image.shape[1:], generator=generator))
    return torch.stack(level).to(image.device), torch.stack(noise).to(image)
