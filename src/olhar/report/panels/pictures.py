"""Pictures with what the model says of them: at random, and its most confident mistakes."""

from typing import Any

import numpy as np

from olhar.report.parts import part
from olhar.report.pictures import TINY
from olhar.report.story import Panel, Story
from olhar.report.words import number, percent

# Full rows of 8, 6, 4 and 3, as the page may show them.
EXAMPLES = 24
MISTAKES = 24


def is_tiny(story: Story) -> bool:
    """Images that are shown as their pixels."""
    return max(story.get("model.image_size", [TINY + 1])) <= TINY


def at_random(story: Story, count: int) -> list[int]:
    """Some predictions, always the same for a run."""
    n = len(story.predictions)
    return np.random.default_rng(0).permutation(n)[:count].tolist()


def any_pictures(story: Story, count: int) -> list[str | None]:
    """What shows best what a run is about: images, or where answers are pictures too the answers among them."""
    chosen = at_random(story, count)
    both = zip(story.pictures(chosen), story.pictures(chosen, "prediction"), strict=True)
    return [said if said and i % 2 else image for i, (image, said) in enumerate(both)]


def examples_panel(story: Story) -> Panel | None:
    if not (story.classified or story.labelled or story.regressed):
        return None
    reading = (
        f"Images of the {story.split_name} split drawn at random, neither the best nor the worst. The bar is the "
        "probability the model gave its answer; orange answers are wrong."
    )
    if story.regressed:
        reading = (
            f"Images of the {story.split_name} split drawn at random: what the model reads off them, and the truth."
        )
    return Panel("examples", "Examples", reading, gallery(story, at_random(story, EXAMPLES)))


def mistakes(story: Story) -> list[int]:
    """All wrong answers about classes, the one the model was surest of first."""
    if story.classified:
        wrong = np.flatnonzero(story.truth != story.predicted)
        sure = story.probabilities.max(1)[wrong]
    elif story.labelled:
        # how sure the model was of the worst of its answers
        wrong_by = np.abs(story.probabilities - story.truth)
        wrong = np.flatnonzero((story.truth != story.predicted).any(1))
        sure = wrong_by.max(1)[wrong]
    else:
        return []
    return wrong[np.argsort(-sure, kind="stable")].tolist()


def mistakes_panel(story: Story) -> Panel | None:
    if not (story.classified or story.labelled):
        return None
    wrong = mistakes(story)
    if not wrong:
        return Panel("mistakes", "Mistakes", "", part("paragraph", "There is not one on this split."))
    reading = (
        f"Of {len(wrong):,} mistakes on {len(story.predictions):,} images, those the model was surest of. Many are "
        "wrong labels or images a person would doubt: look at these before you change the model."
    )
    return Panel("mistakes", "Most confident mistakes", reading, gallery(story, wrong[:MISTAKES]))


def gallery(story: Story, indices: list[int]):
    items = [
        describe(story, i) | {"uri": uri, "name": story.predictions[i]["id"]}
        for i, uri in zip(indices, story.pictures(indices), strict=True)
    ]
    return part("pictures", items, is_tiny(story))


def describe(story: Story, index: int) -> dict[str, Any]:
    """What stands under a picture."""
    row = story.predictions[index]
    if story.task == "regress":
        spread = f" ± {number(row['deviation'])}" if row.get("deviation") is not None else ""
        lines = [(f"{number(row['value'])}{spread}", "said"), (f"truth {number(row['truth'])}", "quiet")]
        return {"right": None, "share": None, "lines": lines}
    if story.multilabel:
        said, truth = set(row["labels"]), set(row["truth"])
        lines = [(", ".join(row["labels"]) or "no label", "said")]
        lines += [(f"missed {name}", "quiet") for name in sorted(truth - said)]
        lines += [(f"not {name}", "quiet") for name in sorted(said - truth)]
        return {"right": said == truth, "share": None, "lines": lines}
    right = row["label"] == row["truth"]
    lines = [(f"{row['label']} · {percent(row['probability'], 0)}", "said")]
    if not right:
        lines.append((f"truth {row['truth']}", "quiet"))
    return {"right": right, "share": row["probability"], "lines": lines}
