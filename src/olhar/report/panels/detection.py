"""How well objects of each class are found, in which way answers are wrong, and what the boxes look like."""

import numpy as np
from markupsafe import Markup

from olhar.data.palette import palette
from olhar.inspection.box_errors import KINDS, Errors, above, errors
from olhar.inspection.figure import inline
from olhar.inspection.instruments import INSTRUMENTS
from olhar.metrics_detection import RECALLS, Curves, accumulate, by_class
from olhar.report.panels.classes import bar, long_table, swatch, worst_first
from olhar.report.panels.pictures import at_random
from olhar.report.parts import join, part
from olhar.report.pictures import lighter
from olhar.report.story import Panel, Story
from olhar.report.svg import Plot
from olhar.report.words import percent, plural

ROWS = 8  # of examples, each as wide as the page
MOST_CURVES = 8  # classes, the worst first, whose curves are drawn
MOST_NAMED = 20  # classes whose colours are named: beyond them colours are hardly told apart
WORDS = (("image", "image"), ("truth", "truth"), ("prediction", "answer"))
MEANINGS = {
    "right": "of the right class, and on an object",
    "missed": "objects that no answer means",
    "wrong class": "on an object of another class",
    "badly placed": "near an object of its class, with an IoU below 0.5",
    "duplicate": "on an object that a surer answer has",
    "background": "where there is no such object",
}


def found_panel(story: Story) -> Panel | None:
    if not story.detected:
        return None
    curves, labels = curves_of(story), np.concatenate([truth.labels[~truth.ignored] for _, truth in story.boxes])
    scores = [[curves.average_precision(threshold=t, label=k) for t in (None, 0.5, 0.75)] for k in classes_of(story)]
    order = sorted(classes_of(story), key=lambda k: worst_first(scores[k][0]))
    rows = [
        [story.classes[k], bar(scores[k][0]), *map(percent, scores[k][1:]), f"{int((labels == k).sum()):,}"]
        for k in order
    ]
    heads = [("Class", "text"), ("AP", "bar"), ("AP at IoU 0.5", "number"), ("at 0.75", "number")]
    heads += [("Objects", "number")]
    reading = (
        "Average precision: how well the scores rank right boxes before wrong ones. AP is the mean over ten demands on "
        "how well a box fits, from an IoU of 0.5 to one of 0.95; the worst class comes first."
    )
    return Panel("classes", "Classes", reading, long_table(heads, rows))


def precision_recall_panel(story: Story) -> Panel | None:
    if not story.detected:
        return None
    curves = curves_of(story)
    precision = curves.precision[0, 0]  # objects of every size, at an IoU of 0.5
    known = [k for k in classes_of(story) if not np.isnan(precision[0, k])]
    known.sort(key=lambda k: precision[:, k].mean())
    charts = []
    for k in known[:MOST_CURVES]:
        plot = Plot((0, 1), (0, 1), f"Precision of {story.classes[k]} by recall", height=170)
        plot.axes("recall", f"precision: {story.classes[k]}")
        reached = curves.recall[0, 0, k] + 1e-9 >= RECALLS
        plot.line(RECALLS[reached].tolist(), precision[reached, k].tolist(), "val")
        at = curves.scores[0, 0, :, k] > story.get("task.settings.threshold", 0.5)
        if at.any():
            last = int(np.flatnonzero(at)[-1])
            plot.dot(float(RECALLS[last]), float(precision[last, k]), "best-dot", radius=4.5)
        charts.append(part("figure", plot.svg()))
    reading = (
        "Each answer that is accepted finds more objects (recall) and may be wrong (precision); right is a box with an "
        f"IoU of 0.5. Circle: the threshold {story.get('task.settings.threshold', 0.5):.2g}, chosen on validation."
    )
    return Panel("precision-recall", "Precision and recall", reading, part("columns", charts))


def kinds_panel(story: Story) -> Panel | None:
    if not story.detected:
        return None
    every = errors_of(story)
    total = {kind: sum(one.counts[kind] for one in every) for kind in KINDS}
    top = max(total.values()) or 1
    rows = [[kind.capitalize(), (n / top, f"{n:,}"), MEANINGS[kind]] for kind, n in total.items()]
    objects, said = sum(one.objects for one in every), sum(one.answers for one in every)
    heads = [("Kind", "text"), ("How often", "bar"), ("What it is", "text")]
    reading = (
        f"{plural(said, 'answer')} above the threshold for {plural(objects, 'object')} of the {story.split_name} "
        "split. Many missed ask for a larger image or smaller anchors, many duplicates for a lower overlap."
    )
    return Panel("kinds", "Errors by kind", reading, part("table", heads, rows))


def inside_panel(story: Story) -> Panel | None:
    if story.task != "detect" or not story.drawings:
        return None
    parts = []
    for name, figure in story.drawings.items():
        drawn = Markup(lighter(inline(figure)))  # by matplotlib, which escapes what is written into it
        words = INSTRUMENTS[name].reading.replace("\n", " ")
        parts += [part("heading", name.capitalize()), part("paragraph", words, "quiet"), part("figure", drawn)]
    reading = (
        f"How answers come about, on images of the validation split; olhar inspect RUN {next(iter(story.drawings))} "
        "draws the same of others, with the numbers."
    )
    return Panel("inside", "From anchors to answers", reading, join(*parts))


def boxes_panel(story: Story) -> Panel | None:
    if not story.detected:
        return None
    reading = (
        f"Images of the {story.split_name} split drawn at random: as they are, with the true boxes, and with those the "
        "model gives."
    )
    return Panel("examples", "Examples", reading, strips(story, at_random(story, ROWS)))


def worst_boxes_panel(story: Story) -> Panel | None:
    if not story.detected:
        return None
    worst = np.argsort([one.f1 for one in errors_of(story)], kind="stable")[:ROWS].tolist()
    reading = (
        "The images with the lowest F1 of their boxes. Look for a kind of image that training lacks, and for objects "
        "that nobody drew a box around."
    )
    return Panel("mistakes", "Worst images", reading, strips(story, worst))


def classes_of(story: Story) -> range:
    return range(len(story.classes))


def curves_of(story: Story) -> Curves:
    return accumulate(by_class(story.boxes, len(story.classes)))


def errors_of(story: Story) -> list[Errors]:
    """Of each image, of the answers above the threshold."""
    threshold = story.get("task.settings.threshold", 0.5)
    return [errors(above(answers, threshold), truth) for answers, truth in story.boxes]


def strips(story: Story, indices: list[int]) -> Markup:
    """The colours of the classes; a row an image: itself, the truth, the answer, and how many boxes are right."""
    every, rows = errors_of(story), []
    for i, strip in zip(indices, story.strips(indices), strict=True):
        pictures = [(strip[key], word) for key, word in WORDS if key in strip]
        one = every[i]
        said = f"{one.counts['right']} of {plural(one.objects, 'object')} found, {plural(one.answers, 'answer')}"
        rows.append((story.predictions[i]["id"], said, pictures))
    colours = zip(story.classes, palette(story.classes), strict=True)
    named = Markup(" &ensp; ").join(swatch(*one) for one in list(colours)[:MOST_NAMED])
    return join(part("paragraph", named), part("strips", rows, False))
