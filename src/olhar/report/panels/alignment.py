"""How well images and captions find each other, and who finds whom."""

import numpy as np
from markupsafe import Markup

from olhar.inspection.figure import inline
from olhar.inspection.instruments import INSTRUMENTS
from olhar.report.parts import join, part
from olhar.report.pictures import data_uri, lighter
from olhar.report.story import Panel, Story
from olhar.report.svg import picture, tag
from olhar.report.words import number, percent

WAYS = ("image_to_text", "text_to_image")
DARKEST = 0.5  # share of the ink in a square: darker, its number could not be read
PAIRS = 10  # on a side of the matrix: a page has room for no more captions
CELL, LEFT, TOP = 34, 40, 118  # of the matrix, in SVG's units: a square, a picture beside it, the captions above
LONGEST = 22  # letters of a caption above the matrix
ASKED, SHOWN, WORST = 6, 5, 12  # captions that look for images, images they find, images that are worst described


def recall_panel(story: Story) -> Panel | None:
    values = story.get(f"result.{story.split}", {})
    if story.task != "align" or "image_to_text_recall_1" not in values:
        return None
    rows = [
        [f"Recall at {k}", *(bar(values[f"{way}_recall_{k}"]) for way in WAYS), percent(values[f"recall_{k}_chance"])]
        for k in (1, 5, 10)
    ]
    medians = [number(values[f"{way}_median_rank"]) for way in WAYS]
    rows.append(["Median rank", *((0.0, median) for median in medians), ""])
    heads = [("", "text"), ("Images find captions", "bar"), ("Captions find images", "bar"), ("By chance", "number")]
    reading = (
        f"Of the {story.split_name} split every image asks for its caption among all captions, and every caption for "
        "its image. Recall at 5: how many find it among the five most similar. Half find it at the median rank or "
        "before."
    )
    if "mean_recall_before" in values:
        reading += (
            f" The nearest by their vectors are put in order by words that look at patches (Figure 4.2): without, the "
            f"mean recall is {percent(values['mean_recall_before'])}, with them {percent(values['mean_recall'])}."
        )
    return Panel("recall", "Finding each other", reading, part("table", heads, rows))


def bar(share: float) -> tuple[float, str]:
    return share, percent(share)


def matrix_panel(story: Story) -> Panel | None:
    view = story.match
    if view is None:
        return None
    chosen: list[int] = np.random.default_rng(0).permutation(len(view.ids))[:PAIRS].tolist()
    pictures = story.images([view.ids[i] for i in chosen])
    cosines = view.cosines[np.ix_(chosen, chosen)]
    low, high = float(cosines.min()), float(max(cosines.max(), cosines.min() + 1e-6))
    parts = []
    for row, i in enumerate(chosen):
        y = TOP + row * CELL
        if shown := pictures[row]:
            parts.append(tag("image", href=data_uri(shown["image"]), x=0, y=y + 1, width=CELL - 2, height=CELL - 2))
        text = view.captions[i] if len(view.captions[i]) <= LONGEST else view.captions[i][: LONGEST - 1] + "…"
        x = LEFT + row * CELL + CELL / 2
        parts.append(tag("text", text, x=x, y=float(TOP - 6), transform=f"rotate(-40 {x:.1f} {TOP - 6})"))
        for column, value in enumerate(cosines[row]):
            at = {"x": LEFT + column * CELL + 1, "y": y + 1, "width": CELL - 2, "height": CELL - 2, "rx": 3}
            parts.append(
                tag("rect", class_="fill", fill_opacity=float(0.04 + DARKEST * (value - low) / (high - low)), **at)
            )
            parts.append(
                tag("text", f"{value:.2f}", x=at["x"] + CELL / 2 - 1, y=y + CELL / 2 + 3.0, text_anchor="middle")
            )
            if row == column:
                parts.append(tag("rect", class_="frame", fill="none", stroke="currentColor", **at))
    side = len(chosen) * CELL
    label = "Cosines of images and captions, those that belong together on the diagonal"
    drawn = picture(LEFT + side + 70, TOP + side, label, Markup("").join(parts))
    reading = (
        f"Pairs of the {story.split_name} split drawn at random; each number is the cosine of an image with a caption "
        "(Figure 4.3). Rows and columns should be darkest on the diagonal, which is framed."
    )
    return Panel("matrix", "Similarity", reading, part("figure", drawn))


def retrieval_panel(story: Story) -> Panel | None:
    view = story.match
    if view is None:
        return None
    asked: list[int] = np.random.default_rng(1).permutation(len(view.ids))[:ASKED].tolist()
    rows = []
    for i in asked:
        best: list[int] = np.argsort(-view.cosines[:, i], kind="stable")[:SHOWN].tolist()
        shown = zip(best, story.images([view.ids[j] for j in best]), strict=True)
        found = [(data_uri(p["image"]), f"{view.cosines[j, i]:.2f}{' ✓' if j == i else ''}") for j, p in shown if p]
        rows.append((view.ids[i], view.captions[i], found))
    ranks = view.ranks()
    worst: list[int] = np.argsort(-ranks, kind="stable")[:WORST].tolist()
    items = []
    for i, shown in zip(worst, story.images([view.ids[i] for i in worst]), strict=True):
        said = view.captions[int(view.cosines[i].argmax())]
        lines = [(said, "said"), (f"is “{view.captions[i]}”, found in place {ranks[i]:.0f}", "quiet")]
        uri = data_uri(shown["image"]) if shown else None
        items.append({"uri": uri, "name": view.ids[i], "right": bool(ranks[i] == 1), "share": None, "lines": lines})
    reading = (
        f"Captions of the {story.split_name} split drawn at random, and the images most similar to each; ✓ is the one "
        "it was written for. Below, the images whose own caption is found last: look for captions that name what "
        "cannot be seen."
    )
    body = join(part("strips", rows, False), part("heading", "Worst described"), part("pictures", items, False))
    return Panel("retrievals", "Searches", reading, body)


def words_panel(story: Story) -> Panel | None:
    figure = story.drawings.get("words")
    if story.task != "align" or figure is None:
        return None
    reading = f"{INSTRUMENTS['words'].reading} Of the validation split (Figure 4.2)."
    return Panel("words", "Where words look", reading, part("figure", Markup(lighter(inline(figure)))))
