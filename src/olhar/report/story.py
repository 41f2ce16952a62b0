"""What a run folder tells: its files read once, for every panel of the report.

All but run.json may be missing or stop in the middle: a run that was interrupted has a report too.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from torch import Tensor

from olhar.errors import UserError
from olhar.inspection.network import NetworkTable
from olhar.metrics_detection import Answers, Truth, answers_from, truth_from
from olhar.report.pictures import data_uri

# ids of images -> what is shown of each side by side, by name, uint8 [C, H, W]; None where a file is gone
Images = Callable[[list[str]], Sequence[Mapping[str, Tensor] | None]]
# ids of mistakes -> what instruments drew, as SVG by their names; None where there was no time
Drawings = Callable[[list[str]], Mapping[str, str | None]]
NAMES = {
    "miou": "mean IoU",
    "mean_recall": "mean recall at 1, 5 and 10",
    "ap": "average precision",
    "ap50": "average precision at IoU 0.5",
    "ap75": "average precision at IoU 0.75",
    "mse": "mean squared error",
    "psnr": "PSNR",
    "psnr_before": "PSNR before",
    "ssim": "SSIM",
    "mae": "mean absolute error",
    "rmse": "root mean squared error",
    "r2": "R²",
    "f1": "F1",
    "top5": "top-5 accuracy",
}


@dataclass(frozen=True)
class Panel:
    """One section of the report. `reading`: two lines on how to read it."""

    id: str
    title: str
    reading: str
    body: Markup


@dataclass(frozen=True)
class LatentView:
    """Rows of decoded images between two of the data; places on the map [N, 2], the images there, and the share of the
    latents' variance that the map shows."""

    ways: Sequence[Sequence[Tensor]]
    places: np.ndarray
    images: Sequence[Tensor]
    explained: float


@dataclass(frozen=True)
class MatchView:
    """Pairs of a split: their ids, a caption each, and cosines [n, n] of every image (row) with every caption."""

    ids: Sequence[str]
    captions: Sequence[str]
    cosines: np.ndarray

    def ranks(self) -> np.ndarray:
        """Of each image the place of its own caption, or of one that says the same, among the captions [n]."""
        keys = np.unique(np.array(self.captions), return_inverse=True)[1]
        same = keys[:, None] == keys[None]
        own = np.where(same, self.cosines, -np.inf).max(1, keepdims=True)
        return 1 + ((self.cosines > own) & ~same).sum(1)


@dataclass(frozen=True)
class Moment:
    """What a run drew when it had trained for `seconds`, `epoch` passes over its data: images, and what each shows."""

    epoch: float
    seconds: float
    images: Sequence[Tensor]
    texts: Sequence[str | None]


@dataclass(frozen=True)
class Near:
    """What some drawn images were asked for, the images, and the training images nearest to them with how far they are:
    the root mean square of the differences of pixels in [0, 1]."""

    found: Sequence[tuple[str | None, Tensor, Sequence[tuple[Tensor, float]]]]
    searched: int  # training images
    usual: float  # how far the middle one of the validation images is from the nearest of them


@dataclass(frozen=True)
class Samples:
    """What a run drew: the same at some moments of its training; more in the end, with what was asked for; of some of
    these the way they came, from noise on; and what of the training they are like."""

    grown: Sequence[Moment]
    last: Sequence[tuple[str | None, Tensor]]
    strips: Sequence[tuple[str | None, Sequence[Tensor]]]
    near: Near | None = None


@dataclass(frozen=True)
class Story:
    """A run. `facts` is run.json; `train`, `val`, `events` are the lines of metrics.jsonl by their kind.

    `predictions` are the lines of evaluation/<split>.jsonl, of the test split if there is one, else of validation.
    `images` gives the pictures of some ids: see Images.
    """

    run: Path
    facts: dict[str, Any]
    config: str
    train: list[dict[str, Any]]
    val: list[dict[str, Any]]
    events: list[dict[str, Any]]
    split: str
    predictions: list[dict[str, Any]]
    images: Images
    network: NetworkTable | None
    latent: LatentView | None = None
    drawings: Drawings | None = None
    match: MatchView | None = None
    samples: Samples | None = None

    def get(self, path: str, default: Any = None) -> Any:
        """A fact by its dotted path: get("model.parameters")."""
        value: Any = self.facts
        for key in path.split("."):
            value = value.get(key) if isinstance(value, dict) else None
        return default if value is None else value

    @property
    def task(self) -> str:
        return self.get("task.name", "")

    @property
    def multilabel(self) -> bool:
        return bool(self.get("data.multilabel", False))

    @property
    def classes(self) -> list[str]:
        return self.get("data.class_names", [])

    @property
    def watch(self) -> str:
        """The metric by which the best weights were chosen."""
        return self.get("watch", "loss")

    @cached_property
    def class_index(self) -> dict[str, int]:
        return {name: i for i, name in enumerate(self.classes)}

    @cached_property
    def truth(self) -> np.ndarray:
        """Of each prediction: class index [N]; for several labels an image 0 or 1 [N, K]; the number [N]."""
        if self.task == "regress":
            return np.array([row["truth"] for row in self.predictions], dtype=float)
        if not self.multilabel:
            return np.array([self.class_index[row["truth"]] for row in self.predictions], dtype=int)
        return np.array([[name in row["truth"] for name in self.classes] for row in self.predictions], dtype=int)

    @cached_property
    def probabilities(self) -> np.ndarray:
        """[N, K]."""
        return np.array([row["probabilities"] for row in self.predictions], dtype=float)

    @cached_property
    def predicted(self) -> np.ndarray:
        """As `truth`, of what the model says."""
        if self.task == "regress":
            return np.array([row["value"] for row in self.predictions], dtype=float)
        if not self.multilabel:
            return np.array([self.class_index[row["label"]] for row in self.predictions], dtype=int)
        return np.array([[name in row["labels"] for name in self.classes] for row in self.predictions], dtype=int)

    @property
    def classified(self) -> bool:
        """There are predictions of one class an image."""
        return self.task == "classify" and not self.multilabel and bool(self.predictions)

    @property
    def labelled(self) -> bool:
        """There are predictions of several labels an image."""
        return self.task == "classify" and self.multilabel and bool(self.predictions)

    @property
    def regressed(self) -> bool:
        return self.task == "regress" and bool(self.predictions)

    @property
    def segmented(self) -> bool:
        return self.task == "segment" and bool(self.predictions)

    @property
    def detected(self) -> bool:
        return self.task == "detect" and bool(self.predictions)

    @cached_property
    def boxes(self) -> list[tuple[Answers, Truth]]:
        """All answers and the truth of each image, also answers below the threshold."""
        return [(answers_from(row["answers"]), truth_from(row["truth"])) for row in self.predictions]

    @property
    def reconstructed(self) -> bool:
        return self.task == "reconstruct" and bool(self.predictions)

    @property
    def drawn(self) -> bool:
        """It learnt to draw, and was evaluated."""
        return self.task == "diffuse" and bool(self.predictions)

    @cached_property
    def confusions(self) -> np.ndarray:
        """Of each segmented image its pixels by true class and answer, [N, K, K]."""
        k = len(self.classes)
        counts = np.zeros((len(self.predictions), k, k), dtype=np.int64)
        for i, row in enumerate(self.predictions):
            cells = np.array(row["confusion"], dtype=np.int64).reshape(-1, 3)
            counts[i, cells[:, 0], cells[:, 1]] = cells[:, 2]
        return counts

    def column(self, name: str) -> np.ndarray:
        """One number of every prediction, [N]."""
        return np.array([row[name] for row in self.predictions], dtype=float)

    @property
    def split_name(self) -> str:
        return {"val": "validation"}.get(self.split, self.split)

    @cached_property
    def uris(self) -> dict[int, dict[str, str]]:
        """The pictures that were asked for so far: several panels show the same."""
        return {}

    def strips(self, indices: Sequence[int]) -> list[dict[str, str]]:
        """Data URIs of what is shown of some predictions, by name; none where the file is gone."""
        new = [i for i in indices if i not in self.uris]
        if new:
            shown = self.images([self.predictions[i]["id"] for i in new])
            made = ({name: data_uri(one) for name, one in (strip or {}).items()} for strip in shown)
            self.uris.update(zip(new, made, strict=True))
        return [self.uris[i] for i in indices]

    def pictures(self, indices: Sequence[int], name: str = "image") -> list[str | None]:
        """One picture of each: the image itself."""
        return [strip.get(name) for strip in self.strips(indices)]


def metric_name(name: str) -> str:
    """A metric as people say it."""
    return NAMES.get(name, name.replace("_", " "))


def read_story(
    run: Path,
    images: Images,
    network: NetworkTable | None,
    latent: LatentView | None = None,
    drawings: Drawings | None = None,
    match: MatchView | None = None,
    samples: Samples | None = None,
) -> Story:
    """Raises UserError where `run` is not a run folder."""
    path = run / "run.json"
    if not path.exists():
        raise UserError(f"{run} is not a run folder: it has no run.json. Give the folder a training run wrote.")
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
    except json.JSONDecodeError as error:
        raise UserError(f"{path} is damaged (line {error.lineno}): restore it or train again.") from error
    lines = read_lines(run / "metrics.jsonl")
    split = next((s for s in ("test", "val") if (run / "evaluation" / f"{s}.jsonl").exists()), "")
    config = run / "config.yaml"
    return Story(
        run=run,
        facts=facts,
        config=config.read_text(encoding="utf-8") if config.exists() else "",
        train=[line for line in lines if line.get("kind") == "train"],
        val=[line for line in lines if line.get("kind") == "val"],
        events=[line for line in lines if line.get("kind") == "event"],
        split=split,
        predictions=read_lines(run / "evaluation" / f"{split}.jsonl"),
        images=images,
        network=network,
        latent=latent,
        drawings=drawings,
        match=match,
        samples=samples,
    )


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The objects of a JSON-lines file; its last line may be cut short, as a killed run leaves it."""
    if not path.exists():
        return []
    lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    rows = []
    for i, line in enumerate(lines):
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError as error:
            if i < len(lines) - 1:
                raise UserError(f"{path} is damaged at line {i + 1}: remove that line.") from error
    return rows
