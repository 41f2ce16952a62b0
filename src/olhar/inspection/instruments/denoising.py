"""How an image becomes noise, and noise an image (Figure 5.2), beside points whose score is known; and where the words
of a caption are looked at."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, UInt8
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from torch import Tensor
from torch.nn.functional import interpolate

from olhar.data.text import Tokenizer
from olhar.inspection.denoising import Asked, Step, Word, noised, way_back, words_of
from olhar.inspection.figure import FULL, Style, bare, glow, grid, show
from olhar.inspection.instrument import Instrument, Subject, Table, Values
from olhar.inspection.particles import Particles, cloud, field, moments_of, name_of, particles
from olhar.ops.noise import CLEAN
from olhar.tasks.diffuse import Diffuse

COLUMNS, STEPS = 8, 28  # moments of the figure; steps of the way back
WORDS = 6  # rows of the figure for words, those that are looked at most unevenly
LONGEST = 60  # letters of a caption above the figure
LEAST = 0.5  # the share of attention above the mean that is fully tinted: less, in all maps, shows as the little it is
SEED = 0


@dataclass(frozen=True, eq=False)
class DenoisingValues(Values):
    """At the levels from clean up: `forward` [M, C, H, W], an image on its way to noise. The other way, noisiest first:
    `noisy` [M, ...], what a new image was, `said` [M, ...], what the network took it for, and for every level but clean
    the share of the attention that each word had, [V, K, h, w]."""

    id: str
    asked: str
    levels: tuple[int, ...]
    share: tuple[float, ...]
    forward: UInt8[Tensor, "M C H W"]
    noisy: UInt8[Tensor, "M C H W"]
    said: UInt8[Tensor, "M C H W"]
    words: tuple[str, ...]
    attention: Float[np.ndarray, "V K h w"]
    points: Particles

    def table(self) -> Table:
        """By level: how much noise there is, how far what the network says is from the result, and how much each word
        is looked at."""
        columns = ("level", "noise b", "distance to the result", *(f"looks at '{word}'" for word in self.words))
        result, rows = self.said[-1].float(), []
        for i, (level, image) in enumerate(zip(self.levels[:0:-1], self.said, strict=False)):
            far = float((image.float() - result).square().mean().sqrt()) / 255
            shares = [round(float(one), 4) for one in self.attention[:, i].mean((1, 2))]
            rows.append((level, round(self.share[-1 - i], 4), round(far, 4), *shares))
        return Table(columns, rows)


def needs_drawing(subject: Subject) -> str | None:
    """Why not, for a task that does not learn to draw."""
    task = subject.task
    return None if isinstance(task, Diffuse) else f"it watches images come about, and this run learnt to {task.name}."


def look(subject: Subject) -> DenoisingValues:
    """Of the first image; what is drawn beside it is asked for by its class or its caption."""
    task = subject.task
    assert isinstance(task, Diffuse)
    batch = subject.first(1)
    clean = task.space(batch["image"])
    label, tokens = batch.get("label") if task.class_names else None, batch.get("tokens")
    asked = task.describe_truth(batch)[0] or ""
    way = task.process.levels(STEPS)
    # of the steps those between which the noise grows evenly
    near = {min(way, key=lambda t: abs(t - wanted)) for wanted in moments_of(task.process, COLUMNS)[1:]}
    levels = (CLEAN, *sorted(near))
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(SEED)).to(clean)
    with torch.inference_mode():
        forward = task.pixels(noised(task, clean, levels, SEED)).cpu()
        *steps, result = way_back(task, noise, way, Asked(label, tokens))
        assert isinstance(result, Tensor)
        shown = [step for step in steps if isinstance(step, Step) and step.level in levels]
        noisy = torch.cat([task.pixels(one) for one in (*(step.noisy for step in shown), result)]).cpu()
        said = torch.cat([task.pixels(one) for one in (*(step.image for step in shown), result)]).cpu()
    words, attention = attended(shown, spoken(subject, asked, tokens))
    return DenoisingValues(
        batch["id"][0],
        asked,
        levels,
        tuple(task.process.at(level)[1] for level in levels),
        forward,
        noisy,
        said,
        words,
        attention,
        particles(task.process, levels=levels),
    )


def spoken(subject: Subject, caption: str, tokens: Tensor | None) -> list[Word]:
    """The words of a caption; none where it was not read."""
    if tokens is None or subject.folder is None:
        return []
    return words_of(Tokenizer.load(subject.folder / "tokenizer.json"), caption, tokens.shape[1])


def attended(steps: list[Step], words: list[Word]) -> tuple[tuple[str, ...], Float[np.ndarray, "V K h w"]]:
    """The words looked at most unevenly over the picture, in their order, and the share of each at each step."""
    maps = [step.attention[0] for step in steps if step.attention is not None]
    if not maps or not words:
        return (), np.zeros((0, len(steps), 1, 1))
    every = torch.stack([torch.stack([one[word.start : word.end].sum(0) for one in maps]) for word in words])
    uneven = (every.std((2, 3)) / every.mean((2, 3))).mean(1)
    kept = sorted(uneven.argsort(descending=True)[:WORDS].tolist())
    return tuple(words[i].text for i in kept), every[kept].cpu().numpy()


def draw(values: DenoisingValues, style: Style) -> Figure:
    """To noise: the image and points; back: what there is, what the network sees in it, points; a row a word."""
    height, width = values.forward.shape[2:]
    rows, columns = 5 + len(values.words), len(values.levels)
    cell = 0.91 * FULL / columns  # the rest is gaps and the names of the rows
    figure, axes = grid(rows, columns, FULL, cell * (2 + (rows - 2) * height / width) + 0.55 + 0.04 * rows)
    figure.get_layout_engine().set(h_pad=0.015, hspace=0.02)  # type: ignore[union-attr]
    back = values.levels[::-1]
    for i, level in enumerate(values.levels):
        show(axes[0, i], values.forward[i], name_of(level))
        cloud(axes[1, i], values.points.forward[i], values.points.origin, style)
        show(axes[2, i], values.noisy[i], name_of(back[i]))
        show(axes[3, i], values.said[i])
        if back[i] != CLEAN:
            field(axes[4, i], values.points.mixture.noised(values.points.process, back[i]), style)
        cloud(axes[4, i], values.points.backward[i], values.points.end, style)
    more = beyond_the_mean(values.attention)
    for row, heat in zip(axes[5:], more / max(more.max(initial=0.0), LEAST), strict=True):
        for axis, image, one in zip(row, values.said, heat, strict=False):
            axis.imshow(glow(image, spread(one, (height, width)), style))
            bare(axis)
        row[-1].set_visible(False)  # nothing is asked of a clean image
    names = ["to noise", "points", "and back", "taken for", "points", *(f"“{word}”" for word in values.words)]
    for axis, name in zip(axes[:, 0], names, strict=True):
        named(axis, name)
    asked = values.asked if len(values.asked) <= LONGEST else values.asked[: LONGEST - 1] + "…"
    figure.suptitle(f"Asked for: {asked}" if asked else "Asked for nothing", fontsize=8, x=0.01, ha="left")
    return figure


def beyond_the_mean(attention: Float[np.ndarray, "V K h w"]) -> Float[np.ndarray, "V K h w"]:
    """By which share a place looks at a word more than places do on average, at least 0."""
    return (attention / attention.mean((2, 3), keepdims=True) - 1).clip(min=0)


def named(axes: Axes, name: str) -> None:
    """A word at the left of a row."""
    axes.set_ylabel(name, fontsize=7, labelpad=3)


def spread(heat: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """A map over the pixels of the picture."""
    values = torch.from_numpy(heat).float()[None, None]
    return interpolate(values, size=size, mode="bilinear")[0, 0].clamp(0, 1).numpy()


DENOISING = Instrument(
    shows="an image on its way to noise and a new one on its way back, and where its words are looked at",
    reading="Noise is mixed in evenly; on the way back 'taken for' shows what the network sees in each noisy image.\n"
    "Points do the same with a score that is known (arrows). Tinted places look at a word more than others do.",
    fits=needs_drawing,
    look=look,
    draw=draw,
    passes=2 * STEPS,  # guidance asks twice
)
