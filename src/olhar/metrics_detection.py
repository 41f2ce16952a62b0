"""How well objects are found: COCO's average precision, to the digits of its own program, in numpy.

An answer is right where it has the class of an object that no surer answer took, and an IoU with it of at least a
threshold; COCO averages over the ten thresholds 0.5, 0.55 ... 0.95, over classes, and over 101 recalls.

Shapes: T thresholds of the IoU, S ranges of size, n answers and m objects of one image and class, R recalls, K
classes, D answers of one class over all images.
"""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

THRESHOLDS = np.linspace(0.5, 0.95, 10)
RECALLS = np.linspace(0, 1, 101)
# Areas in pixels of the image as it came: COCO calls objects below 32 x 32 small and those above 96 x 96 large.
SIZES: dict[str, tuple[float, float]] = {
    "all": (0, 1e10),
    "small": (0, 32**2),
    "medium": (32**2, 96**2),
    "large": (96**2, 1e10),
}
MOST_ANSWERS = 100  # of one class in one image, the surest: COCO looks at no more


@dataclass(frozen=True)
class Answers:
    """What was found in one image. Boxes are x0 y0 x1 y1 in its pixels."""

    boxes: Float[np.ndarray, "n 4"]
    scores: Float[np.ndarray, " n"]
    labels: Int[np.ndarray, " n"]


@dataclass(frozen=True)
class Truth:
    """What is in one image. `ignored` objects need not be found, and what lies on them is no mistake (crowds)."""

    boxes: Float[np.ndarray, "m 4"]
    labels: Int[np.ndarray, " m"]
    ignored: Bool[np.ndarray, " m"]


def as_plain(boxes: Answers | Truth) -> dict[str, Any]:
    """As lists, to be written to a file; coordinates to a hundredth of a pixel."""
    values = {"boxes": [[round(v, 2) for v in box] for box in boxes.boxes.tolist()], "labels": boxes.labels.tolist()}
    if isinstance(boxes, Truth):
        return values | {"ignored": boxes.ignored.tolist()}
    return values | {"scores": [round(score, 5) for score in boxes.scores.tolist()]}


def answers_from(values: dict[str, Any]) -> Answers:
    """The inverse of `as_plain`, as far as it keeps them."""
    boxes, labels = np.array(values["boxes"], float).reshape(-1, 4), np.array(values["labels"], int)
    return Answers(boxes, np.array(values["scores"], float), labels)


def truth_from(values: dict[str, Any]) -> Truth:
    """The inverse of `as_plain`, as far as it keeps them."""
    boxes, labels = np.array(values["boxes"], float).reshape(-1, 4), np.array(values["labels"], int)
    return Truth(boxes, labels, np.array(values["ignored"], bool))


@dataclass(frozen=True)
class Matches:
    """The answers of one class in one image, the surest first.

    hit: at each size and threshold, whether an object was found. counts: whether the answer counts at all there.
    objects: how many objects of each size there are to find.
    """

    scores: Float[np.ndarray, " n"]
    hit: Bool[np.ndarray, "S T n"]
    counts: Bool[np.ndarray, "S T n"]
    objects: Int[np.ndarray, " S"]


def overlaps(
    a: Float[np.ndarray, "n 4"], b: Float[np.ndarray, "m 4"], crowd: Bool[np.ndarray, " m"]
) -> Float[np.ndarray, "n m"]:
    """IoU of all pairs; with a crowd the share of the answer that lies in it."""
    low, high = np.maximum(a[:, None, :2], b[:, :2]), np.minimum(a[:, None, 2:], b[:, 2:])
    shared = (high - low).clip(0).prod(-1)
    own, other = (a[:, 2:] - a[:, :2]).prod(-1)[:, None], (b[:, 2:] - b[:, :2]).prod(-1)
    together = np.where(crowd, own, own + other - shared)
    return np.divide(shared, together, out=np.zeros_like(shared), where=together > 0)


def match(answers: Answers, truth: Truth) -> Matches:
    """Answers and objects of one class in one image, each answer with the free object it overlaps most, surest first.

    As COCO has it: objects of another size than asked for are like ignored ones, and are only taken where no object
    that counts is left; an answer of another size that takes none does not count.
    """
    limits = np.array(list(SIZES.values()))
    order = np.argsort(-answers.scores, kind="stable")[:MOST_ANSWERS]
    boxes, scores = answers.boxes[order].astype(float), answers.scores[order]
    real = truth.boxes.astype(float)

    def outside(areas: np.ndarray) -> np.ndarray:
        return (areas < limits[:, :1]) | (areas > limits[:, 1:])

    ignored = truth.ignored | outside((real[:, 2:] - real[:, :2]).prod(-1))
    hit = np.zeros((len(limits), len(THRESHOLDS), len(boxes)), bool)
    unasked = np.zeros_like(hit)
    free = np.ones((len(limits), len(THRESHOLDS), len(real)), bool)
    # an object that counts is preferred to any that does not: 2 is more than any overlap
    preference = np.where(ignored, 0, 2)[:, None]
    size, threshold = np.ogrid[: len(limits), : len(THRESHOLDS)]
    if len(real):
        for i, overlap in enumerate(overlaps(boxes, real, truth.ignored)):
            possible = (overlap >= np.minimum(THRESHOLDS, 1 - 1e-10)[:, None]) & (free | truth.ignored)
            if not possible.any():
                continue
            value = np.where(possible, overlap + preference, -1)
            best = len(real) - 1 - value[..., ::-1].argmax(-1)  # of equals COCO takes the last
            found = possible[size, threshold, best]
            hit[..., i] = found
            unasked[..., i] = found & ignored[size, best]
            free[size, threshold, best] &= ~found
    unasked |= ~hit & outside((boxes[:, 2:] - boxes[:, :2]).prod(-1))[:, None]
    return Matches(scores, hit & ~unasked, ~unasked, (~ignored).sum(1))


@dataclass(frozen=True)
class Curves:
    """precision: the greatest at each recall or beyond, 0 where it is not reached. recall: the greatest. NaN where
    there is no object to find. scores: how sure the answers are at each recall."""

    precision: Float[np.ndarray, "S T R K"]
    recall: Float[np.ndarray, "S T K"]
    scores: Float[np.ndarray, "S T R K"]

    def average_precision(self, size: str = "all", threshold: float | None = None, label: int | None = None) -> float:
        """The mean over recalls, classes and thresholds, or of one of them; NaN where there is nothing to find."""
        chosen = self.precision[list(SIZES).index(size)]
        if threshold is not None:
            chosen = chosen[np.isclose(THRESHOLDS, threshold)]
        values = chosen if label is None else chosen[..., label]
        known = values[~np.isnan(values)]
        return float(known.mean()) if len(known) else float("nan")


def accumulate(matches: Sequence[Sequence[Matches]]) -> Curves:
    """Precision and recall of each class over all images; `matches` holds those of each class."""
    shape = (len(SIZES), len(THRESHOLDS), len(RECALLS), len(matches))
    precision, scores = np.full(shape, np.nan), np.full(shape, np.nan)
    recall = np.full((*shape[:2], len(matches)), np.nan)
    for k, own in enumerate(matches):
        if not own:
            continue
        objects = np.sum([m.objects for m in own], axis=0)
        score = np.concatenate([m.scores for m in own])
        order = np.argsort(-score, kind="stable")
        hit = np.concatenate([m.hit for m in own], axis=-1)[..., order]
        counts = np.concatenate([m.counts for m in own], axis=-1)[..., order]
        for s in np.flatnonzero(objects):
            for t in range(len(THRESHOLDS)):
                p, r, at = curve(hit[s, t], counts[s, t], score[order], int(objects[s]))
                precision[s, t, :, k], recall[s, t, k], scores[s, t, :, k] = p, r, at
    return Curves(precision, recall, scores)


def curve(
    hit: Bool[np.ndarray, " D"], counts: Bool[np.ndarray, " D"], score: Float[np.ndarray, " D"], objects: int
) -> tuple[Float[np.ndarray, " R"], float, Float[np.ndarray, " R"]]:
    """Precision at each recall, the greatest recall, and the score at each recall; answers are the surest first."""
    hits, called = hit.cumsum(), counts.cumsum()
    recall = hits / objects
    precision = hits / (called + np.spacing(1))
    precision = np.maximum.accumulate(precision[::-1])[::-1]
    place = np.searchsorted(recall, RECALLS)
    reached = place < len(recall)
    out, at = np.zeros(len(RECALLS)), np.zeros(len(RECALLS))
    out[reached], at[reached] = precision[place[reached]], score[place[reached]]
    return out, float(recall[-1]) if len(recall) else 0.0, at


def by_class(images: Iterable[tuple[Answers, Truth]], num_classes: int) -> list[list[Matches]]:
    """The matches of every image in which a class was answered or is true, class by class."""
    found: list[list[Matches]] = [[] for _ in range(num_classes)]
    for answers, truth in images:
        for k in np.union1d(answers.labels, truth.labels).astype(int).tolist():
            a, t = answers.labels == k, truth.labels == k
            own = Answers(answers.boxes[a], answers.scores[a], answers.labels[a])
            found[k].append(match(own, Truth(truth.boxes[t], truth.labels[t], truth.ignored[t])))
    return found


def best_threshold(matches: Sequence[Sequence[Matches]]) -> tuple[float, float]:
    """The score above which answers, right at an IoU of 0.5, have the greatest F1 over all classes; and that F1.

    The score lies half-way to the next lower one, so that equal answers stay on one side. Without any right answer
    1/2, and 0.
    """
    every = [m for own in matches for m in own]
    objects = sum(int(m.objects[0]) for m in every)
    score = np.concatenate([m.scores[m.counts[0, 0]] for m in every]) if every else np.zeros(0)
    hit = np.concatenate([m.hit[0, 0][m.counts[0, 0]] for m in every]) if every else np.zeros(0, bool)
    if not hit.any():
        return 0.5, 0.0
    order = np.argsort(-score, kind="stable")
    score, hits = score[order], hit[order].cumsum()
    f1 = 2 * hits / (np.arange(1, len(hits) + 1) + objects)
    ends = np.append(np.flatnonzero(np.diff(score)), len(score) - 1)
    best = int(ends[f1[ends].argmax()])
    lower = score[best + 1] if best + 1 < len(score) else 0.0
    return float((score[best] + lower) / 2), float(f1[best])


class BoxPrecision(Metric):
    """COCO's figures as one metric, whose `compute` gives a dict: ap, ap50, ap75, ap_small, ap_medium, ap_large,
    recall (the greatest, with 100 answers), threshold and f1 (see `best_threshold`).

    Figures of sizes that do not occur are NaN. States are lists of rows, so that they add up over processes.
    """

    full_state_update = False
    answers: list[Tensor]
    answer_images: list[Tensor]
    truths: list[Tensor]
    truth_images: list[Tensor]

    def __init__(self, num_classes: int):
        super().__init__()
        self.num_classes = num_classes
        self.images = 0
        for name in ("answers", "answer_images", "truths", "truth_images"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, answers: Sequence[Answers], truths: Sequence[Truth]) -> None:
        """Add the images of one batch."""
        rank = torch.distributed.get_rank() if torch.distributed.is_initialized() else 0
        for found, real in zip(answers, truths, strict=True):
            number = self.images + (rank << 40)  # no image of one process has the number of another's
            self.images += 1
            for rows, where, columns in (
                (self.answers, self.answer_images, (found.boxes, found.scores, found.labels)),
                (self.truths, self.truth_images, (real.boxes, real.ignored, real.labels)),
            ):
                values = np.column_stack(columns).astype(np.float32)
                rows.append(torch.from_numpy(values).to(self.device))
                where.append(torch.full((len(values),), number, device=self.device))

    def pairs(self) -> list[tuple[Answers, Truth]]:
        """Answers and truth of every image that has any of them."""
        answers, truths = _rows(self.answers, self.answer_images), _rows(self.truths, self.truth_images)
        return [
            (
                Answers(a[:, :4], a[:, 4], a[:, 5].astype(int)),
                Truth(t[:, :4], t[:, 5].astype(int), t[:, 4].astype(bool)),
            )
            for a, t in ((answers[image], truths[image]) for image in sorted(answers.keys() | truths.keys()))
        ]

    def matches(self) -> list[list[Matches]]:
        return by_class(self.pairs(), self.num_classes)

    def compute(self) -> dict[str, float]:
        matches = self.matches()
        curves = accumulate(matches)
        threshold, f1 = best_threshold(matches)
        recall = curves.recall[0]
        return {
            "ap": curves.average_precision(),
            "ap50": curves.average_precision(threshold=0.5),
            "ap75": curves.average_precision(threshold=0.75),
            **{f"ap_{size}": curves.average_precision(size) for size in ("small", "medium", "large")},
            "recall": float(np.nanmean(recall)) if not np.isnan(recall).all() else float("nan"),
            "threshold": threshold,
            "f1": f1,
        }


def _rows(values: list[Tensor] | Tensor, images: list[Tensor] | Tensor) -> dict[int, np.ndarray]:
    """Rows of 6 numbers by the image they belong to; after a sync both are one tensor."""
    found: dict[int, np.ndarray] = defaultdict(lambda: np.zeros((0, 6), np.float32))
    if len(values):
        table, number = dim_zero_cat(values).cpu().numpy(), dim_zero_cat(images).cpu().numpy()
        order = np.argsort(number, kind="stable")
        ids, starts = np.unique(number[order], return_index=True)
        found.update(zip(ids.tolist(), np.split(table[order], starts)[1:], strict=True))
    return found
