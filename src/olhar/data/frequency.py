"""How often each class occurs, and what rare ones have to weigh.

Shapes: K classes.
"""

from collections.abc import Sequence

from olhar.data.masks import pixel_counts
from olhar.data.sample import Collection

BETA = 0.99  # of the effective number of pixels: a class of a tenth of them weighs half of what a rare one does


def class_weights(collection: Collection) -> list[float]:
    """Inverse frequencies, scaled so that their mean over the training images is 1.

    For several labels an image: how much an occurrence weighs, the absences over the occurrences of its label.
    """
    counts = class_counts(collection, "train")
    n, k = len(collection.split("train")), len(counts)
    if collection.multilabel:
        return [(n - c) / c if c else 1.0 for c in counts]
    return [n / (k * c) if c else 0.0 for c in counts]


def pixel_weights(counts: Sequence[int], how: str) -> list[float] | None:
    """A weight a class by how many of the training pixels it has, scaled so that their mean over the pixels is 1.

    "none": all weigh alike, None. "balanced": inverse frequencies, bounded so that a class of a few pixels does not
    drown the rest. "effective": inverse effective numbers, (1 - β) / (1 - βⁿ) with n in thousandths of the pixels
    (Cui et al. 2019, arXiv 1901.05555).
    """
    if how in ("auto", "none"):
        return None
    total = sum(counts)
    shares = [count / total for count in counts]
    if how == "balanced":
        raw = [1 / max(share, 1e-3) for share in shares]
    else:
        raw = [(1 - BETA) / (1 - BETA ** (1 + 1000 * share)) for share in shares]
    mean = sum(share * weight for share, weight in zip(shares, raw, strict=True))
    return [weight / mean for weight in raw]


def class_counts(collection: Collection, split: str) -> list[int]:
    """Images of each class in a split; for several labels, images that have each label; for masks, pixels; for boxes,
    objects."""
    if collection.task == "segment":
        return pixel_counts(collection.split(split), len(collection.class_names))
    counts = [0] * len(collection.class_names)
    for record in collection.split(split):
        for k in next((some for some in (record.box_labels, record.labels) if some is not None), (record.label,)):
            if k is not None:
                counts[k] += 1
    return counts
