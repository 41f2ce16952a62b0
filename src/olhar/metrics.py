"""How well a model does, measured over a whole split: names for torchmetrics' accumulators.

Every metric adds up over batches and over processes, so that each sample counts once; none is an average of
batch averages.
"""

from torchmetrics import Metric
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassF1Score,
    MultilabelAveragePrecision,
    MultilabelExactMatch,
    MultilabelF1Score,
)
from torchmetrics.regression import MeanAbsoluteError, MeanSquaredError, R2Score


def classification(num_classes: int) -> dict[str, Metric]:
    """Fed with probabilities [N, K] and labels [N]. Top-5 is only told apart from top-1 with many classes."""
    metrics: dict[str, Metric] = {
        "accuracy": MulticlassAccuracy(num_classes, average="micro", validate_args=False),
        "balanced_accuracy": MulticlassAccuracy(num_classes, average="macro", validate_args=False),
        "f1": MulticlassF1Score(num_classes, average="macro", validate_args=False),
    }
    if num_classes > 20:
        metrics["top5"] = MulticlassAccuracy(num_classes, top_k=5, average="micro", validate_args=False)
    return metrics


def multilabel(num_labels: int) -> dict[str, Metric]:
    """Fed with probabilities [N, K] and labels [N, K] of 0 and 1."""
    return {
        "mean_average_precision": MultilabelAveragePrecision(num_labels, average="macro", validate_args=False),
        "f1": MultilabelF1Score(num_labels, average="macro", validate_args=False),
        "exact_match": MultilabelExactMatch(num_labels, validate_args=False),
    }


def regression() -> dict[str, Metric]:
    """Fed with predicted and true values [N], in the units of the target."""
    return {"mae": MeanAbsoluteError(), "rmse": MeanSquaredError(squared=False), "r2": R2Score()}
