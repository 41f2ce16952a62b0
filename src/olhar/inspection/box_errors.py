"""In which way the answers of a detector are wrong (after Bolya et al. 2020, arXiv 2008.08115), each in one way alone.

Shapes: n answers and m objects of one image.
"""

from collections import Counter
from dataclasses import dataclass

import numpy as np

from olhar.metrics_detection import Answers, Truth, overlaps

FOUND, NEAR = 0.5, 0.1  # IoU from which on an object is found, and from which on an answer means it
KINDS = ("right", "missed", "wrong class", "badly placed", "duplicate", "background")


@dataclass(frozen=True)
class Errors:
    """How often each of KINDS occurs; `objects` to find; `answers` that count."""

    counts: dict[str, int]
    objects: int
    answers: int

    @property
    def f1(self) -> float:
        """Of one image; 1 where there is nothing and nothing was said."""
        asked = self.objects + self.answers
        return 2 * self.counts["right"] / asked if asked else 1.0


def above(answers: Answers, threshold: float) -> Answers:
    """The answers whose score reaches the threshold."""
    kept = answers.scores > threshold
    return Answers(answers.boxes[kept], answers.scores[kept], answers.labels[kept])


def errors(answers: Answers, truth: Truth) -> Errors:
    """Every answer of an image by its kind, the surest first, and the objects that no answer means.

    right: of the class of an object, and on it. duplicate: the same of one that was found already. wrong class: on an
    object of another class. badly placed: of its class, and only near it. background: all other. An object is missed
    where no answer is right, of the wrong class or badly placed for it. What lies on an ignored object counts nowhere.
    """
    iou = overlaps(answers.boxes.astype(float), truth.boxes.astype(float), truth.ignored)
    counts: Counter[str] = Counter()
    meant: set[int] = set()
    taken: set[int] = set()
    asked = ~truth.ignored
    for i in np.argsort(-answers.scores, kind="stable").tolist():
        alike = truth.labels == answers.labels[i]
        free = np.array([j not in taken for j in range(len(asked))], bool)
        kinds = (
            ("right", alike & asked & free, FOUND),
            ("duplicate", alike & asked, FOUND),
            ("ignored", ~asked, FOUND),
            ("wrong class", ~alike & asked, FOUND),
            ("badly placed", alike & asked, NEAR),
        )
        for kind, which, least in kinds:
            value = np.where(which, iou[i], -1)
            if len(value) and value.max() >= least:
                counts[kind] += 1
                meant.add(int(value.argmax()))
                if kind == "right":
                    taken.add(int(value.argmax()))
                break
        else:
            counts["background"] += 1
    counts["missed"] = sum(j not in meant for j in np.flatnonzero(asked).tolist())
    ignored = counts.pop("ignored", 0)
    return Errors({kind: counts[kind] for kind in KINDS}, int(asked.sum()), len(answers.scores) - ignored)
