"""From settings to objects: the only file that makes models, tasks, loaders and optimizers.

A task made from a collection is written to run.json as plain facts; `task_from_facts` makes it again from them,
on a machine that has never seen the data.
"""

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from olhar import captioning, diffusing
from olhar.config import Config
from olhar.data.cache import make_cache
from olhar.data.corrupt import Corrupt, make_corrupt
from olhar.data.latent_reader import LatentReader
from olhar.data.loader import Loader
from olhar.data.mosaic import make_mosaic
from olhar.data.paired import make_paired
from olhar.data.reading import Frame, Preprocess
from olhar.data.sample import Batch, Collection, Record, Sample
from olhar.data.text import Tokenizer
from olhar.data.transforms import SMALL, Augment, make_augment, make_mix
from olhar.data.wording import Wording
from olhar.errors import UserError
from olhar.models import AUTOENCODERS, autoencoder, dense, detector, encoder
from olhar.models.classifier import Classifier
from olhar.models.clip import Clip
from olhar.models.weights import load_towers, load_weights
from olhar.tasks import TASKS, PixelTask, Task
from olhar.tasks.detect import Detect
from olhar.train.optim import make_optimizer

EVERYWHERE = frozenset(name for name, task in TASKS.items() if issubclass(task, PixelTask))
PLACES = EVERYWHERE | {"detect"}  # tasks about places in an image, which see it in a frame


def make_model(task: str, facts: dict[str, Any], outputs: int) -> nn.Module:
    """The network that run.json's "model" describes, with new weights."""
    name, channels, size = facts["name"], facts["in_channels"], tuple(facts["image_size"])
    if name in AUTOENCODERS:
        return autoencoder(name, channels, size, **facts["args"])
    if task in ("align", "diffuse"):
        return captioning.make_clip(facts) if task == "align" else diffusing.make_denoiser(facts, outputs)
    body = encoder(name, channels, size, **facts["args"])
    if task == "detect":
        return detector(body, outputs, **facts["detector"])
    if task in EVERYWHERE:
        return dense(body, facts["decoder"], outputs, **facts["decoder_args"])
    return Classifier(body, outputs)


def new_model(name: str, image_size: int, channels: int, outputs: int) -> Classifier:
    """A network for the whole image by name, with the arguments its size asks for."""
    body = encoder(name, channels, (image_size, image_size), **default_args(name, image_size))
    return Classifier(body, outputs)


def default_args(name: str, image_size: int) -> dict[str, Any]:
    """A ResNet's stem makes an image four times smaller at once; small images have no room for that."""
    return {"stem": "small"} if name.startswith("resnet") and image_size <= SMALL else {}


def make_task(name: str, model_facts: dict[str, Any], settings: dict[str, Any]) -> Task:
    """A task from its settings, and the model from its own."""
    space: dict[str, Any] = {"space": diffusing.make_space(model_facts)} if name == "diffuse" else {}
    return TASKS[name](make_model(name, model_facts, num_outputs(name, settings)), **settings, **space)


def input_shape(model_facts: dict[str, Any]) -> tuple[int, int, int]:
    """[C, H, W] of what the model is shown of one image: of latents theirs."""
    factor = model_facts.get("space", {}).get("factor", 1)
    height, width = (math.ceil(side / factor) for side in model_facts["image_size"])
    return model_facts["in_channels"], height, width


def num_outputs(name: str, settings: dict[str, Any]) -> int:
    """Numbers the model gives an image, or a pixel: a score a class, a mean and perhaps a variance, a colour."""
    # a detector and a denoiser take the classes and know what else they have to say
    if name in ("classify", "segment", "detect", "diffuse"):
        return len(settings["class_names"])
    if name in ("reconstruct", "align"):
        return len(settings["mean"])
    return 2 if settings["variance"] == "learned" else 1


def task_from_facts(facts: dict[str, Any], weights: Path) -> Task:
    """The trained task of a run folder, in evaluation mode."""
    if not weights.exists():
        raise UserError(f"{weights} is missing: the run has not been evaluated yet, or was copied in part.")
    task = make_task(facts["task"]["name"], facts["model"], facts["task"]["settings"])
    task.load_state_dict(load_file(weights))
    return task.eval()


@dataclass(frozen=True)
class Feeder:
    """Makes the loaders of one run: images in the shape its model sees, decoded once while it trains."""

    preprocess: Preprocess
    config: Config
    corrupt: Corrupt | None = None
    rank: int = 0
    world: int = 1
    tokenizer: Tokenizer | None = None
    length: int = 0  # tokens of a caption
    latents: LatentReader | None = None  # read in the place of images

    @classmethod
    def from_facts(
        cls,
        facts: dict[str, Any],
        config: Config,
        rank: int = 0,
        world: int = 1,
        tokenizer: Tokenizer | None = None,
    ) -> "Feeder":
        """From run.json, and where there are captions the run's tokenizer."""
        frame, settings = facts["model"].get("frame"), facts["task"]["settings"]
        preprocess = Preprocess(
            image_size=min(facts["model"]["image_size"]),
            channels=len(settings["mean"]),
            augment=config.data.augment,
            num_classes=len(facts["data"]["class_names"]),
            frame=Frame.from_facts(frame) if frame else None,
        )
        # pairs need no corruption, and other tasks none either
        corrupt = None
        if facts["task"]["name"] == "reconstruct":
            name = settings["corruption"] if settings["corruption"] != "pairs" else "none"
            corrupt = make_corrupt(name, settings["noise"], config.train.seed)
        length = facts["model"]["text"]["length"] if tokenizer else 0
        return cls(preprocess, config, corrupt, rank, world, tokenizer, length)

    def train(self, records: Sequence[Record]) -> Loader:
        """Shuffled, augmented, for ever the same batches for one seed."""
        data, train = self.config.data, self.config.train
        assert train.batch_size is not None
        read = self.latents or self.preprocess.train_read
        return Loader(
            records,
            read=read,
            batch_size=train.batch_size,
            seed=train.seed,
            shuffle=True,
            augment=None if self.latents else self.augment(),
            mix=make_mix(data.mix, self.preprocess.num_classes, train.seed),
            finish=self.finish(records, shuffle=True),
            workers=data.workers,
            cache=make_cache(records, read, data.cache_share, self.world),
            rank=self.rank,
            world=self.world,
        )

    def plain(self, records: Sequence[Record], batch_size: int, keep: bool = False) -> Loader:
        """In order, without augmentation, every image once. `keep`: they will be asked for again."""
        read = self.latents or self.preprocess.read
        return Loader(
            records,
            read=read,
            batch_size=-(-batch_size // self.world) * self.world,
            seed=self.config.train.seed,
            shuffle=False,
            finish=self.finish(records, shuffle=False),
            workers=self.config.data.workers,
            cache=make_cache(records, read, self.config.data.cache_share, self.world) if keep else None,
            rank=self.rank,
            world=self.world,
        )

    def finish(self, records: Sequence[Record], shuffle: bool) -> Corrupt | Wording | None:
        """What is done to a batch last: its images corrupted, or captions added where there are any."""
        if self.tokenizer is None or not all(record.captions for record in records):
            return self.corrupt
        return Wording(records, self.tokenizer, self.length, self.config.train.seed, shuffle)

    def augment(self) -> Augment:
        """The random changes of training images that the settings name."""
        data, seed, frame = self.config.data, self.config.train.seed, self.preprocess.frame
        if frame is None:
            return make_augment(data.augment, self.preprocess.image_size, bool(data.flip), seed)
        made = make_paired(data.augment, frame, bool(data.flip), seed, restoring=self.corrupt is not None)
        return make_mosaic(made, frame.canvas, frame.detail) if data.mix == "mosaic" else made

    @property
    def changes_nothing(self) -> bool:
        """Training images are always shown as they are."""
        return type(self.augment()) is Augment

    def read(self, record: Record) -> Batch | None:
        """A batch of one image as evaluation sees it; None where it cannot be read."""
        loader = self.plain([record], batch_size=1)
        loader.forgiving = True
        return next(iter(loader.epoch(0)), None)


def evaluation_batch(facts: dict[str, Any], batch_size: int) -> int:
    """Images at a time where no gradients are kept: twice as many as in training, fewer where they are larger; to
    align as many, for what a caption is told from is the rest of its batch."""
    if facts["task"]["name"] == "align":
        return facts["task"]["settings"]["batch_size"]
    if frame := facts["model"].get("frame"):
        seen, shown = math.prod(frame["canvas"]), math.prod(frame["whole"])
        return max(1, min(64, 2 * batch_size * seen // shown))
    return max(2 * batch_size, 64)


def start_from(task: Task, config: Config) -> str:
    """Load `config.model.weights` into the model; returns the sentence that says what was loaded."""
    assert config.model.weights is not None
    weights, download = config.model.weights, config.data.download
    if isinstance(task.model, Clip):
        return load_towers(task.model, weights, download).sentence
    # a run that draws holds its autoencoder too, which comes with its own run
    return load_weights(task.model, weights, download, beside="space.").sentence


def settle_targets(task: Task, feeder: Feeder, collection: Collection) -> None:
    """Compute once, before training, what each anchor of a detector has to answer: of all images that are always seen
    alike, which are those of validation and test, and without random changes those of training too."""
    if not isinstance(task, Detect) or feeder.preprocess.frame is None:
        return
    fixed = feeder.changes_nothing
    records = [r for r in collection.records if r.boxes is not None and (fixed or r.split != "train")]

    def samples() -> Iterator[Sample]:
        for record in records:
            with suppress(UserError):  # of an image that cannot be read, which the loader will say
                yield feeder.preprocess.read.annotate(record)

    task.remember(samples(), feeder.preprocess.frame.whole)


def make_task_optimizer(task: Task, config: Config) -> torch.optim.Optimizer:
    """The optimizer the settings ask for."""
    optim = config.optim
    assert optim.lr is not None
    assert optim.weight_decay is not None
    return make_optimizer(task, optim.name, optim.lr, optim.weight_decay, optim.momentum)
