"""How well each class is found."""

import math
from collections.abc import Sequence

import numpy as np
from markupsafe import Markup

from olhar.inspection.confusion import average_precision, class_scores, confusion_matrix, score
from olhar.report.parts import part
from olhar.report.story import Panel, Story
from olhar.report.svg import tag
from olhar.report.words import percent

FIRST = 25  # rows shown before one must ask for more


def classes_panel(story: Story) -> Panel | None:
    if not story.classified:
        return None
    scores = class_scores(confusion_matrix(story.truth, story.predicted, len(story.classes)))
    named = sorted(zip(story.classes, scores, strict=True), key=lambda pair: worst_first(pair[1].f1))
    rows = [[name, bar(s.f1), percent(s.precision), percent(s.recall), f"{s.support:,}"] for name, s in named]
    heads = [("Class", "text"), ("F1", "bar"), ("Precision", "number"), ("Recall", "number"), ("Images", "number")]
    reading = (
        "Precision: of the images given this name, the share that deserves it. Recall: of the images that deserve "
        "it, the share that got it. F1 is their harmonic mean; the worst class comes first."
    )
    return Panel("classes", "Classes", reading, long_table(heads, rows))


def labels_panel(story: Story) -> Panel | None:
    if not story.labelled:
        return None
    truth, said, probabilities = story.truth, story.predicted, story.probabilities
    rows = []
    for k, name in enumerate(story.classes):
        average = float(average_precision(truth[:, k], probabilities[:, k])[0])
        s = score(int((truth[:, k] & said[:, k]).sum()), int(said[:, k].sum()), int(truth[:, k].sum()))
        rows.append(
            (average, [name, bar(average), percent(s.precision), percent(s.recall), percent(s.f1), f"{s.support:,}"])
        )
    rows.sort(key=lambda row: worst_first(row[0]))
    heads = [("Label", "text"), ("Average precision", "bar")]
    heads += [(name, "number") for name in ("Precision", "Recall", "F1", "Images")]
    reading = (
        "Average precision tells how well the label's probability ranks images that have it before those that do "
        "not, whatever the threshold. Precision and recall are those of the answers, given from probability 1/2 on."
    )
    return Panel("labels", "Labels", reading, long_table(heads, [row for _, row in rows]))


def bar(share: float) -> tuple[float, str]:
    return (0.0 if math.isnan(share) else share), percent(share)


def swatch(name: str, colour: Sequence[int] | None) -> Markup:
    """A class with the colour it is drawn in; black is drawn as nothing."""
    if not colour or not any(colour):
        return Markup("{}").format(name)
    square = tag("rect", width=12, height=12, rx=3, fill="rgb({},{},{})".format(*colour))
    return Markup('<svg class="swatch" viewBox="0 0 12 12" aria-hidden="true">{}</svg> {}').format(square, name)


def worst_first(value: float) -> float:
    """NaN, of a class that does not occur, goes last."""
    return np.inf if math.isnan(value) else value


def long_table(heads, rows):
    shown = part("table", heads, rows[:FIRST])
    if len(rows) <= FIRST:
        return shown
    return shown + part("details", f"The other {len(rows) - FIRST}", part("table", heads, rows[FIRST:]))
