"""Drawing of coloured shapes on a muted backdrop, by their signed distances: what `olhar.data.scenes` puts together.

Lengths and places are shares of the image's side, x to the right and y down; colours are RGB in [0, 1]. To give the
same pixels on every machine and for ever, numbers come from SHAKE-128, a published standard, those of whole arrays
from the raw bits of PCG64, which NumPy promises not to change (unlike the methods of its Generator), and pixels are
made of + - * / and square roots, which IEEE 754 rounds alike everywhere; the few sines and cosines are taken in double
precision and used in single, where the last bits in which libraries differ are gone.

Shapes: H W canvas, h w the window around one thing.
"""

import hashlib
import math
import struct
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import no_type_check

import numpy as np

Color = tuple[float, float, float]
CONTRAST = 0.35  # least distance in RGB from a thing's colour to the backdrop's


@no_type_check  # called a hundred times a picture: the checks of a test run would take longer than drawing it
class Draws:
    """Uniform numbers that depend on the key only."""

    def __init__(self, *key: int):
        self.hash = hashlib.shake_128(repr(key).encode())
        self.words: tuple[int, ...] = ()  # 64 bits each
        self.used = 0

    def word(self) -> int:
        if self.used == len(self.words):
            count = max(64, 2 * len(self.words))  # a longer output of SHAKE begins with the shorter one
            self.words = struct.unpack(f"<{count}Q", self.hash.digest(8 * count))
        self.used += 1
        return self.words[self.used - 1]

    def uniform(self, low: float = 0.0, high: float = 1.0) -> float:
        return low + (high - low) * ((self.word() >> 11) * 2.0**-53)

    def integer(self, stop: int) -> int:
        """One of 0 ... stop - 1."""
        return (self.word() * stop) >> 64


def raw_bytes(count: int, *key: int) -> np.ndarray:
    """Uniform bytes that depend on the key only, uint8 [count]."""
    words = np.random.PCG64(np.random.SeedSequence(key)).random_raw(-(-count // 8))
    return words.astype("<u8", copy=False).view(np.uint8)[:count]


# --- Outlines: the signed distance in units of the radius of the circumscribed circle, below 0 inside [h, w] ---------
# (u, v) are measured from the centre of that circle, v down. Beyond a corner some give a lower bound of the distance,
# which only shows in the sharpness of a shadow.


def circle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.sqrt(u * u + v * v) - 1


def square(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(np.abs(u), np.abs(v)) - math.sqrt(0.5)


def triangle(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.maximum(v, math.sqrt(0.75) * np.abs(u) - 0.5 * v) - 0.5


def star(u: np.ndarray, v: np.ndarray, notch: float = 0.45) -> np.ndarray:
    """Five tips on the unit circle, five notches at radius `notch`: folded by its mirrors into half a tip."""
    sine, cosine = math.sin(math.pi / 5), math.cos(math.pi / 5)
    across, along = np.abs(u), -v  # along points to the upper tip
    for _ in range(2):
        beyond = 2 * np.maximum(cosine * across - sine * along, 0)
        across, along = np.abs(across - cosine * beyond), along + sine * beyond
    dx, dy = notch * sine, notch * cosine - 1  # the edge from the tip (0, 1) to the notch
    length = math.hypot(dx, dy)
    return (-dy / length) * across + (dx / length) * (along - 1)


def cross(u: np.ndarray, v: np.ndarray, width: float = 0.33) -> np.ndarray:
    a, b, arm = np.abs(u), np.abs(v), math.sqrt(1 - width**2)
    return np.minimum(np.maximum(a - arm, b - width), np.maximum(a - width, b - arm))


def ring(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    return np.abs(np.sqrt(u * u + v * v) - 0.73) - 0.27


def heart(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """A disc, widened, whose two halves are sheared upwards; the distance is to first order, |f| / |gradient of f|."""
    scale, width = 1.42, 1.2  # at this scale the lower tip and both halves touch the unit circle
    across = (scale / width) * np.abs(u)
    along = scale * v + (1 - scale) + across
    length = np.sqrt(across * across + along * along) + 1e-6
    tilted = (across + along) / width
    slope = np.sqrt(tilted * tilted + along * along) + 1e-6
    return (length - 1) * length / (scale * slope)


def crescent(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    bite = u - 0.45
    return np.maximum(np.sqrt(u * u + v * v) - 1, 0.8 - np.sqrt(bite * bite + v * v))


OUTLINES: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "circle": circle,
    "square": square,
    "triangle": triangle,
    "star": star,
    "cross": cross,
    "ring": ring,
    "heart": heart,
    "crescent": crescent,
}


def paint(
    canvas: np.ndarray, shape: str, tint: Color, x: float, y: float, radius: float, angle: float, light: float
) -> tuple[tuple[slice, slice], np.ndarray]:
    """Draw one thing and its shadow over the canvas, float32 [3, H, W].

    `angle` turns it clockwise, `light` is where the light comes from, clockwise from the right, both in radians.
    Returns the window it lies in and, for that window, which pixels it covers by half or more [h, w].
    """
    size, outline = canvas.shape[-1], OUTLINES[shape]
    pixels = radius * size
    light_x, light_y = math.cos(light), math.sin(light)

    # The shadow falls away from the light and is blurred over a quarter of the radius.
    fall, blur = 0.10 * radius, max(0.25, 1 / pixels)
    window, u, v = around(x - fall * light_x, y - fall * light_y, radius, angle, size, reach=1 + blur)
    canvas[window] *= 1 - 0.45 * unit(0.5 - outline(u, v) / blur)

    window, u, v = around(x, y, radius, angle, size, reach=1 + 1 / pixels)
    distance = outline(u, v)
    cover = unit(0.5 - distance * pixels)  # the share of a pixel on the inner side of a straight edge
    # Lit from the side: a soft gradient over the whole thing, a stronger one on a bevel along its outline.
    cosine, sine = math.cos(angle), math.sin(angle)
    towards = u * (light_x * cosine + light_y * sine) + v * (light_y * cosine - light_x * sine)
    shade = 1 + towards * (0.12 + 0.16 * unit(1 + distance / 0.16))
    region = canvas[window]
    region += cover * (np.array(tint, dtype=np.float32)[:, None, None] * shade - region)
    return window[1:], cover >= 0.5


def around(
    x: float, y: float, radius: float, angle: float, size: int, reach: float
) -> tuple[tuple[slice, slice, slice], np.ndarray, np.ndarray]:
    """The window of the canvas within `reach` radii of a place, and its pixels (u, v) in turned units of the radius."""
    rows, columns = span(y, reach * radius, size), span(x, reach * radius, size)
    dx = (centres(size)[columns] - x) / radius
    dy = ((centres(size)[rows] - y) / radius)[:, None]
    cosine, sine = math.cos(angle), math.sin(angle)
    return (slice(None), rows, columns), dx * cosine + dy * sine, dy * cosine - dx * sine


def span(centre: float, reach: float, size: int) -> slice:
    """The pixels of one side of the canvas that are within `reach` of its `centre`."""
    return slice(max(math.floor((centre - reach) * size), 0), max(math.ceil((centre + reach) * size), 0))


def backdrop(draws: Draws, size: int, tints: Sequence[Color]) -> np.ndarray:
    """A gradient between two muted colours with texture, blots and litter, far from every tint. [3, H, W]"""
    start, end = muted(draws, tints), muted(draws, tints)
    grain = draws.uniform(0.02, 0.20)
    top, left = draws.integer(2 * size + 1), draws.integer(2 * size + 1)
    canvas = start + (end - start) * (ramp(size, draws.uniform(0, 2 * math.pi)) + 0.5)
    canvas += texture(size)[top : top + size, left : left + size] * grain
    for _ in range(2 + draws.integer(6)):
        x, y, angle = draws.uniform(), draws.uniform(), draws.uniform(0, math.pi)
        tone = draws.uniform(0.08, 0.24) * (1 - 2 * draws.integer(2))
        if draws.integer(4) == 0:  # a blot: a large blurred disc
            radius, long, blur, tone = draws.uniform(0.10, 0.25), 0.0, 0.6, tone / 2
        else:  # litter: a dot or a dash, too small for a thing
            radius, blur = draws.uniform(0.010, 0.022), 0.0
            long = draws.uniform(0.0, 4.5) * draws.integer(2)
        blur = max(blur, 1 / (radius * size))
        window, u, v = around(x, y, radius, angle, size, reach=1 + long + blur)
        distance = circle(np.maximum(np.abs(u) - long, 0), v)
        canvas[window] += unit(0.5 - distance / blur) * tone
    return canvas


def muted(draws: Draws, tints: Sequence[Color]) -> np.ndarray:
    """A colour near grey that no thing has, [3, 1, 1]."""
    while True:
        hue, chroma, grey = draws.uniform(0, 2 * math.pi), draws.uniform(0.02, 0.10), draws.uniform(0.30, 0.88)
        color = tuple(grey + chroma * math.cos(hue + turn) for turn in (0, -2 * math.pi / 3, 2 * math.pi / 3))
        if all(math.dist(color, tint) > CONTRAST for tint in tints):
            return np.array(color, dtype=np.float32)[:, None, None]


def ramp(size: int, angle: float) -> np.ndarray:
    """How far each pixel lies from the centre in one direction, [H, W]."""
    place = centres(size) - 0.5
    return math.cos(angle) * place + math.sin(angle) * place[:, None]


def unit(values: np.ndarray) -> np.ndarray:
    """Clipped to [0, 1]; on small arrays in half the time of np.clip."""
    return np.minimum(np.maximum(values, 0), 1)


@lru_cache(maxsize=8)
def centres(size: int) -> np.ndarray:
    """The centres of the pixels along one side, [size]."""
    return ((np.arange(size) + 0.5) / size).astype(np.float32)


@lru_cache(maxsize=8)
def texture(size: int) -> np.ndarray:
    """A patch three images wide of value noise in four octaves, within -1 ... 1: every scene shows a part."""
    side = 3 * size
    total = np.zeros((side, side), dtype=np.float32)
    for octave, cells in enumerate((9, 18, 36, 72)):
        lattice = raw_bytes((cells + 1) ** 2, cells).reshape(cells + 1, cells + 1) * np.float32(1 / 255) - 0.5
        place = (np.arange(side) + 0.5) * (cells / side)
        low = place.astype(np.int64)
        t = (place - low).astype(np.float32)
        t = t * t * (3 - 2 * t)  # smooth steps leave no visible lattice
        rows = lattice[low] + (lattice[low + 1] - lattice[low]) * t[:, None]
        total += (rows[:, low] + (rows[:, low + 1] - rows[:, low]) * t) * 0.5**octave
    return total
