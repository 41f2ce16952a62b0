"""A trained model and its folder: what can be asked of it, on this machine or another.

run = olhar.load("runs/photos-1")
run.predict(["new.jpg"])
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from olhar import build, growth, language
from olhar.data.loader import Loader
from olhar.data.masks import Relabelled
from olhar.data.reading import Frame
from olhar.data.recognise import recognise
from olhar.data.sample import Collection, Record, to_device
from olhar.data.text import Tokenizer
from olhar.errors import UserError
from olhar.fit import make_accelerator
from olhar.folder import RunFolder
from olhar.generate import Drawn, Wish, generate
from olhar.predict import predict_files
from olhar.shipped import shipped
from olhar.tasks import PixelTask, Prediction
from olhar.tasks.align import Align
from olhar.tasks.detect import Detect
from olhar.tasks.reconstruct import Reconstruct
from olhar.tasks.task import Pictures
from olhar.tiles import View
from olhar.train.device import autocast, describe_machine, pick_device
from olhar.train.evaluate import evaluate

if TYPE_CHECKING:
    from olhar.look import Look
    from olhar.report.story import LatentView
    from olhar.search import Search


NEAR_SECONDS = 3.0  # in which training images are read to be compared with what was drawn
PAGE_SECONDS = 3.0  # after the instruments: the rest of the page, and leaving
MAPPED, WAYS = 150, 4  # images on the map of an autoencoder's latents, and ways between two of them


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
        self.feeder = build.Feeder.from_facts(self.facts, folder.config, tokenizer=folder.tokenizer)

    @property
    def path(self) -> Path:
        return self.folder.path

    @property
    def result(self) -> dict[str, Any]:
        """What the run came to: the metrics of each split, the best epoch, the seconds."""
        return self.facts.get("result", {})

    @property
    def answers_with_pictures(self) -> bool:
        """An answer is a mask or an image, and not only words."""
        return isinstance(self.task, PixelTask)

    def computing(self) -> AbstractContextManager[Any]:
        """While this holds, heavy operations use the number format that was measured to be fastest in training, where
        this is the machine it was measured on."""
        choice = self.facts.get("precision", {}).get("choice", "fp32")
        here = describe_machine(self.device)
        same = all(self.facts["machine"].get(key) == here[key] for key in ("cpu", "device"))
        return autocast(self.device, choice if same else "fp32")

    def view(self, flips: bool = False, tiles: bool = False) -> View:
        """How a task about every place of an image sees it."""
        assert isinstance(self.task, PixelTask)
        assert self.frame is not None
        any_size = getattr(getattr(self.task.model, "encoder", None), "any_size", True)
        return View(self.task, self.frame, any_size, flips, tiles)

    @property
    def frame(self) -> Frame | None:
        """What a task about places in an image sees of it; None for the other tasks."""
        facts = self.facts["model"].get("frame")
        return Frame.from_facts(facts) if facts else None

    def loader(self, records: Sequence[Record], batch_size: int) -> Loader:
        """Images prepared as in training, in order, without augmentation."""
        return self.feeder.plain(records, batch_size=batch_size)

    def predict(
        self,
        inputs: Sequence[str | Path] | str | Path,
        batch_size: int = 64,
        flips: bool = False,
        tiles: bool = False,
        classes: Sequence[str] = (),
        prompts: Sequence[str] = (),
    ) -> list[Prediction]:
        """Answers for files, folders (with all below them) and patterns such as `img*.jpg`, in their order.

        Of a run that learnt from captions: which of `classes` an image shows, each in the `prompts`, as "a photo of a
        {}"; without classes, which captions of the training fit.
        Raises UserError where an input does not exist or holds no image.
        """
        language.choose_from(self, classes, prompts)
        several = [inputs] if isinstance(inputs, str | Path) else inputs
        return [prediction for _, prediction in predict_files(self, several, batch_size, flips=flips, tiles=tiles)]

    def evaluate(
        self, data: str | Path, split: str | None = None, classes: Sequence[str] = (), prompts: Sequence[str] = ()
    ) -> dict[str, float]:
        """The loss (nats) and the metrics on labelled data: their test split, else val, else all of them.

        A run that learnt from captions takes class folders too, and tells the classes by their names (zero-shot):
        `classes` are the words for them, `prompts` captions with a place for a name, as "a photo of a {}".
        Raises UserError where the data cannot be read as this run's task, or have other classes.
        """
        if classes or prompts:
            language.reader_of(self)
        task = self.facts["task"]["name"] if not isinstance(self.task, Align) else "classify" if classes else None
        config = replace(self.folder.config.data, task=task, val_fraction=0.0)
        if isinstance(self.task, Align):  # the columns of its own table are not those of another
            config = replace(config, format=None, file_column=None, label_column=None)
        collection = recognise(data, config=config)
        by_name = isinstance(self.task, Align) and collection.task == "classify"
        records = collection.records if by_name else align_classes(collection, self.facts["data"]["class_names"])
        chosen = split_of(records, data, split)
        if by_name:
            return language.zero_shot(self, collection, chosen, classes, prompts)
        if collection.task != self.task.name:
            raise UserError(f"{data} holds images to {collection.task}: give captions, or a folder for each class.")
        loader = self.loader([r for r in records if r.split == chosen], build.evaluation_batch(self.facts, 32))
        return evaluate(self.task, loader.epoch(0), make_accelerator(self.device, "fp32"))

    @property
    def tokenizer(self) -> Tokenizer | None:
        """What makes tokens of texts; None where the run read none."""
        return self.feeder.tokenizer

    def inspect(
        self,
        name: str,
        images: Sequence[str | Path] | str | Path = (),
        layer: str | None = None,
        text: str | None = None,
        beside: str | Path | None = None,
        tell: Callable[[float], None] = lambda share: None,
    ) -> "Look":
        """What one instrument sees inside: `values`, their `table()`, and a `figure()` of them.

        `images` are files, folders or patterns; none: some of the run's own validation images. `text` is what they are
        said to show; None: their own captions. `beside` is the folder of another run to compare with; `tell` is told
        the share of the work that is done, where it takes long.
        Raises UserError where there is no such instrument, layer or image, or it does not fit this model.
        """
        from olhar.look import look  # figures take a while to import

        several = [images] if isinstance(images, str | Path) else images
        with self.computing():
            other = None if beside is None else RunFolder.open(beside)
            return look(self.folder, self.task, self.device, name, several, layer, text, other, tell)

    def instruments(self) -> dict[str, str | None]:
        """Every instrument with None, or the sentence that says why it does not fit this run."""
        from olhar.look import fitting

        return fitting(self.folder, self.task, self.device)

    def search(
        self,
        query: str | Path,
        folder: str | Path | None = None,
        top: int = 12,
        words: bool = False,
        tell: Callable[[float], None] = lambda share: None,
    ) -> "Search":
        """The images of a folder (of the run's own data) that fit a text or an image best; `words`: texts that do.

        `tell` is told which share of the images that are new to it is read.

        Raises UserError where the run reads no texts, or the query or the folder cannot be read.
        """
        from olhar.search import search

        return search(self, str(query), folder, top, words, tell)

    def similar_words(self, text: str, top: int = 10) -> list[tuple[str, float]]:
        """Words of the training captions whose vectors point most nearly where that of `text` does (Eq 3.1)."""
        return [(hit.found, hit.similarity) for hit in self.search(text, top=top, words=True).shown]

    def generate(self, texts: Sequence[str] | str = (), batch_size: int = 16, **wishes: Any) -> list[Drawn]:
        """New images: of texts or classes, or of nothing; see `olhar.generate.Wish` for all that can be asked.

        Raises UserError where the run cannot draw, or not what is asked for.
        """
        several = (texts,) if isinstance(texts, str) else tuple(texts)
        return list(generate(self, Wish(texts=several or (None,), **wishes), batch_size))

    def report(self, deadline: float = math.inf) -> Path:
        """Write report.html: one page that opens without a network. Returns its path.

        `deadline` is the `time.monotonic()` by which it must be there: instruments that take too long are left out.
        """
        from olhar import look
        from olhar.inspection.network import network
        from olhar.report import write_report

        allowed = max(look.SECONDS, look.SHARE * self.result.get("seconds", 0.0))

        def drawings(mistakes: list[str]) -> "dict[str, str | None]":
            until = min(time.monotonic() + allowed, deadline - PAGE_SECONDS)
            with self.computing():
                return look.drawings(self.folder, self.task, self.device, mistakes, until)

        samples = growth.samples(self.folder.samples)
        if samples is not None:
            from olhar.judged import beside_training

            samples = beside_training(self, samples, min(time.monotonic() + NEAR_SECONDS, deadline - PAGE_SECONDS))
        model = self.task.model.image_encoder if isinstance(self.task, Align) else self.task.model
        return write_report(
            self.path,
            images=self.pictures,
            network=network(model, build.input_shape(self.facts["model"])),
            latent=self.latent_view(),
            drawings=drawings,
            match=language.match_view(self),
            samples=samples,
        )

    def latent_view(self) -> "LatentView | None":
        """Of an autoencoder: ways between images of its validation split, and a map of them."""
        if not (isinstance(self.task, Reconstruct) and "latent" in self.facts["model"]):
            return None
        from olhar.inspection.latent import interpolation, latents, project
        from olhar.report.story import LatentView

        ids = json.loads(self.folder.splits.read_text(encoding="utf-8"))["val"][:MAPPED]
        images = [strip["image"] for strip in self.pictures(ids) if strip]
        if len(images) < 3:
            return None
        with torch.inference_mode():
            stacked = torch.stack([image.contiguous() for image in images]).to(self.device)
            codes = torch.cat([latents(self.task, some).float().flatten(1).cpu() for some in stacked.split(64)])
            pairs = list(zip(stacked[0::2], stacked[1::2], strict=False))[:WAYS]
            ways = [interpolation(self.task, first, last) for first, last in pairs]
        places, explained = project(codes.numpy())
        return LatentView(ways, places, images, explained)

    def pictures(self, ids: list[str]) -> list[Pictures | None]:
        """The images of the run's own data by id as evaluation sees them, and where answers are pictures the answer
        and the truth beside them; None where they are no longer there."""
        try:
            records = {r.id: r for r in recognise(self.facts["data"]["path"], config=self.folder.config.data).records}
        except UserError:
            return [None] * len(ids)
        return [self.picture(records[id]) if id in records else None for id in ids]

    def picture(self, record: Record) -> Pictures | None:
        """The same of one record."""
        batch = self.feeder.read(record)
        if batch is None:
            return None
        if not isinstance(self.task, PixelTask | Detect):
            return {"image": batch["image"][0]}
        with torch.inference_mode(), self.computing():
            here = to_device(batch, self.device)
            return self.task.draw(self.task.output(here), here)[0]


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
            box_labels=None if r.box_labels is None else tuple(to[k] for k in r.box_labels),
            mask=None if r.mask is None else Relabelled(r.mask, tuple(to)),
        )
        for r in collection.records
    ]


def split_of(records: Sequence[Record], data: str | Path, split: str | None) -> str:
    """The split that was asked for, or test, else val, else train. Raises UserError where no record is of it."""
    present = {record.split for record in records}
    chosen = split or next(s for s in ("test", "val", "train") if s in present)
    if chosen not in present:
        raise UserError(f"{data} has no {chosen} split: it has {', '.join(sorted(present))}.")
    return chosen


def load(path: str | Path, device: str = "auto") -> Run:
    """A finished or interrupted run, from its folder alone, or a model that comes along, by its name. Raises UserError
    where it is neither."""
    return Run(RunFolder.open(shipped(path) or path), pick_device(device))
