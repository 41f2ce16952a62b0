"""How well a model does, measured over a whole split: names for torchmetrics' accumulators.

Every metric adds up over batches and over processes, so that each sample counts once; none is an average of
batch averages.
"""

import math
from collections.abc import Mapping

import torch
from jaxtyping import Float, Shaped
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.aggregation import MeanMetric
from torchmetrics.classification import (
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MultilabelAveragePrecision,
    MultilabelExactMatch,
    MultilabelF1Score,
)
from torchmetrics.functional.image import structural_similarity_index_measure
from torchmetrics.regression import MeanAbsoluteError, MeanSquaredError, R2Score

from olhar.data.sample import IGNORE

NO_ERROR = 100.0  # dB given to images without an error, whose PSNR is infinite


def results(metrics: Mapping[str, Metric]) -> dict[str, float]:
    """What metrics have come to, by name; one metric may tell several. What nothing was measured of (small objects,
    where there are none) is left out: JSON knows no NaN."""
    found: dict[str, float] = {}
    for name, metric in metrics.items():
        value = metric.compute()
        told = value if isinstance(value, dict) else {name: value}
        found |= {key: float(one) for key, one in told.items()}
    return {name: value for name, value in found.items() if not math.isnan(value)}


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


class SegmentationScores(MulticlassConfusionMatrix):
    """All figures of a segmentation from one confusion matrix over the whole set; unlabelled pixels are left out.

    Fed with class indices [N, H, W] and masks [N, H, W]. A class that is neither there nor predicted has no score and
    is left out of the means.
    """

    def __init__(self, num_classes: int):
        super().__init__(num_classes, ignore_index=IGNORE, validate_args=False)

    def compute(self) -> dict[str, Tensor]:  # type: ignore[override]
        return segmentation_scores(self.confmat)


def segmentation_scores(confusion: Shaped[Tensor, "K K"]) -> dict[str, Tensor]:
    """Figures of a confusion matrix whose rows are the truth: pixels of class i called class j."""
    pixels = confusion.double()
    right, there, said = pixels.diagonal(), pixels.sum(1), pixels.sum(0)
    nothing = torch.full_like(right, torch.nan)
    return {
        "miou": torch.where(there + said > 0, right / (there + said - right), nothing).nanmean(),
        "pixel_accuracy": right.sum() / pixels.sum(),
        "mean_precision": torch.where(said > 0, right / said, nothing).nanmean(),
        "mean_recall": torch.where(there > 0, right / there, nothing).nanmean(),
    }


def segmentation(num_classes: int) -> dict[str, Metric]:
    """The one metric tells mIoU, pixel accuracy, and the means of the classes' precision and recall."""
    return {"miou": SegmentationScores(num_classes)}


def reconstruction(corrupted: bool, variational: bool) -> dict[str, Metric]:
    """Means over the images of what `psnr` and `ssim` give each; bits of the latent a pixel for a variational one."""
    names = ["psnr", "ssim", *(["psnr_before"] if corrupted else [])]
    return {name: MeanMetric() for name in [*names, *(["latent_bits_per_pixel"] if variational else [])]}


def psnr(image: Shaped[Tensor, "N C H W"], clean: Shaped[Tensor, "N C H W"]) -> Float[Tensor, " N"]:
    """Peak signal-to-noise ratio of each image in dB, values of 0..255: 10 log10(255² / mean squared error)."""
    error = (image.float() - clean.float()).square().flatten(1).mean(1)
    return (10 * torch.log10(255**2 / error)).clamp_max(NO_ERROR)


def ssim(image: Shaped[Tensor, "N C H W"], clean: Shaped[Tensor, "N C H W"]) -> Float[Tensor, " N"]:
    """Structural similarity of each image, 1 for equal ones (Wang et al. 2004): Gaussian windows of 11 px, or even
    ones of 3 px where the image has no room for them."""
    large = min(image.shape[2:]) >= 16
    size = {"gaussian_kernel": large, "kernel_size": 11 if large else 3}
    value = structural_similarity_index_measure(
        image.float(), clean.float(), data_range=255.0, reduction="none", **size
    )
    assert isinstance(value, Tensor)
    return value.view(len(image))


def likeness(
    made: Shaped[Tensor, "N C H W"], clean: Shaped[Tensor, "N C H W"], before: Shaped[Tensor, "N C H W"] | None
) -> list[dict[str, float]]:
    """PSNR and SSIM of each image, and the PSNR of what it was made from."""
    columns = {"psnr": psnr(made, clean), "ssim": ssim(made, clean)}
    if before is not None:
        columns["psnr_before"] = psnr(before, clean)
    rows = zip(*(column.tolist() for column in columns.values()), strict=True)
    return [{name: round(value, 4) for name, value in zip(columns, row, strict=True)} for row in rows]


class LevelErrors(Metric):
    """The mean squared error of a denoiser, over all levels and over each quarter of them.

    Fed with errors [N] and levels [N] of `levels`.
    """

    NAMES = ("mse_least_noise", "mse_less_noise", "mse_more_noise", "mse_most_noise")
    sums: Tensor
    counts: Tensor

    def __init__(self, levels: int):
        super().__init__()
        self.levels = levels
        for name in ("sums", "counts"):
            self.add_state(name, torch.zeros(len(self.NAMES)), dist_reduce_fx="sum")  # mps has no float64

    def update(self, error: Float[Tensor, " N"], level: Shaped[Tensor, " N"]) -> None:
        quarter = level * len(self.NAMES) // self.levels
        self.sums.index_add_(0, quarter, error.float())
        self.counts.index_add_(0, quarter, torch.ones_like(error, dtype=torch.float32))

    def compute(self) -> dict[str, Tensor]:
        of_quarter = zip(self.NAMES, self.sums / self.counts, strict=True)
        return {"mse": self.sums.sum() / self.counts.sum(), **dict(of_quarter)}


def denoising(levels: int) -> dict[str, Metric]:
    """The one metric tells the error over all levels and over each quarter of them."""
    return {"mse": LevelErrors(levels)}
