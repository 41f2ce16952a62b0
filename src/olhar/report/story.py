"""What a run folder tells: its files read once, for every panel of the report.

All but run.json may be missing or stop in the middle: a run that was interrupted has a report too.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from torch import Tensor

from olhar.errors import UserError
from olhar.inspection.network import NetworkTable
from olhar.report.pictures import data_uri

Images = Callable[[list[str]], list[Tensor | None]]
NAMES = {
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
class Story:
    """A run. `facts` is run.json; `train`, `val`, `events` are the lines of metrics.jsonl by their kind.

    `predictions` are the lines of evaluation/<split>.jsonl, of the test split if there is one, else of validation.
    `images` gives pictures by id, uint8 [C, H, W], or None where a file is gone.
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
    def split_name(self) -> str:
        return {"val": "validation"}.get(self.split, self.split)

    @cached_property
    def uris(self) -> dict[int, str | None]:
        """The pictures that were asked for so far: several panels show the same."""
        return {}

    def pictures(self, indices: Sequence[int]) -> list[str | None]:
        """Data URIs of the images of some predictions, None where the file is gone."""
        new = [i for i in indices if i not in self.uris]
        if new:
            tensors = self.images([self.predictions[i]["id"] for i in new])
            made = (None if tensor is None else data_uri(tensor) for tensor in tensors)
            self.uris.update(zip(new, made, strict=True))
        return [self.uris[i] for i in indices]


def metric_name(name: str) -> str:
    """A metric as people say it."""
    return NAMES.get(name, name.replace("_", " "))


def read_story(run: Path, images: Images, network: NetworkTable | None) -> Story:
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
