"""How well the pixels of each class are found, and what the masks look like."""

import math

import numpy as np
from markupsafe import Markup

from olhar.inspection.confusion import class_scores, intersection_over_union, most_confused
from olhar.report.panels.classes import bar, long_table, swatch, worst_first
from olhar.report.panels.pictures import at_random
from olhar.report.parts import join, part
from olhar.report.story import Panel, Story
from olhar.report.words import percent

PAIRS = 12
ROWS = 8  # of examples, each as wide as the page


def pixels_panel(story: Story) -> Panel | None:
    if not story.segmented:
        return None
    total = story.confusions.sum(0)
    overlaps, scores = intersection_over_union(total[None])[0], class_scores(total)
    pixels = max(int(total.sum()), 1)
    colours = dict(zip(story.classes, story.get("task.settings.palette", []), strict=False))
    named = sorted(zip(story.classes, overlaps, scores, strict=True), key=lambda one: worst_first(one[1]))
    rows = [
        [swatch(name, colours.get(name)), bar(iou), *map(percent, (s.precision, s.recall, s.support / pixels))]
        for name, iou, s in named
    ]
    heads = [("Class", "text"), ("IoU", "bar")]
    heads += [(name, "number") for name in ("Precision", "Recall", "Of the pixels")]
    reading = (
        "IoU: of the pixels that belong to a class or were given to it, the share that is both. It counts pixels over "
        f"the whole {story.split_name} split, not image by image; the worst class comes first."
    )
    return Panel("classes", "Classes", reading, join(long_table(heads, rows), mistaken(story, total)))


def mistaken(story: Story, total: np.ndarray) -> Markup:
    """What is taken for what, by pixels."""
    pairs, support = most_confused(total, PAIRS), total.sum(1)
    if not pairs:
        return Markup("")
    rows = [
        [f"{story.classes[i]} → {story.classes[j]}", (n / pairs[0][2], f"{n:,}"), percent(n / support[i])]
        for i, j, n in pairs
    ]
    heads = [("Truth → answer", "text"), ("Pixels", "bar"), ("Of the class", "number")]
    return join(part("heading", "Most confused"), part("table", heads, rows, "mistaken"))


def masks_panel(story: Story) -> Panel | None:
    if not story.segmented:
        return None
    reading = (
        f"Images of the {story.split_name} split drawn at random: as they are, with the true classes, and with those "
        "the model gives. Where the truth has no colour nobody labelled the pixels, and they do not count."
    )
    return Panel("examples", "Examples", reading, strips(story, at_random(story, ROWS)))


def worst_masks_panel(story: Story) -> Panel | None:
    if not story.segmented:
        return None
    worst = np.argsort(image_scores(story), kind="stable")[:ROWS].tolist()
    reading = (
        "The images with the lowest mean IoU over the classes in them. Look for a kind of image that training lacks, "
        "and for masks that were drawn wrongly."
    )
    return Panel("mistakes", "Worst images", reading, strips(story, worst))


def image_scores(story: Story) -> np.ndarray:
    """The mean IoU of each image over the classes that are in it or were found in it, [N]."""
    with np.errstate(invalid="ignore"):
        return np.nanmean(intersection_over_union(story.confusions), axis=1)


def strips(story: Story, indices: list[int]) -> Markup:
    """One row an image: itself, the truth, the answer."""
    scores = image_scores(story)
    rows = []
    for i, strip in zip(indices, story.strips(indices), strict=True):
        pictures = [(strip[key], word) for key, word in WORDS if key in strip]
        score = "" if math.isnan(scores[i]) else f"mean IoU {percent(scores[i])}"
        rows.append((story.predictions[i]["id"], score, pictures))
    return part("strips", rows, False)


WORDS = (("image", "image"), ("truth", "truth"), ("prediction", "answer"))
