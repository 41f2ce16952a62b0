"""The run folder: everything of a run, and enough, alone, to predict on another machine.

config.yaml (every setting, resolved), run.json (facts: task, classes, preprocessing, plan, versions, results),
model.safetensors (the best weights), checkpoint/ (what resuming needs), metrics.jsonl, evaluation/, report.html; where
it learnt from captions also tokenizer.json and captions.json; where it learnt to draw samples/, what it drew meanwhile,
and, where it draws in latents, autoencoder/, a run too.
"""

import json
import shutil
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from olhar import __version__
from olhar.config import Config
from olhar.data.sample import SPLITS, Collection
from olhar.data.text import Tokenizer
from olhar.errors import UserError
from olhar.train.checkpoint import write_text

VERSIONED = ("torch", "torchvision", "accelerate", "torchmetrics", "numpy", "pillow")


class RunFolder:
    """Paths and plain files of one run."""

    def __init__(self, path: str | Path):
        self.path = Path(path)
        self.config_file = self.path / "config.yaml"
        self.facts_file = self.path / "run.json"
        self.weights = self.path / "model.safetensors"
        self.checkpoints = self.path / "checkpoint"
        self.way = self.path / "path"
        self.metrics = self.path / "metrics.jsonl"
        self.splits = self.path / "splits.json"
        self.evaluation = self.path / "evaluation"
        self.samples = self.path / "samples"
        self.report = self.path / "report.html"
        self.tokenizer_file = self.path / "tokenizer.json"
        self.captions_file = self.path / "captions.json"
        self.autoencoder = self.path / "autoencoder"

    @classmethod
    def create(cls, path: str | Path | None, data: str) -> "RunFolder":
        """A new, empty folder: `path`, or runs/NAME-N with the first free N.

        Raises UserError when `path` exists and holds anything: a run is never overwritten.
        """
        if path is None:
            # a folder or a table by its own name, a set by its name without its arguments
            found = Path(data).resolve()
            name = (found.name if found.is_dir() else found.stem) if found.exists() else data.partition(":")[0]
            taken = {p.name for p in Path("runs").glob(f"{name}-*")}
            number = next(n for n in range(1, len(taken) + 2) if f"{name}-{n}" not in taken)
            path = Path("runs") / f"{name}-{number}"
        cls.refuse_taken(path)
        folder = cls(path)
        try:
            folder.path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UserError(f"Could not make the run folder {folder.path}: {error.strerror}.") from error
        return folder

    @staticmethod
    def refuse_taken(path: str | Path | None) -> None:
        """Raise UserError where `path` exists and holds anything."""
        taken = Path(path) if path is not None else None
        if taken and (taken.is_file() or (taken.is_dir() and any(taken.iterdir()))):
            raise UserError(
                f"{taken} already exists, and a run is never overwritten: "
                f"give another --run, or continue it with `olhar resume {taken}`."
            )

    def discard_unbegun(self) -> None:
        """Remove the folder of a run that never took a step, nor its autoencoder one."""
        if not any(path.exists() for path in (self.metrics, self.checkpoints, self.autoencoder)):
            shutil.rmtree(self.path, ignore_errors=True)

    def copy(self, target: Path) -> None:
        """All of it but its checkpoint and what it drew, whole or not at all. Raises UserError."""
        partial = target.with_name(f"{target.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        try:
            shutil.copytree(self.path, partial, ignore=shutil.ignore_patterns("checkpoint", "generated-*"))
            partial.rename(target)
        except OSError as error:
            raise UserError(f"Could not copy {self.path} to {target}: {error.strerror or error}.") from error

    @classmethod
    def open(cls, path: str | Path) -> "RunFolder":
        """An existing run. Raises UserError where `path` is not one."""
        folder = cls(path)
        if not folder.path.exists():
            known = sorted(str(p) for p in folder.path.parent.glob("*") if (p / "run.json").exists())
            hint = f" Runs here: {', '.join(known[:5])}." if known else ""
            raise UserError(f"There is no run folder {path}.{hint}")
        missing = [f.name for f in (folder.config_file, folder.facts_file) if not f.exists()]
        if missing:
            raise UserError(f"{path} is not a run folder: it has no {' and no '.join(missing)}.")
        return folder

    @property
    def config(self) -> Config:
        try:
            tree = yaml.safe_load(self.config_file.read_text(encoding="utf-8"))
        except yaml.YAMLError as error:
            raise UserError(f"{self.config_file} is not readable as YAML: {error}.") from error
        return Config.from_dict(tree)

    @config.setter
    def config(self, config: Config) -> None:
        write_text(self.config_file, yaml.safe_dump(config.to_dict(), sort_keys=False))

    @property
    def facts(self) -> dict[str, Any]:
        try:
            return json.loads(self.facts_file.read_text(encoding="utf-8"))
        except json.JSONDecodeError as error:
            raise UserError(f"{self.facts_file} is damaged: {error}.") from error

    @facts.setter
    def facts(self, facts: dict[str, Any]) -> None:
        write_text(self.facts_file, json.dumps(facts, indent=1, ensure_ascii=False))

    def write_splits(self, collection: Collection) -> None:
        """splits.json: the ids of each split, so that the data can be told apart from other data."""
        ids = {split: [r.id for r in collection.split(split)] for split in SPLITS}
        write_text(self.splits, json.dumps(ids, ensure_ascii=False))

    def write_captions(self, tokenizer: Tokenizer, captions: list[str]) -> None:
        """tokenizer.json, and captions.json: texts of the training, which new images are described with."""
        tokenizer.save(self.tokenizer_file)
        write_text(self.captions_file, json.dumps(captions, ensure_ascii=False))

    @property
    def tokenizer(self) -> Tokenizer | None:
        """What makes tokens of texts; None where the run read none. Raises UserError where it is gone."""
        if "text" not in self.facts["model"]:
            return None
        return Tokenizer.load(self.tokenizer_file)

    @property
    def captions(self) -> list[str]:
        """See `write_captions`."""
        if not self.captions_file.exists():
            raise UserError(f"{self.captions_file} is missing: name what images may show with --classes.")
        return json.loads(self.captions_file.read_text(encoding="utf-8"))

    def refuse_other_data(self, collection: Collection) -> None:
        """Raise UserError, naming the difference, where the data are not those the run began with."""
        if collection.fingerprint() == self.facts["data"]["fingerprint"]:
            return
        before = {id for ids in json.loads(self.splits.read_text(encoding="utf-8")).values() for id in ids}
        now = {record.id for record in collection.records}
        said = [
            f"{len(ids):,} images {verb} ({', '.join(sorted(ids)[:3])})"
            for ids, verb in ((now - before, "were added"), (before - now, "are gone"))
            if ids
        ]
        what = " and ".join(said) or "the same files have other contents, labels or dates"
        raise UserError(f"The data in {collection.root} changed since {self.path} began: {what}. Train anew.")

    def write_rows(self, split: str, rows: list[dict[str, Any]]) -> None:
        """evaluation/<split>.jsonl: one line an image."""
        self.evaluation.mkdir(exist_ok=True)
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        write_text(self.evaluation / f"{split}.jsonl", lines)


def versions() -> dict[str, str]:
    """Of what can change a result: olhar, which may run from its source without being installed, and its libraries."""
    return {"olhar": __version__} | {name: version(name) for name in VERSIONED}
