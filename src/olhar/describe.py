"""What run.json says of a run: plain facts on the task, the data and the model, from which `build` makes them again.

With build.py the only readers of a config.
"""

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from olhar import anchoring, captioning, diffusing, finetune, latents
from olhar.build import PLACES, default_args, make_task
from olhar.config import Config
from olhar.data.corrupt import DETAIL
from olhar.data.frequency import class_counts, class_weights, pixel_weights
from olhar.data.header import header
from olhar.data.loader import Loader
from olhar.data.palette import palette
from olhar.data.reading import Frame, Preprocess, Truth
from olhar.data.sample import SPLITS, Collection, Record
from olhar.data.text import Tokenizer
from olhar.errors import UserError
from olhar.models import AUTOENCODERS, encoder
from olhar.models.autoencoder import Autoencoder
from olhar.models.vae import VAE

# of ImageNet's training pixels: what published weights were trained with
IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
TRUTHS: dict[str, Truth] = {"segment": "mask", "detect": "boxes"}
MOST_DETAIL = 1.5  # of an image kept for training to what is shown: enlarged more, parts would only be blurred less
STATISTICS_IMAGES = 512  # enough that the mean moves by less than 1% of a deviation


def facts_of(
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
    if task_name == "diffuse" and (space := latents.space_facts(config.model.latent, channels, side)):
        known = {"image_size": [side, side], "mean": mean, "std": std}  # until it is trained
        facts["model"] |= {"space": space | known, "in_channels": space["latent_channels"]}
        facts["data"]["notes"].append(latents.NOTE)
    if tokenizer:
        facts["model"] |= captioning.text_facts(config, collection, tokenizer)
    if task_name == "diffuse":
        finetune.inherit(facts, config)
    task = make_task(task_name, facts["model"], facts["task"]["settings"])
    if isinstance(task.model, (Autoencoder, VAE)):
        facts["model"]["latent"] = list(task.model.latent_shape())
    facts["model"]["parameters"] = sum(p.numel() for p in task.model.parameters())
    facts["watch"] = task.watch
    return facts


def data_facts(collection: Collection) -> dict[str, Any]:
    """What run.json says of the data."""
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
    if collection.task in ("align", "diffuse"):
        align = {"batch_size": config.train.batch_size}
        return pixels | (align if collection.task == "align" else diffusing.task_settings(collection, config))
    targets = torch.tensor([record.target for record in train], dtype=torch.float64)
    return pixels | {
        "target_name": collection.target_name,
        "target_mean": float(targets.mean()),
        "target_std": float(targets.std(correction=0).clamp_min(1e-12)),
        "variance": config.objective.variance,
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
