"""The figures of the tour, and what they are expected to reach: the one table to edit when they are measured again.

Each range is wide enough for a machine that is slower, and out of reach of a model that does not learn.
"""

import math
from typing import NamedTuple

from olhar.report.words import metric_value, number


class Expected(NamedTuple):
    """One figure.

    Args:
        words: what it is.
        form: how it is written: the name of a metric, as `olhar.report.words.metric_value` takes it.
        full: the least and the most that a tour of eight minutes reaches.
        quick: the same of a quick tour, which learns as much on any machine.
    """

    words: str
    form: str
    full: tuple[float, float]
    quick: tuple[float, float]

    def range(self, quick: bool) -> tuple[float, float]:
        return self.quick if quick else self.full

    def holds(self, value: float | None, quick: bool) -> bool:
        """Whether a figure lies where it is expected to."""
        low, high = self.range(quick)
        return value is not None and low <= value <= high

    def say(self, value: float | None) -> str:
        """A figure as people read it."""
        return "–" if value is None else metric_value(self.form, value) if self.form else number(value)

    def said_range(self, quick: bool) -> str:
        """What is expected, in words: at least 90%, at most 3, 0.299 to 0.301."""
        low, high = self.range(quick)
        if high == math.inf:
            return f"at least {self.say(low)}"
        return f"at most {self.say(high)}" if low == 0 else f"{self.say(low)} to {self.say(high)}"


ANY = math.inf
EXACT = (0.299, 0.301)
CLOSE = (0.0, 1e-4)

# chapter -> name of the figure -> what is expected; the first of a chapter is its headline.
EXPECTED: dict[str, dict[str, Expected]] = {
    "likelihood": {
        "p1": Expected("likeliest probability of a 1", "", EXACT, EXACT),
        "gap": Expected("descent from the closed form", "", CLOSE, CLOSE),
    },
    "gradient": {"gap": Expected("difference from torch's gradient", "", CLOSE, CLOSE)},
    "regress": {
        "mae": Expected("mean error, % of the side", "", (0, 3.5), (0, 7)),
        "gap": Expected("descent from the closed form", "", CLOSE, CLOSE),
    },
    "logistic": {"accuracy": Expected("test accuracy", "accuracy", (0.9, ANY), (0.85, ANY))},
    "classify": {"accuracy": Expected("test accuracy", "accuracy", (0.96, ANY), (0.9, ANY))},
    "segment": {"miou": Expected("mean IoU", "miou", (0.4, ANY), (0.18, ANY))},
    "reconstruct": {"psnr": Expected("PSNR", "psnr", (18, ANY), (16, ANY))},
    "detect": {"ap50": Expected("average precision at IoU 0.5", "ap50", (0.2, ANY), (0.1, ANY))},
    "attention": {"accuracy": Expected("test accuracy", "accuracy", (0.7, ANY), (0.5, ANY))},
    "align": {"mean_recall": Expected("mean recall at 1, 5 and 10", "mean_recall", (0.25, ANY), (0.2, ANY))},
    "diffuse": {
        "mse": Expected("squared error of the prediction", "", (0, 0.35), (0, 0.6)),
        "colors": Expected("colours as told, by the model that comes along", "accuracy", (0.75, ANY), (0.7, ANY)),
    },
}
