"""From settings to objects: the only file that reads a config and makes models, tasks, loaders and optimizers.

A task made from a collection is written to run.json as plain facts; `task_from_facts` makes it again from them,
on a machine that has never seen the data.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import nn

from olhar import anchoring, captioning
from olhar.config import Config
from olhar.data.cache import make_cache
from olhar.data.corrupt import DETAIL, Corrupt, make_corrupt
from olhar.data.frequency import class_counts, class_weights, pixel_weights
from olhar.data.header import header
from olhar.data.loader import Loader
from olhar.data.paired import make_paired
from olhar.data.palette import palette
from olhar.data.reading import Frame, Preprocess, Truth
from olhar.data.sample import SPLITS, Batch, Collection, Record
from olhar.data.text import Tokenizer
from olhar.data.transforms import SMALL, Augment, make_augment, make_mix
from olhar.data.wording import Wording
from olhar.errors import UserError
from olhar.models import AUTOENCODERS, autoencoder, dense, detector, encoder
from olhar.models.autoencoder import Autoencoder
from olhar.models.classifier import Classifier
from olhar.models.clip import Clip
from olhar.models.vae import VAE
from olhar.models.weights import load_towers, load_weights
from olhar.tasks import TASKS, PixelTask, Task
from olhar.train.optim import make_optimizer

# of ImageNet's training pixels: what published weights were trained with
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
EVERYWHERE = frozenset(name for name, task in TASKS.items() if issubclass(task, PixelTask))
PLACES = EVERYWHERE | {"detect"}  # tasks about places in an image, which see it in a frame
TRUTHS: dict[str, Truth] = {"segment": "mask", "detect": "boxes"}
MOST_DETAIL = 1.5  # of an image kept for training to what is shown: enlarged more, parts would only be blurred less
STATISTICS_IMAGES = 512  # enough that the mean moves by less than 1% of a deviation


def make_model(task: str, facts: dict[str, Any], outputs: int) -> nn.Module:
    """The network that run.json's "model" describes, with new weights."""
    name, channels, size = facts["name"], facts["in_channels"], tuple(facts["image_size"])
    if name in AUTOENCODERS:
        return autoencoder(name, channels, size, **facts["args"])
    if task == "align":
        return captioning.make_clip(facts)
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
    return TASKS[name](make_model(name, model_facts, num_outputs(name, settings)), **settings)


def num_outputs(name: str, settings: dict[str, Any]) -> int:
    """Numbers the model gives an image, or a pixel: a score a class, a mean and perhaps a variance, a colour."""
    if name in ("classify", "segment", "detect"):  # a detector takes the classes and knows what else it has to say
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
            "class_weights": None if config.objective.class_weights in ("auto", "none") else class_weights(collection),
        }
    if collection.task == "segment":
        names, weights = collection.class_names, config.objective.class_weights
        return pixels | {
            "class_names": list(names),
            "palette": [list(colour) for colour in collection.palette or palette(names)],
            "class_weights": pixel_weights(class_counts(collection, "train"), weights),
            "dice": config.objective.dice,
        }
    if collection.task == "detect":
        names, objective = list(collection.class_names), config.objective
        return pixels | {"class_names": names, "balance": objective.balance, "box_loss": objective.box_loss}
    if collection.task == "reconstruct":
        return pixels | {
            "corruption": corruption_of(collection, config),
            "noise": config.data.noise,
            "likelihood": config.objective.likelihood,
            "kl": config.objective.kl,
            "ssim": config.objective.ssim,
            "enlarge": enlargement(train),
        }
    if collection.task == "align":
        return pixels | {"batch_size": config.train.batch_size}
    targets = torch.tensor([record.target for record in train], dtype=torch.float64)
    return pixels | {
        "target_name": collection.target_name,
        "target_mean": float(targets.mean()),
        "target_std": float(targets.std(correction=0).clamp_min(1e-12)),
        "variance": config.objective.variance,
    }


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
        read = self.preprocess.train_read
        return Loader(
            records,
            read=read,
            batch_size=train.batch_size,
            seed=train.seed,
            shuffle=True,
            augment=self.augment(),
            mix=make_mix(data.mix, self.preprocess.num_classes, train.seed),
            finish=self.finish(records, shuffle=True),
            workers=data.workers,
            cache=make_cache(records, read, data.cache_share, self.world),
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
        return make_paired(data.augment, frame, bool(data.flip), seed, restoring=self.corrupt is not None)

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


def corruption_of(collection: Collection, config: Config) -> str:
    """What has to be undone: the setting's, or whatever tells the pictures of a pair apart."""
    return "pairs" if any(record.clean is not None for record in collection.records) else config.data.corruption


def enlargement(records: Sequence[Record]) -> int:
    """How many times larger the clean pictures of pairs are than what is shown; 1 for all else."""
    pair = next((r for r in records if isinstance(r.image, Path) and isinstance(r.clean, Path)), None)
    if pair is None:
        return 1
    assert isinstance(pair.image, Path)
    assert isinstance(pair.clean, Path)
    return max(1, round(header(pair.clean).height / header(pair.image).height))


def frame_of(collection: Collection, config: Config, size: tuple[int, int]) -> Frame | None:
    """What a task about places in images of `size` (height, width) sees of them; None for the other tasks."""
    task = collection.task
    if task not in PLACES:
        return None
    side, scale = config.data.image_size, config.data.scale
    assert side is not None
    assert scale is not None
    height, width = (max(1, round(scale * n)) for n in size)
    # all of the image where that is about as much as was asked for, else a square part of it
    all_of_it = task == "detect" or min(height, width) <= round(1.05 * side)
    canvas = (height, width) if all_of_it else (min(side, height), min(side, width))
    # parts can only be enlarged where the image holds more than is shown
    detail = min(MOST_DETAIL, 1 / scale) if config.data.augment == "paired" and task != "reconstruct" else 1.0
    corruption = corruption_of(collection, config)
    fit = all_of_it and (task != "reconstruct" or corruption not in DETAIL)
    truth = TRUTHS.get(task, "clean" if corruption == "pairs" else "")
    # noise and blur are undone at the scale they have, whatever size the model has learnt them on
    scale = 1.0 if task == "reconstruct" and corruption in DETAIL else scale
    return Frame(canvas, (height, width), scale, fit, detail, truth)


def describe(
    collection: Collection,
    config: Config,
    channels: int,
    machine: dict[str, Any],
    size: tuple[int, int],
    tokenizer: Tokenizer | None = None,
) -> dict[str, Any]:
    """What run.json says of the task, the data and the model: plain facts, from which they can be made again.

    `size` is the height and width that the middle one of the images has.
    """
    assert config.data.image_size is not None
    assert config.model.name is not None
    side, task_name, name = config.data.image_size, collection.task, config.model.name
    name, args = captioning.image_tower(name)
    if task_name != "align" or side <= captioning.DETAILED:
        args = default_args(name, side) | args
    train = collection.split("train")
    height, width = (enlargement(train) * side for side in size)
    frame = frame_of(collection, config, (height, width))
    preprocess = Preprocess(side, channels, "none", len(collection.class_names), frame)
    if config.model.weights and channels == 3:
        mean, std = captioning.pixels(config.model.name) or (list(IMAGENET_MEAN), list(IMAGENET_STD))
    else:
        mean, std = statistics(train, preprocess)
    holes = task_name == "reconstruct" and corruption_of(collection, config) == "holes"
    facts: dict[str, Any] = {
        "task": {"name": task_name, "settings": task_settings(collection, config, mean, std)},
        "data": data_facts(collection),
        "model": {
            "name": name,
            "args": args | dict(config.model.args),
            "in_channels": channels + holes,
            "image_size": list(frame.canvas) if frame else [side, side],
        },
        "machine": machine,
    }
    if frame:
        facts["model"]["frame"] = asdict(frame)
        if task_name == "detect":
            add_anchors(facts, collection, config)
        elif name not in AUTOENCODERS:
            facts["model"] |= {"decoder": config.model.decoder, "decoder_args": dict(config.model.decoder_args)}
    if tokenizer:
        facts["model"] |= captioning.text_facts(config, collection, tokenizer)
    task = make_task(task_name, facts["model"], facts["task"]["settings"])
    if isinstance(task.model, (Autoencoder, VAE)):
        facts["model"]["latent"] = list(task.model.latent_shape())
    facts["model"]["parameters"] = sum(p.numel() for p in task.model.parameters())
    facts["watch"] = task.watch
    return facts


def data_facts(collection: Collection) -> dict[str, Any]:
    """The part of run.json that says what was learnt from."""
    return {
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
    }


def add_anchors(facts: dict[str, Any], collection: Collection, config: Config) -> None:
    """The anchors that fit the training boxes, as the task and the model want to know them."""
    model, canvas, given = facts["model"], tuple(facts["model"]["image_size"]), config.model.detector_args
    with torch.device("meta"):
        strides = encoder(model["name"], model["in_channels"], canvas, **model["args"]).strides
    anchors = anchoring.anchors_for(collection.split("train"), canvas, strides, given)
    model["detector"] = anchoring.model_args(anchors, given)
    found = {"sizes": [list(own) for own in anchors.sizes], "proportions": list(anchors.proportions)}
    facts["task"]["settings"] |= found
    facts["data"]["notes"].append(anchors.sentence(canvas))


def start_from(task: Task, config: Config) -> str:
    """Load `config.model.weights` into the model; returns the sentence that says what was loaded."""
    assert config.model.weights is not None
    weights, download = config.model.weights, config.data.download
    if isinstance(task.model, Clip):
        return load_towers(task.model, weights, download).sentence
    return load_weights(task.model, weights, download).sentence


def make_task_optimizer(task: Task, config: Config) -> torch.optim.Optimizer:
    """The optimizer the settings ask for."""
    optim = config.optim
    assert optim.lr is not None
    assert optim.weight_decay is not None
    return make_optimizer(task, optim.name, optim.lr, optim.weight_decay, optim.momentum)
