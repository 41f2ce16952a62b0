"""A trained model and its folder: what can be asked of it, on this machine or another.

run = olhar.load("runs/photos-1")
run.predict(["new.jpg"])
"""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from olhar import build
from olhar.data.loader import Loader
from olhar.data.recognise import recognise
from olhar.data.sample import Collection, Record
from olhar.errors import UserError
from olhar.fit import make_accelerator
from olhar.folder import RunFolder
from olhar.predict import predict_files
from olhar.tasks import Prediction
from olhar.train.device import pick_device
from olhar.train.evaluate import evaluate


class Run:
    """A trained model and the folder it lives in. Made by `train` and `load`.

    Args:
        folder: with run.json and model.safetensors.
        device: where to compute.
    """

    def __init__(self, folder: RunFolder, device: torch.device):
        self.folder = folder
        self.device = device
        self.facts = folder.facts
        self.task = build.task_from_facts(self.facts, folder.weights).to(device)
        self.feeder = build.Feeder.from_facts(self.facts, folder.config)

    @property
    def path(self) -> Path:
        return self.folder.path

    @property
    def result(self) -> dict[str, Any]:
        """What the run came to: the metrics of each split, the best epoch, the seconds."""
        return self.facts.get("result", {})

    def loader(self, records: Sequence[Record], batch_size: int) -> Loader:
        """Images prepared as in training, in order, without augmentation."""
        return self.feeder.plain(records, batch_size=batch_size)

    def predict(self, inputs: Sequence[str | Path] | str | Path, batch_size: int = 64) -> list[Prediction]:
        """Answers for files, folders (with all below them) and patterns such as `img*.jpg`, in their order.

        Raises UserError where an input does not exist or holds no image.
        """
        several = [inputs] if isinstance(inputs, str | Path) else inputs
        return [prediction for _, prediction in predict_files(self, several, batch_size)]

    def evaluate(self, data: str | Path, split: str | None = None) -> dict[str, float]:
        """The loss (nats) and the metrics on labelled data: their test split, else val, else all of them.

        Raises UserError where the data cannot be read as this run's task, or have other classes.
        """
        config = replace(self.folder.config.data, task=self.facts["task"]["name"], val_fraction=0.0)
        collection = recognise(data, config=config)
        records = align_classes(collection, self.facts["data"]["class_names"])
        present = {record.split for record in records}
        chosen = split or next(s for s in ("test", "val", "train") if s in present)
        if chosen not in present:
            raise UserError(f"{data} has no {chosen} split: it has {', '.join(sorted(present))}.")
        loader = self.loader([r for r in records if r.split == chosen], 64)
        return evaluate(self.task, loader.epoch(0), make_accelerator(self.device, "fp32"))

    def report(self) -> Path:
        """Write report.html: one page that opens without a network. Returns its path."""
        from olhar.inspection.network import network
        from olhar.report import write_report

        height, width = self.facts["model"]["image_size"]
        shape = (self.facts["model"]["in_channels"], height, width)
        return write_report(self.path, images=self.pictures, network=network(self.task.model, shape))

    def pictures(self, ids: list[str]) -> list[Tensor | None]:
        """The images of the run's own data by id, uint8 [C, H, W]; None where they are no longer there."""
        try:
            records = {r.id: r for r in recognise(self.facts["data"]["path"], config=self.folder.config.data).records}
        except UserError:
            return [None] * len(ids)
        return [self.feeder.picture(records[id]) if id in records else None for id in ids]


def align_classes(collection: Collection, names: Sequence[str]) -> list[Record]:
    """The records with the class indices of a run, matched by name: folders may lack classes of the run."""
    strange = sorted(set(collection.class_names) - set(names))
    if strange:
        raise UserError(
            f"{collection.root} has classes that the run does not know: {', '.join(strange[:5])}; "
            f"it knows {', '.join(names[:8])}{' ...' if len(names) > 8 else ''}."
        )
    to = [names.index(name) for name in collection.class_names]
    return [
        replace(
            r,
            label=None if r.label is None else to[r.label],
            labels=None if r.labels is None else tuple(sorted(to[k] for k in r.labels)),
        )
        for r in collection.records
    ]


def load(path: str | Path, device: str = "auto") -> Run:
    """A finished or interrupted run, from its folder alone. Raises UserError where it is not one."""
    return Run(RunFolder.open(path), pick_device(device))
