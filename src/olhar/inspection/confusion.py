"""What is taken for what, and how well each class is found.

Shapes: N images, K classes, R samples.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int


def confusion_matrix(
    truth: Int[np.ndarray, "N"], predicted: Int[np.ndarray, "N"], num_classes: int
) -> Int[np.ndarray, "K K"]:
    """Counts: row the true class, column the predicted one."""
    index = truth * num_classes + predicted
    return np.bincount(index, minlength=num_classes**2).reshape(num_classes, num_classes)


@dataclass(frozen=True)
class ClassScore:
    """`precision`: share of what was called so that is so. `recall`: share of what is so that was called so.
    `f1`: their harmonic mean. NaN where a class was never called, or never occurs."""

    precision: float
    recall: float
    f1: float
    support: int


def class_scores(confusion: Int[np.ndarray, "K K"]) -> list[ClassScore]:
    """The scores of each class, one against the rest, from its confusion matrix."""
    hits, called, real = np.diag(confusion), confusion.sum(0), confusion.sum(1)
    return [score(int(h), int(c), int(r)) for h, c, r in zip(hits, called, real, strict=True)]


def score(hits: int, called: int, real: int) -> ClassScore:
    """From how often a class was called rightly, called at all, and real."""

    def share(part: int, whole: int) -> float:
        return part / whole if whole else float("nan")

    return ClassScore(share(hits, called), share(hits, real), share(2 * hits, called + real), real)


def intersection_over_union(confusion: Int[np.ndarray, "N K K"]) -> Float[np.ndarray, "N K"]:
    """Of each class: pixels that are it and were called so, over those that are either. NaN where there are none."""
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    either = confusion.sum(1) + confusion.sum(2) - hits
    return np.divide(hits, either, out=np.full(hits.shape, np.nan), where=either > 0)


def most_confused(confusion: Int[np.ndarray, "K K"], limit: int) -> list[tuple[int, int, int]]:
    """(true class, predicted class, times), the most frequent mistakes first."""
    mistakes = confusion - np.diag(np.diag(confusion))
    order = np.argsort(-mistakes, axis=None, kind="stable")[:limit]
    pairs = [(int(i), int(j)) for i, j in zip(*np.unravel_index(order, mistakes.shape), strict=True)]
    return [(i, j, int(mistakes[i, j])) for i, j in pairs if mistakes[i, j]]


def average_precision(
    truth: Int[np.ndarray, "N"], score: Float[np.ndarray, "N"], weight: Int[np.ndarray, "R N"] | None = None
) -> Float[np.ndarray, "R"]:
    """Area under the precision-recall curve as a step function: Σ (recall_i - recall_i-1) precision_i.

    `weight` counts each image so many times, in R samples at once (one, of each image once, without it). NaN
    where a sample has no positive.
    """
    counts = np.ones((1, len(truth)), dtype=int) if weight is None else weight
    order = np.argsort(-score, kind="stable")
    ends = np.append(np.flatnonzero(np.diff(score[order])), len(score) - 1)  # ties enter the curve together
    ranked = counts[:, order]
    hits = (ranked * truth[order]).cumsum(1)[:, ends]
    called = ranked.cumsum(1)[:, ends]
    precision = np.divide(hits, called, out=np.zeros(hits.shape), where=called > 0)
    with np.errstate(invalid="ignore"):
        recall = hits / hits[:, -1:]
    return (np.diff(recall, axis=1, prepend=0) * precision).sum(1)
