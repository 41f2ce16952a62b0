"""What a picture of `shapes` shows, read by geometry alone: which things, of which colour and shape, and where.

It is how well a model draws what it was told that is read so; nothing here was learnt. A pixel belongs to the colour
that, lit more or less, explains it best; connected pixels of a colour are a thing; and of the outlines that things are
drawn with, each fitted to those pixels, the one that covers them best is its shape.

Shapes: H W image, h w the window around one thing, m fits of one outline.
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from torch import Tensor

from olhar.data.drawing import OUTLINES, centres, unit
from olhar.data.scene_words import HELD_OUT_PAIRS, SaidScene, read_caption
from olhar.data.scenes import COLOR_NAMES, COLORS, SHAPES, relation

TINTS = np.array([COLORS[name] for name in COLOR_NAMES], dtype=np.float32) / 255
DIMMEST, BRIGHTEST = 0.68, 1.5  # how a thing's colour is multiplied by light and shade
FAR = 0.22  # in RGB: what lies farther from a lit colour is none of it
LEAST = 0.004  # of the image: a hidden thing shows more than this, an antialiased edge less
FITS = 0.6  # intersection over union with the best outline, below which a thing has no shape
WHOLE = 0.85  # the same for a thing that is surely one, and not two of a colour that touch
SPOTS = 0.3  # how much lighter or darker spots, texture and shadows make the backdrop

TRIED = 4  # rounds of a fit after which the worse beginnings are left
# turns at which a fit begins, over the angle after which an outline is the same again
BEGINNINGS = {"circle": 1, "ring": 1, "square": 3, "cross": 3, "triangle": 6, "star": 4, "heart": 8, "crescent": 8}
SAME_AFTER = {"square": 4, "cross": 4, "triangle": 3, "star": 5}  # turns a circle has of them; the others have one


@dataclass(frozen=True, slots=True)
class SeenThing:
    """One thing of a picture. Lengths and places are shares of the side, x to the right and y down."""

    color: str
    shape: str  # "" where no outline fits it
    x: float
    y: float
    radius: float  # of the circumscribed circle
    fit: float  # intersection over union of its pixels and the best outline

    @property
    def pair(self) -> tuple[str, str]:
        """Its colour and shape."""
        return self.color, self.shape


def read_scene(image: Tensor) -> list[SeenThing]:
    """The things in a picture, uint8 [3, H, W], the largest first."""
    pixels = image.numpy().astype(np.float32) / 255
    color = colors_of(pixels)
    parts = [
        (k, part)
        for k in range(len(COLOR_NAMES))
        for part in components(color == k)
        if part.sum() >= max(LEAST * part.size, 6) and eroded(part).any()
    ]
    parts.sort(key=lambda found: -found[1].sum())
    things: list[SeenThing] = []
    while parts:
        k, part = parts.pop(0)
        elsewhere = (color >= 0) & ~part  # what another thing covers may go on below it
        thing, cover = best_outline(part, elsewhere)
        if thing.fit < WHOLE and len(two := halves(part)) == 2:  # perhaps two things of a colour that touch
            apart = [best_outline(half, elsewhere | (part & ~half))[0] for half in two]
            if min(half.fit for half in apart) > thing.fit:
                things += [replace(half, color=COLOR_NAMES[k]) for half in apart]
                continue
        things.append(replace(thing, color=COLOR_NAMES[k]))
        # pieces of the same thing, with another one between
        parts = [(j, p) for j, p in parts if j != k or (p & cover).sum() < 0.6 * p.sum()]
    return sorted(things, key=lambda thing: -thing.radius)


def marks(said: SaidScene, seen: Sequence[SeenThing]) -> dict[str, float]:
    """How much of what a caption says a picture shows, each from 0 to 1.

    colors, shapes: the share of the things that have one that was said; a thing too many counts as one wrong.
    pairs: the same of a colour and a shape together.
    relation: the share of relations that hold; only where the caption says any.
    unseen: the share of pairs never seen together in training that are there; only where the caption says any.
    """
    most = max(len(said.things), len(seen), 1)

    def agreement(quality: str) -> float:
        both = Counter(getattr(t, quality) for t in said.things) & Counter(getattr(t, quality) for t in seen)
        return both.total() / most

    found = {"colors": agreement("color"), "shapes": agreement("shape"), "pairs": agreement("pair")}
    if said.relations:
        placed = place(said, seen)
        main, others = placed[0], placed[1:]
        held = [
            main is not None and other is not None and relation(main, other) == wanted
            for other, wanted in zip(others, said.relations, strict=True)
        ]
        found["relation"] = sum(held) / len(held)
    if new := [thing.pair for thing in said.things if thing.pair in HELD_OUT_PAIRS]:
        found["unseen"] = (Counter(new) & Counter(thing.pair for thing in seen)).total() / len(new)
    return found


def place(said: SaidScene, seen: Sequence[SeenThing]) -> list[SeenThing | None]:
    """For each thing of a caption the one that is meant: of its colour and shape, else of its colour, else of its
    shape; None where there is none."""
    found: list[SeenThing | None] = [None] * len(said.things)
    left = list(seen)
    for quality in ("pair", "color", "shape"):
        for i, thing in enumerate(said.things):
            same = [one for one in left if getattr(one, quality) == getattr(thing, quality)]
            if found[i] is None and same:
                found[i] = same[0]
                left.remove(same[0])
    return found


def mean_marks(captions: Sequence[str], seen: Sequence[Sequence[SeenThing]]) -> dict[str, float]:
    """The mean of each of `marks` over pictures, of those for which it is defined."""
    rows = [marks(read_caption(text), things) for text, things in zip(captions, seen, strict=True)]
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: sum(values := [row[name] for row in rows if name in row]) / len(values) for name in names}


def colors_of(pixels: np.ndarray) -> np.ndarray:
    """The colour that each pixel of [3, H, W] is of, an index of COLOR_NAMES [H, W]; -1 for the backdrop.

    A colour under any light is a line in RGB, and a pixel belongs to the line it is nearest to, if it is not nearer to
    the backdrop: a gradient that spots and shadows make lighter or darker, but not another hue.
    """
    flat = pixels.reshape(3, -1).T[:, None]  # [H W, 1, 3]
    light = ((flat * TINTS).sum(-1) / (TINTS * TINTS).sum(-1)).clip(DIMMEST, BRIGHTEST)
    off_color = np.linalg.norm(flat - np.minimum(light[..., None] * TINTS, 1), axis=-1)  # [H W, K]
    color, nearest = off_color.argmin(1), off_color.min(1)
    off_backdrop = flat[:, 0] - gradient(pixels)
    grey = off_backdrop.mean(1, keepdims=True)
    off_hue = np.linalg.norm(off_backdrop - grey, axis=1) + np.maximum(np.abs(grey[:, 0]) - SPOTS, 0)
    return np.where((nearest < off_hue) & (nearest < FAR), color, -1).reshape(pixels.shape[1:])


def gradient(pixels: np.ndarray, rounds: int = 8) -> np.ndarray:
    """The plane in each channel that most of the image lies near, and its border first: [H W, 3].

    Least squares, what lies far off the last plane counting less each time (the weights of Geman and McClure).
    """
    _, height, width = pixels.shape
    y, x = np.meshgrid(centres(height) - 0.5, centres(width) - 0.5, indexing="ij")
    design = np.stack([np.ones_like(x), x, y], -1).reshape(-1, 3)
    values, plane = pixels.reshape(3, -1).T, np.zeros((3, 3), dtype=np.float32)
    weight = (np.maximum(np.abs(x), np.abs(y)).reshape(-1) > 0.45).astype(np.float32)
    for _ in range(rounds):
        weighted = design * weight[:, None]
        plane = np.linalg.solve(weighted.T @ design + 1e-6 * np.eye(3), weighted.T @ values)
        off = np.square(values - design @ plane).sum(1)
        weight = 1 / np.square(1 + off / 0.15**2)
    return design @ plane


def components(mask: np.ndarray) -> list[np.ndarray]:
    """The connected parts of a mask [H, W], each a mask."""
    number = np.where(mask, np.arange(1, mask.size + 1).reshape(mask.shape), 0)
    while True:  # every pixel takes the largest number around it, until all of a part have one
        padded = np.pad(number, 1)
        sides = (padded[1:-1, :-2], padded[1:-1, 2:], padded[:-2, 1:-1], padded[2:, 1:-1])
        spread = np.where(mask, np.maximum.reduce([number, *sides]), 0)
        if (spread == number).all():
            return [number == one for one in np.unique(number[mask])]
        number = spread


def eroded(mask: np.ndarray) -> np.ndarray:
    """The pixels whose four neighbours are of the mask too."""
    padded = np.pad(mask, 1)
    return mask & padded[1:-1, :-2] & padded[1:-1, 2:] & padded[:-2, 1:-1] & padded[2:, 1:-1]


def halves(part: np.ndarray) -> list[np.ndarray]:
    """The two largest parts that a mask [H, W] falls apart into where it is narrow; what was worn off goes to the
    nearer one. Empty where it does not fall apart."""
    core = part
    while (core := eroded(core)).any():
        seeds = sorted((seed for seed in components(core) if seed.sum() >= 4), key=lambda seed: -seed.sum())[:2]
        if len(seeds) == 2:
            owner = np.select(seeds, [1, 2])
            while (free := part & (owner == 0)).any():
                padded = np.pad(owner, 1)
                sides = (padded[1:-1, :-2], padded[1:-1, 2:], padded[:-2, 1:-1], padded[2:, 1:-1])
                owner = np.where(free, np.maximum.reduce(sides), owner)
            return [owner == 1, owner == 2]
    return []


def best_outline(part: np.ndarray, unknown: np.ndarray) -> tuple[SeenThing, np.ndarray]:
    """The thing, of no colour yet, whose outline covers a part best, and the pixels it covers [H, W].

    What is `unknown` [H, W], below another thing, counts neither way.
    """
    rows, columns = np.flatnonzero(part.any(1)), np.flatnonzero(part.any(0))
    margin = max(rows[-1] - rows[0], columns[-1] - columns[0]) // 2 + 2
    window = tuple(
        slice(max(some[0] - margin, 0), min(some[-1] + margin + 1, side))
        for some, side in zip((rows, columns), part.shape, strict=True)
    )
    inside, known = part[window].astype(np.float32), (~unknown[window]).astype(np.float32)
    y, x = np.meshgrid(*(np.arange(s.start, s.stop, dtype=np.float32) + 0.5 for s in window), indexing="ij")
    best = (-1.0, "", np.zeros(4), inside > 0)
    for shape in SHAPES:
        fits, scores, covers = fit(shape, inside, known, x, y)
        k = int(scores.argmax())
        if scores[k] > best[0]:
            best = (float(scores[k]), shape, fits[k], covers[k] > 0.5)
    score, shape, (x0, y0, radius, _), covered = best
    cover = np.zeros_like(part)
    cover[window] = covered
    height, width = part.shape
    shape = shape if score >= FITS else ""
    return SeenThing("", shape, float(x0 / width), float(y0 / height), float(radius / max(height, width)), score), cover


def fit(
    shape: str, inside: np.ndarray, known: np.ndarray, x: np.ndarray, y: np.ndarray, rounds: int = 10
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """An outline laid over pixels, from several turns and sizes on: (x, y, radius, angle) [m, 4], how well each fits
    [m], and what each covers [m, h, w].

    Levenberg's damped least squares on the share of each pixel that is covered, seen unsharp at first so that a border
    some pixels away still draws.
    """
    outline = OUTLINES[shape]

    def cover(p: np.ndarray, blur: float) -> np.ndarray:
        x0, y0, radius, angle = (p[:, i, None, None] for i in range(4))
        dx, dy, sine, cosine = (x - x0) / radius, (y - y0) / radius, np.sin(angle), np.cos(angle)
        return unit(0.5 - outline(dx * cosine + dy * sine, dy * cosine - dx * sine) * radius / blur)

    def overlap(c: np.ndarray) -> np.ndarray:
        return (known * np.minimum(c, inside)).sum((1, 2)) / (known * np.maximum(c, inside)).sum((1, 2))

    p = beginnings(shape, inside, x, y)
    for turn, blur in enumerate(np.linspace(5, 1, rounds).tolist()):
        if turn == TRIED:  # by now it shows which beginnings were good
            p = p[np.argsort(-overlap(cover(p, 1.0)))[: -(-len(p) // 2)]]
        now = cover(p, blur)
        off = known * (inside - now)
        steps = (0.25, 0.25, 0.25, 0.03)  # pixels and radians
        moved = [cover(p + step * np.eye(4, dtype=np.float32)[i], blur) for i, step in enumerate(steps)]
        slopes = np.stack([known * (there - now) / step for there, step in zip(moved, steps, strict=True)], 1)
        slopes, off = slopes.reshape(len(p), 4, -1), off.reshape(len(p), -1, 1)
        hessian = slopes @ slopes.swapaxes(1, 2)
        damping = np.eye(4) * (0.05 * np.trace(hessian, axis1=1, axis2=2)[:, None, None] / 4 + 1e-3)
        move = np.linalg.solve(hessian + damping, slopes @ off)[..., 0]
        p = (p + move.clip(-3, 3) * (1, 1, 1, 0.2)).astype(np.float32)
        p[:, 2] = p[:, 2].clip(2, max(x.shape))
    covers = cover(p, 1.0)
    return p, overlap(covers), covers


def beginnings(shape: str, inside: np.ndarray, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Where fits of an outline begin, (x, y, radius, angle) [m, 4]: about the middle of the pixels, as large as they
    are if all are seen and larger if not, at each of some turns."""
    area, offset = FORMS[shape]
    count = inside.sum()
    middle = np.array([(x * inside).sum(), (y * inside).sum()]) / count
    radius = math.sqrt(count / area)
    found = []
    for i in range(BEGINNINGS[shape]):
        angle = 2 * math.pi * i / BEGINNINGS[shape] / SAME_AFTER.get(shape, 1)
        turned = offset @ np.array([[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]])
        found += [[*(middle - size * radius * turned), size * radius, angle] for size in (1.0, 1.3)]
    return np.array(found, dtype=np.float32)


def form(shape: str, side: int = 200) -> tuple[float, np.ndarray]:
    """The area of an outline of radius 1, and the middle of it (x, y)."""
    v, u = np.meshgrid(*[np.linspace(-1, 1, side)] * 2, indexing="ij")
    inside = OUTLINES[shape](u, v) < 0
    return float(4 * inside.mean()), np.array([u[inside].mean(), v[inside].mean()])


FORMS = {shape: form(shape) for shape in SHAPES}
