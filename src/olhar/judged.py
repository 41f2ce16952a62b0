"""How much what a run draws is like the data, judged by a classifier of such images, and whether it is a copy of them.

Shapes: N images, C channels, H W space, D features.
"""

import json
import math
import os
import time
from collections.abc import Callable, Sequence
from contextlib import closing, nullcontext
from dataclasses import replace
from pathlib import Path

import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from olhar.data.reading import shrink
from olhar.data.recognise import recognise
from olhar.data.sample import Record
from olhar.errors import UserError
from olhar.generate import Drawing, Wish
from olhar.inspection.generated import Nearest, kernel_distance, nearest
from olhar.models.classifier import Classifier
from olhar.report.story import Near, Samples
from olhar.run import Run, split_of
from olhar.tasks.diffuse import Diffuse

IMAGES = 200  # that are drawn
COMPARED, REMEMBERED = 1000, 5000  # images of the split, and of the training, at most
BATCH = 50
# in a report: drawn images shown, the training images beside each, and validation images that say what is usual
SHOWN, NEIGHBOURS, VALIDATED = 6, 4, 200


def judge(
    run: Run,
    classifier: Run,
    data: str | Path,
    split: str | None = None,
    images: int | None = None,
    tell: Callable[[float], None] = lambda share: None,
) -> dict[str, float]:
    """How far drawn images are from those of a split.

    "kernel_distance" is that of the classifier's features before its last layer (`generated.kernel_distance`), with its
    standard error; of the training images it is given, too, for what a model came to that learnt them by heart.
    "nearest_training" is how far the middle one of the drawn images is from the training image nearest to it, the root
    mean square of pixels in [0, 1]; where it is much less than the same of the split's images, they are copies.

    Args:
        run: draws as many `images`, IMAGES by default, asked for what the captions or classes of the split say.
        classifier: its features are compared. Nothing is known of images that are other than those it learnt from.
        data: as `olhar.train` takes it; of the images that the run was trained on none is in the split.
        tell: told which share of the images is drawn.

    Raises:
        UserError: the run draws nothing, the classifier is none, or the data are too few.
    """
    task, other = run.task, classifier.task
    if not isinstance(task, Diffuse):
        raise UserError(f"{run.path} learnt to {task.name} and draws nothing that could be judged: leave --judge out.")
    if not isinstance(other.model, Classifier) or other.name != "classify":
        raise UserError(f"{classifier.path} learnt to {other.name}: --judge needs a run that learnt to classify.")
    collection = recognise(data, config=replace(run.folder.config.data, val_fraction=0.0))
    # where the run's own data are gone, the given ones may be these, moved
    training = own_images(run, run.facts["data"]["path"]).get("train") or own_images(run, data).get("train", [])
    learnt = {place_of(record) for record in training}
    chosen = split_of(collection.records, data, split)
    held = [record for record in collection.split(chosen) if place_of(record) not in learnt]
    if len(held) < 2:
        raise UserError(f"{data} has no images that {run.path} was not trained on: give others, or keep some apart.")
    drawn = draw(run, wishes(held, task.class_names, images or IMAGES), tell)
    kept, seen = pixels(run, spread(held, COMPARED)), pixels(run, spread(training, REMEMBERED))

    def features(image: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
        return features_of(classifier, image)

    there = features(kept)
    far = kernel_distance(features(drawn), there)
    found = {"kernel_distance": far.value, "kernel_distance_error": far.error}
    if len(seen) > 1:
        known = kernel_distance(features(seen[:COMPARED]), there)
        found |= {"kernel_distance_of_training": known.value, "kernel_distance_of_training_error": known.error}
        found |= {"nearest_training": middle(nearest(unit(drawn), unit(seen)))}
        found |= {"nearest_training_of_split": middle(nearest(unit(kept), unit(seen)))}
    return found


def own_images(run: Run, data: str | Path) -> dict[str, list[Record]]:
    """Of each split of the run the images, where its data are or were moved to; none where they are gone."""
    try:
        records = recognise(data, config=run.folder.config.data).records
    except UserError:
        return {}
    splits = json.loads(run.folder.splits.read_text(encoding="utf-8"))
    by_id = {record.id: record for record in records}
    return {split: [by_id[id] for id in ids if id in by_id] for split, ids in splits.items()}


def place_of(record: Record) -> str:
    """What tells an image from every other: its file, or its name in a set."""
    return os.path.realpath(record.image) if isinstance(record.image, Path) else record.id


def beside_training(run: Run, samples: Samples, until: float) -> Samples:
    """The samples with the training images nearest to the last of them; as they are, where the images are gone or there
    is no time to read any by `until`, a `time.monotonic()`."""
    if not samples.last or time.monotonic() > until:
        return samples
    own = own_images(run, run.facts["data"]["path"])
    train, val = own.get("train", []), own.get("val", [])
    kept = pixels(run, spread(val, VALIDATED), until)
    seen = pixels(run, spread(train, REMEMBERED), until)
    if not len(kept) or len(seen) < NEIGHBOURS:
        return samples
    texts, drawn = zip(*samples.last[:SHOWN], strict=True)
    there = nearest(unit(torch.stack(drawn)), unit(seen), NEIGHBOURS)
    rows = zip(texts, drawn, there.indices.tolist(), there.distances.tolist(), strict=True)
    found = [(text, image, [(seen[i], far) for i, far in zip(*near, strict=True)]) for text, image, *near in rows]
    return replace(samples, near=Near(found, len(seen), middle(nearest(unit(kept), unit(seen)))))


def wishes(records: Sequence[Record], class_names: Sequence[str], images: int) -> list[str | None]:
    """What as many images are asked for: what the records say, of which there may be too few or too many."""
    some = spread(records, images)

    def said(record: Record) -> str | None:
        if record.captions:
            return record.captions[0]
        return class_names[record.label] if class_names and record.label is not None else None

    return [said(some[i % len(some)]) for i in range(images)]


def draw(run: Run, asked: Sequence[str | None], tell: Callable[[float], None]) -> UInt8[Tensor, "N C H W"]:
    """An image for each, the seed its place."""
    drawing = Drawing(run, Wish(texts=tuple(dict.fromkeys(asked))))
    jobs, found = [(text, seed) for seed, text in enumerate(asked)], []
    for start in range(0, len(jobs), BATCH):
        found += [one.image for one in drawing.draw(jobs[start : start + BATCH], lambda share: None)]
        tell(len(found) / len(jobs))
    return torch.stack(found)


def spread(records: Sequence[Record], most: int) -> list[Record]:
    """At most as many, evenly over all."""
    every = max(1.0, len(records) / most)
    return [records[int(i * every)] for i in range(min(most, len(records)))]


def pixels(run: Run, records: Sequence[Record], until: float = math.inf) -> UInt8[Tensor, "N C H W"]:
    """The images as the run saw them: all, or as many as are read by `until`."""
    found = [torch.zeros(0, 0, 0, 0, dtype=torch.uint8)]
    with closing(run.loader(records, BATCH).epoch(0)) if records else nullcontext(()) as batches:
        for batch in batches:
            found.append(batch["image"])
            if time.monotonic() > until:
                break
    return torch.cat(found[1:] or found)


@torch.inference_mode()
def features_of(classifier: Run, image: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
    """What the classifier knows of each before its last layer, at the size it learnt from."""
    task, facts = classifier.task, classifier.facts["model"]
    assert isinstance(task.model, Classifier)
    if image.shape[1] != facts["in_channels"]:
        grey = image.float().mean(1, keepdim=True).round().to(torch.uint8)
        image = grey.expand(-1, facts["in_channels"], -1, -1)
    height, width = facts["image_size"]
    found = []
    for some in image.split(BATCH):
        sized = torch.stack([shrink(one, (height, width)) for one in some]).to(classifier.device)
        found.append(task.model.features(task.normalise(sized)).float().cpu())
    return torch.cat(found)


def unit(image: UInt8[Tensor, "N C H W"]) -> Float[Tensor, "N C H W"]:
    """Colours in [0, 1]."""
    return image.float() / 255


def middle(found: Nearest) -> float:
    """The median distance to the nearest."""
    return float(found.distances[:, 0].median())
