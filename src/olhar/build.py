"""From settings to objects: the only file that reads a config and makes models, tasks, loaders and optimizers.

A task made from a collection is written to run.json as plain facts; `task_from_facts` makes it again from them,
on a machine that has never seen the data.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from olhar.config import Config
from olhar.data.cache import make_cache
from olhar.data.loader import Loader
from olhar.data.sample import SPLITS, Collection, Record
from olhar.data.transforms import SMALL, Preprocess, make_augment, make_mix
from olhar.errors import UserError
from olhar.models import encoder
from olhar.models.classifier import Classifier
from olhar.models.weights import load_weights
from olhar.tasks import TASKS, Task
from olhar.train.optim import make_optimizer

# of ImageNet's training pixels: what published weights were trained with
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
STATISTICS_IMAGES = 512  # enough that the mean moves by less than 1% of a deviation


def make_model(facts: dict[str, Any], outputs: int) -> Classifier:
    """The network that run.json's "model" describes, with new weights."""
    height, width = facts["image_size"]
    return Classifier(encoder(facts["name"], facts["in_channels"], (height, width), **facts["args"]), outputs)


def new_model(name: str, image_size: int, channels: int, outputs: int) -> Classifier:
    """A network by name, with the arguments its image size asks for."""
    facts = {"name": name, "args": default_args(name, image_size), "in_channels": channels}
    return make_model(facts | {"image_size": (image_size, image_size)}, outputs)


def default_args(name: str, image_size: int) -> dict[str, Any]:
    """A ResNet's stem makes an image four times smaller at once; small images have no room for that."""
    return {"stem": "small"} if name.startswith("resnet") and image_size <= SMALL else {}


def make_task(name: str, model_facts: dict[str, Any], settings: dict[str, Any]) -> Task:
    """A task from its settings, and the model from its own."""
    return TASKS[name](make_model(model_facts, num_outputs(name, settings)), **settings)


def num_outputs(name: str, settings: dict[str, Any]) -> int:
    """Numbers the model gives an image: a score a class, or a mean and perhaps a variance."""
    if name == "classify":
        return len(settings["class_names"])
    return 2 if settings["variance"] == "learned" else 1


def task_from_facts(facts: dict[str, Any], weights: Path) -> Task:
    """The trained task of a run folder, in evaluation mode."""
    if not weights.exists():
        raise UserError(f"{weights} is missing: the run has not been evaluated yet, or was copied in part.")
    task = make_task(facts["task"]["name"], facts["model"], facts["task"]["settings"])
    task.load_state_dict(load_file(weights))
    return task.eval()


def task_settings(
    collection: Collection, config: Config, mean: Sequence[float], std: Sequence[float]
) -> dict[str, Any]:
    """What the task's constructor takes besides the model: plain values."""
    pixels = {"mean": list(mean), "std": list(std)}
    train = collection.split("train")
    if collection.task == "classify":
        return pixels | {
            "class_names": list(collection.class_names),
            "multilabel": collection.multilabel,
            "label_smoothing": 0.0 if collection.multilabel else config.objective.label_smoothing or 0.0,
            "class_weights": class_weights(collection) if config.objective.class_weights == "balanced" else None,
        }
    targets = torch.tensor([record.target for record in train], dtype=torch.float64)
    return pixels | {
        "target_name": collection.target_name,
        "target_mean": float(targets.mean()),
        "target_std": float(targets.std(correction=0).clamp_min(1e-12)),
        "variance": config.objective.variance,
    }


def class_weights(collection: Collection) -> list[float]:
    """Inverse frequencies, scaled so that their mean over the training images is 1.

    For several labels an image: how much an occurrence weighs, the absences over the occurrences of its label.
    """
    counts = class_counts(collection, "train")
    n, k = len(collection.split("train")), len(counts)
    if collection.multilabel:
        return [(n - c) / c if c else 1.0 for c in counts]
    return [n / (k * c) if c else 0.0 for c in counts]


def class_counts(collection: Collection, split: str) -> list[int]:
    """Images of each class in a split; for several labels, images that have each label."""
    counts = [0] * len(collection.class_names)
    for record in collection.split(split):
        for k in record.labels if record.labels is not None else (record.label,):
            if k is not None:
                counts[k] += 1
    return counts


@dataclass(frozen=True)
class Feeder:
    """Makes the loaders of one run: images in the shape its model sees, decoded once while it trains."""

    preprocess: Preprocess
    config: Config
    rank: int = 0
    world: int = 1

    @classmethod
    def from_facts(cls, facts: dict[str, Any], config: Config, rank: int = 0, world: int = 1) -> "Feeder":
        """From run.json."""
        preprocess = Preprocess(
            image_size=facts["model"]["image_size"][0],
            channels=facts["model"]["in_channels"],
            augment=config.data.augment,
            num_classes=len(facts["data"]["class_names"]),
        )
        return cls(preprocess, config, rank, world)

    def train(self, records: Sequence[Record]) -> Loader:
        """Shuffled, augmented, for ever the same batches for one seed."""
        data, train = self.config.data, self.config.train
        assert train.batch_size is not None
        size, read = self.preprocess.image_size, self.preprocess.train_read
        return Loader(
            records,
            read=read,
            batch_size=train.batch_size,
            seed=train.seed,
            shuffle=True,
            augment=make_augment(data.augment, size, bool(data.flip), train.seed),
            mix=make_mix(data.mix, self.preprocess.num_classes, train.seed),
            workers=data.workers,
            cache=make_cache(records, read.resize, data.cache_share, self.world),
            rank=self.rank,
            world=self.world,
        )

    def plain(self, records: Sequence[Record], batch_size: int, keep: bool = False) -> Loader:
        """In order, without augmentation, every image once. `keep`: they will be asked for again."""
        read = self.preprocess.read
        return Loader(
            records,
            read=read,
            batch_size=-(-batch_size // self.world) * self.world,
            seed=self.config.train.seed,
            shuffle=False,
            workers=self.config.data.workers,
            cache=make_cache(records, read.resize, self.config.data.cache_share, self.world) if keep else None,
            rank=self.rank,
            world=self.world,
        )

    def picture(self, record: Record) -> Tensor | None:
        """The image as the model sees it, uint8 [C, H, W]; None where it cannot be read."""
        try:
            return self.preprocess.read(record)["image"]
        except UserError:
            return None


def statistics(records: Sequence[Record], preprocess: Preprocess) -> tuple[list[float], list[float]]:
    """Mean and deviation of each channel over some of the training images, of pixel values in [0, 1]."""
    step = max(1, len(records) // STATISTICS_IMAGES)
    loader = Loader(records[::step], read=preprocess.read, batch_size=64, seed=0, shuffle=False)
    count, total, square = 0, torch.zeros(()), torch.zeros(())
    for batch in loader.epoch(0):
        pixels = batch["image"].double() / 255
        count += pixels[:, 0].numel()
        total = total + pixels.sum((0, 2, 3))
        square = square + pixels.square().sum((0, 2, 3))
    if not count:
        raise UserError("Not one training image could be read: run `olhar check` on the data.")
    mean = total / count
    # a constant channel (all images black) has no deviation to divide by
    std = (square / count - mean.square()).clamp_min(0).sqrt().clamp_min(1 / 255)
    return mean.tolist(), std.tolist()


def describe(collection: Collection, config: Config, channels: int, machine: dict[str, Any]) -> dict[str, Any]:
    """What run.json says of the task, the data and the model: plain facts, from which they can be made again."""
    assert config.data.image_size is not None
    assert config.model.name is not None
    size = config.data.image_size
    preprocess = Preprocess(size, channels, "none", len(collection.class_names))
    if config.model.weights and channels == 3:
        mean, std = list(IMAGENET_MEAN), list(IMAGENET_STD)
    else:
        mean, std = statistics(collection.split("train"), preprocess)
    facts: dict[str, Any] = {
        "task": {"name": collection.task, "settings": task_settings(collection, config, mean, std)},
        "data": {
            "path": str(Path(collection.root).absolute()) if Path(collection.root).exists() else collection.root,
            "format": collection.format,
            "explanation": collection.explanation,
            "notes": list(collection.notes),
            "fingerprint": collection.fingerprint(),
            "counts": {split: len(collection.split(split)) for split in SPLITS},
            "class_counts": {split: class_counts(collection, split) for split in SPLITS},
            "class_names": list(collection.class_names),
            "multilabel": collection.multilabel,
            "target_name": collection.target_name,
            "split_origin": collection.split_origin,
        },
        "model": {
            "name": config.model.name,
            "args": default_args(config.model.name, size) | dict(config.model.args),
            "in_channels": channels,
            "image_size": [size, size],
        },
        "machine": machine,
    }
    task = make_task(facts["task"]["name"], facts["model"], facts["task"]["settings"])
    facts["model"]["parameters"] = sum(p.numel() for p in task.model.parameters())
    facts["watch"] = task.watch
    return facts


def start_from(task: Task, config: Config) -> str:
    """Load `config.model.weights` into the model; returns the sentence that says what was loaded."""
    assert config.model.weights is not None
    assert isinstance(task.model, Classifier)
    return load_weights(task.model, config.model.weights, download=config.data.download).sentence


def make_task_optimizer(task: Task, config: Config) -> torch.optim.Optimizer:
    """The optimizer the settings ask for."""
    optim = config.optim
    assert optim.lr is not None
    assert optim.weight_decay is not None
    return make_optimizer(task, optim.name, optim.lr, optim.weight_decay, optim.momentum)
