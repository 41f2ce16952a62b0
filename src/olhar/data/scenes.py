"""A small world of coloured shapes: any (seed, index) is the same scene for ever, on every machine.

`scene` decides what is where, without drawing; `Scene.render` draws it at any size; `Scene.sample` adds what every
task needs: class, number, mask, boxes, caption, clean and noisy image.

Lengths and places are shares of the image's side, x to the right and y down, so the same scene at 32 and at 128
pixels is one picture at two resolutions.

Shapes: H W image.
"""

import math
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from olhar.data.drawing import OUTLINES, Color, Draws, backdrop, paint, ramp, raw_bytes, unit
from olhar.data.sample import Sample

SHAPES = tuple(OUTLINES)

# Chosen so that any two are at least 45 apart in CIELAB (a difference of 2 is just visible), and at least 20 for
# people who do not see red, green or blue (simulated as in Machado et al., 2009): they differ in lightness too.
COLORS = {
    "red": (190, 20, 30),
    "orange": (232, 132, 20),
    "yellow": (245, 230, 50),
    "green": (25, 142, 88),
    "cyan": (70, 208, 242),
    "blue": (28, 72, 205),
    "purple": (112, 26, 112),
    "pink": (250, 172, 188),
}
COLOR_NAMES = tuple(COLORS)
TINT = 0.05  # how far a thing's colour may lie from the named one, in each of R, G and B

SMALLEST, LARGEST = 0.25, 0.62  # diameters of the main thing; at 32 px the smallest is 8 px, enough to tell a shape
SMALL, LARGE = 0.35, 0.50  # below and above these diameters a caption says "small" and "large"
EDGE = 0.02  # free space between a thing and the border
HIDDEN_DEPTH = 0.35  # how far two things may reach over one another, in diameters of the smaller: 45% stays visible
SLANT = 1.5  # a thing is "above" another only where it is this much more above than beside it
TRIES = 30  # places looked at for one more thing, before the scene is left as it is

# The pairs of color and shape held out for tests of composition: color - shape, modulo 8, so that each color and
# each shape is in just one of them.
HELD_OUT_OFFSET = 3
Pairs = Literal["any", "common", "held out"]

CONTENT, BACKDROP, NOISE = range(3)  # the independent random numbers of one scene


@dataclass(frozen=True, slots=True)
class Thing:
    """One object. `radius` is that of its circumscribed circle; `angle`, in radians, turns it clockwise."""

    shape: int  # index into SHAPES
    color: int  # index into COLOR_NAMES
    x: float
    y: float
    radius: float
    angle: float
    tint: Color  # the colour it has here, close to the named one

    @property
    def name(self) -> str:
        """Such as "red circle"."""
        return f"{COLOR_NAMES[self.color]} {SHAPES[self.shape]}"

    @property
    def held_out(self) -> bool:
        """Whether its color and shape are one of the pairs kept for tests of composition."""
        return (self.color - self.shape) % len(COLORS) == HELD_OUT_OFFSET


@dataclass(frozen=True, slots=True)
class Scene:
    """What is where in one picture: a `Source` of its pixels, and of the truth about them.

    The first thing is the main one: the largest, whose shape is the class, whose diameter is the number to regress
    and who is the subject of the caption.
    """

    index: int
    size: int  # side of the image in pixels
    seed: int
    things: tuple[Thing, ...]
    main_in_front: bool
    light: float  # the direction the light comes from, in radians, clockwise from the right
    noise: float = 0.0  # standard deviation of the noise `render` adds, as a share of the range of values

    @property
    def label(self) -> int:
        """The class: the main thing's shape."""
        return self.things[0].shape

    @property
    def target(self) -> float:
        """The number to regress: the diameter of the main thing's circumscribed circle, in percent of the side.

        Unlike an angle it is defined for a circle, unlike an area nothing hides it, and it cannot be read off the
        number of coloured pixels without knowing the shape.
        """
        return 200 * self.things[0].radius

    def caption(self) -> str:
        """Such as "a large red circle" or "a red circle above a blue square and left of a green star"."""
        main, *others = self.things
        if not others:
            diameter = 2 * main.radius
            adjective = "small " if diameter < SMALL else "large " if diameter > LARGE else ""
            return with_article(adjective + main.name)
        relations = [f"{relation(main, other)} {with_article(other.name)}" for other in others]
        if len(relations) > 1:
            relations = [", ".join(relations[:-1]), relations[-1]]
        return f"{with_article(main.name)} {' and '.join(relations)}"

    def render(self) -> Tensor:
        """The picture, uint8 [3, H, W]."""
        return torch.from_numpy(self._noisy(self._draw()[0], self.noise))

    def sample(self, noise: float | None = None) -> Sample:
        """The picture and all that is true of it. `noise` replaces the scene's own.

        In `mask` 0 is the background and k + 1 the shape k; `boxes` hold what is visible of each thing, in the order
        of `things`; `labels` marks the shapes that are present.
        """
        clean, owner = self._draw()
        shapes = torch.tensor([thing.shape for thing in self.things])
        classes = torch.cat([torch.zeros(1, dtype=torch.int64), shapes + 1])
        return Sample(
            id=f"{self.index:09d}",
            image=torch.from_numpy(self._noisy(clean, self.noise if noise is None else noise)),
            label=self.label,
            labels=torch.zeros(len(SHAPES)).index_fill_(0, shapes, 1.0),
            target=self.target,
            mask=classes[torch.from_numpy(owner).long()],
            boxes=torch.tensor([bounds(owner == k + 1) for k in range(len(self.things))], dtype=torch.float32),
            box_labels=shapes,
            text=self.caption(),
            clean=torch.from_numpy(clean),
        )

    def _draw(self) -> tuple[np.ndarray, np.ndarray]:
        """The picture, uint8 [3, H, W], and for each pixel 1 + the thing it shows, or 0, uint8 [H, W]."""
        draws = Draws(self.seed, self.index, BACKDROP)
        canvas = backdrop(draws, self.size, [thing.tint for thing in self.things])
        owner = np.zeros((self.size, self.size), dtype=np.uint8)
        back_to_front = list(enumerate(self.things, start=1))
        if self.main_in_front:
            back_to_front.reverse()
        for number, t in back_to_front:
            window, covered = paint(canvas, SHAPES[t.shape], t.tint, t.x, t.y, t.radius, t.angle, self.light)
            owner[window][covered] = number
        # more light on the side it comes from
        canvas *= draws.uniform(0.88, 1.06) + draws.uniform(0.0, 0.25) * ramp(self.size, self.light)
        return (unit(canvas) * 255 + 0.5).astype(np.uint8), owner

    def _noisy(self, clean: np.ndarray, noise: float) -> np.ndarray:
        """`clean` plus the noise of this scene, always the same.

        Each value is the sum of four uniform bytes, close to a Gaussian (Irwin-Hall), scaled to the deviation wanted.
        """
        if noise == 0:
            return clean
        four = raw_bytes(4 * clean.size, self.seed, self.index, NOISE).reshape(4, *clean.shape)
        deviation = math.sqrt(4 * (256**2 - 1) / 12)
        values = clean + (four.sum(0, dtype=np.float32) - 4 * 127.5) * (255 * noise / deviation)
        return np.clip(np.rint(values), 0, 255).astype(np.uint8)


def held_out(scene: Scene) -> bool:
    """Whether any thing in it has a (color, shape) pair that `pairs="common"` never shows."""
    return any(thing.held_out for thing in scene.things)


def scene(
    index: int, size: int = 64, objects: int = 1, seed: int = 0, *, pairs: Pairs = "any", noise: float = 0.0
) -> Scene:
    """The scene of this index, with 1 to `objects` things, none drawn yet: some 20 microseconds.

    Every 8 consecutive indices have each shape once as the main thing; every 64 each (color, shape) pair once.
    `pairs` is for tests of composition: "common" leaves the held-out pairs out everywhere, "held out" gives one to
    the main thing. Both parts of a held-out pair are common, only their meeting is new.
    """
    draws = Draws(seed, index, CONTENT)
    block = index // len(SHAPES)
    shape = (5 * index + 3 * block) % len(SHAPES)  # 5 is odd: 8 in a row are a permutation
    step = {"any": block % 8, "common": 1 + block % 7, "held out": 0}[pairs]
    color = (shape + HELD_OUT_OFFSET + step) % len(COLORS)

    count = 1 + draws.integer(objects)
    # beside others the main thing leaves them room, and is large enough for them to be smaller
    low, high = {1: (SMALLEST, LARGEST), 2: (0.32, 0.50)}.get(count, (0.32, 0.42))
    radius = draws.uniform(low, high) / 2
    free = EDGE + radius
    things = [make_thing(draws, shape, color, draws.uniform(free, 1 - free), draws.uniform(free, 1 - free), radius)]
    main_in_front = draws.integer(2) == 0
    while len(things) < count:
        shape, color = draws.integer(len(SHAPES)), draws.integer(len(COLORS))
        smaller = draws.uniform(0.22 / 2, 0.85 * radius)
        place = free_place(draws, things, smaller)
        if place is None:
            break
        thing = make_thing(draws, shape, color, *place, smaller)
        if all(thing.name != other.name for other in things) and not (pairs == "common" and thing.held_out):
            things.append(thing)
    light = draws.uniform(-5 / 6, -1 / 6) * math.pi  # from above, as people expect it
    return Scene(index, size, seed, tuple(things), main_in_front, light, noise)


def make_thing(draws: Draws, shape: int, color: int, x: float, y: float, radius: float) -> Thing:
    """A thing turned and tinted by chance."""
    # A square on its corner is called a diamond, a cross on its side a saltire: these two only lean.
    most = math.pi / 6 if SHAPES[shape] in ("square", "cross") else math.pi
    angle = draws.uniform(-most, most)
    red, green, blue = (value / 255 + draws.uniform(-TINT, TINT) for value in COLORS[COLOR_NAMES[color]])
    return Thing(shape, color, x, y, radius, angle, (red, green, blue))


def free_place(draws: Draws, things: list[Thing], radius: float) -> tuple[float, float] | None:
    """A place where a new thing hides little, is little hidden, and is clearly above, below or beside the main one.

    One thing in three is put where it overlaps another, or touches it: chance alone would seldom do that.
    """
    main, free = things[0], EDGE + radius
    overlap = draws.integer(3) == 0
    for _ in range(TRIES):
        if overlap:
            other, a, b = things[draws.integer(len(things))], draws.uniform(-1, 1), draws.uniform(-1, 1)
            gap = least_gap(radius, other.radius, draws.uniform()) / math.sqrt(a * a + b * b)
            x, y = other.x + a * gap, other.y + b * gap
        else:
            x, y = draws.uniform(free, 1 - free), draws.uniform(free, 1 - free)
        less, more = sorted((abs(x - main.x), abs(y - main.y)))
        if (
            free <= min(x, y)
            and max(x, y) <= 1 - free
            and more >= SLANT * less
            and all(math.dist((x, y), (t.x, t.y)) >= least_gap(radius, t.radius) for t in things)
        ):
            return x, y
    return None


def least_gap(radius: float, other: float, share: float = 1.0) -> float:
    """The distance of two things that reach over one another by this share of HIDDEN_DEPTH."""
    return radius + other - 2 * HIDDEN_DEPTH * share * min(radius, other)


@runtime_checkable
class Placed(Protocol):
    """What lies somewhere."""

    @property
    def x(self) -> float: ...
    @property
    def y(self) -> float: ...


def relation(thing: Placed, other: Placed) -> str:
    """Where `thing` is, seen from `other`."""
    across, down = thing.x - other.x, thing.y - other.y
    if abs(down) > abs(across):
        return "above" if down < 0 else "below"
    return "left of" if across < 0 else "right of"


def with_article(noun: str) -> str:
    """Such as "a red circle" or "an orange circle"."""
    return f"an {noun}" if noun[0] in "aeiou" else f"a {noun}"


def bounds(visible: np.ndarray) -> tuple[int, int, int, int]:
    """x0 y0 x1 y1 of the pixels that are true [H, W]; x1 and y1 lie just beyond the last."""
    columns, rows = np.flatnonzero(visible.any(0)), np.flatnonzero(visible.any(1))
    return int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1
