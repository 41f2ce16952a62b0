"""What a run that learns to draw drew: while it learnt, in the end, and how an image came about; and where it errs."""

from collections.abc import Iterator, Sequence

import numpy as np
from markupsafe import Markup

from olhar.metrics import LevelErrors
from olhar.report.parts import part
from olhar.report.pictures import TINY, data_uri
from olhar.report.story import Panel, Story
from olhar.report.svg import Plot
from olhar.report.words import duration, number

BINS, IN_A_BIN = 16, 10  # of the levels: at most so many, each with so many images, or its mean says little
APART = 12  # SVG's units between the names of two lines


def levels_panel(story: Story) -> Panel | None:
    if not story.drawn:
        return None
    charts = [part("figure", by_level(story), "Each dot is an image of the split, at the level it is always shown at.")]
    if len([line for line in story.val if LevelErrors.NAMES[0] in line]) > 1:
        charts.append(part("figure", by_epoch(story), "The levels in four quarters, on validation."))
    said = story.get("task.settings.predict", "noise")
    reading = (
        f"How far what the model says of a noisy image (its {said}) is from the truth, by how noisy it is. At the ends "
        "nobody can tell: nearly clean images hide their noise, and nearly pure noise hides its image. A line that "
        "still falls at the end says: train longer."
    )
    return Panel("levels", "Error by noise", reading, part("columns", charts))


def by_level(story: Story) -> Markup:
    """The squared error of every image over its level, and the mean of those near it."""
    level, error = story.column("level"), story.column("mse")
    nothing = says_nothing(story)
    top = max(float(np.quantile(error, 0.98)), nothing) * 1.1
    bins = int(np.clip(len(level) // IN_A_BIN, 1, BINS))
    edges = np.linspace(0, level.max() + 1, bins + 1)
    place = np.digitize(level, edges) - 1
    filled = [i for i in range(bins) if (place == i).any()]
    plot = Plot((0, float(edges[-1])), (0, top), "Squared error by level of noise", height=280)
    plot.axes("level of noise", "mean squared error")
    plot.line(plot.x, (nothing, nothing), "identity").text(0, nothing, "saying 0", "name", dx=4, dy=-4)
    plot.dots(level.tolist(), error.tolist(), "")
    centres = (edges[:-1] + edges[1:])[filled] / 2
    return plot.line(centres.tolist(), [float(error[place == i].mean()) for i in filled], "val").svg()


def says_nothing(story: Story) -> float:
    """The error of a model that says 0: the variance of what it is asked for."""
    straight = story.get("task.settings.schedule") == "flow" and story.get("task.settings.predict") == "velocity"
    return 2.0 if straight else 1.0


def by_epoch(story: Story) -> Markup:
    """The error of each quarter of the levels during training, the names at the ends of the lines."""
    lines = [line for line in story.val if LevelErrors.NAMES[0] in line]
    epochs = [line["epoch"] for line in lines]
    errors = {name: [line[name] for line in lines] for name in LevelErrors.NAMES}
    top = max(value for values in errors.values() for value in values)
    plot = Plot((0, max(epochs)), (0, top * 1.06), "Squared error by epoch and noise", height=280, right=76)
    plot.axes("epoch", "mean squared error")
    below = -float(APART)
    for name, values in sorted(errors.items(), key=lambda one: -one[1][-1]):
        plot.line(epochs, values, "val")
        end = plot.at(0, values[-1])[1]
        below = max(end, below + APART)
        spoken = name.removeprefix("mse_").replace("_", " ")
        plot.text(epochs[-1], values[-1], spoken, "name", dx=5, dy=below - end + 4)
    return plot.svg()


def grown_panel(story: Story) -> Panel | None:
    if story.samples is None or not story.samples.grown:
        return None
    rows = []
    for i, moment in enumerate(story.samples.grown):
        names = [text or "" for text in moment.texts] if not i and fits(moment.texts) else [""] * len(moment.images)
        pictures = [(data_uri(image), name) for image, name in zip(moment.images, names, strict=True)]
        passes = f"{number(moment.epoch)} pass{'' if moment.epoch == 1 else 'es'}"
        rows.append((f"after {duration(moment.seconds)} of training", passes, pictures))
    reading = (
        "The same requests from the same noise, drawn as it learnt: colours and rough places come first, then "
        "outlines, then details. Rows that no longer change say that more of the same training will not help."
    )
    return Panel("grown", "As it learnt", reading, part("strips", rows, is_small(story), "ways"))


def fits(texts: Sequence[str | None]) -> bool:
    """Names of classes stand under small pictures, captions do not."""
    return all(text is None or len(text) <= 12 for text in texts)


def samples_panel(story: Story) -> Panel | None:
    if story.samples is None or not story.samples.last:
        return None
    items = [
        {"uri": data_uri(image), "name": text or "drawn", "right": None, "share": None, "lines": said(text)}
        for text, image in story.samples.last
    ]
    asked = story.samples.last[0][0] is not None
    what = "its classes" if story.classes else "captions of the validation split"
    reading = (
        f"{f'Asked for {what}, by the' if asked else 'By the'} best weights, the first seeds: none was chosen. Look "
        f"for {'what does not fit its words, for ' if asked else ''}pictures that are all alike, and for copies of the "
        "training images."
    )
    return Panel("examples", "Drawn", reading, part("pictures", items, is_small(story)))


def said(text: str | None) -> list[tuple[str, str]]:
    return [(text, "quiet")] if text else []


def reverse_panel(story: Story) -> Panel | None:
    if story.samples is None or not story.samples.strips:
        return None
    rows = [("", text or "", [(data_uri(one), "") for one in way]) for text, way in story.samples.strips]
    reading = (
        "The way back of Figure 5.2: what the model took the image for, step after step, from pure noise to the "
        "result. What is there from early on was settled by the noise and the words; what changes late are details."
    )
    return Panel("reverse", "From noise to image", reading, part("strips", rows, is_small(story), "ways"))


def near_panel(story: Story) -> Panel | None:
    near = story.samples and story.samples.near
    if not near:
        return None
    rows = []
    for text, image, found in near.found:
        pictures = [(data_uri(image), "drawn"), *((data_uri(one), f"{far:.3f}") for one, far in found)]
        rows.append(("", text or "", pictures))
    reading = (
        f"Beside some drawn images those of {number(near.searched)} training images that are nearest to them, and how "
        "far their pixels are (root mean square, of 1). The middle one of the validation images, which it never saw, "
        f"is {near.usual:.3f} from the nearest: what is drawn and much nearer than that is a copy."
    )
    return Panel("near", "Nearest training images", reading, part("strips", rows, is_small(story), "ways"))


def is_small(story: Story) -> bool:
    """Drawn images are shown as their pixels."""
    return max(story.get("model.image_size", [TINY + 1])) <= TINY


def shown(story: Story) -> Iterator[str]:
    """Drawn images for the top of the page."""
    if story.samples is not None:
        yield from (data_uri(image) for _, image in story.samples.last)
