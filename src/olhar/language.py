"""Texts beside images, after the training: which text fits an image, and classes by their names alone (zero-shot).

Shapes: T texts, K classes, E width of the common space.
"""

import json
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable
from unicodedata import category

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn.functional import normalize

from olhar import metrics
from olhar.data.loader import Loader
from olhar.data.recognise import recognise
from olhar.data.sample import Collection, Record, to_device
from olhar.data.text import Tokenizer
from olhar.errors import UserError, nearest
from olhar.folder import RunFolder
from olhar.models.clip import Encoded
from olhar.objectives.categorical import Categorical
from olhar.report.story import MatchView
from olhar.tasks.align import Align, Candidates
from olhar.tasks.task import Task

MATCHED = 1000  # pairs whose similarities a report shows some of
BATCH = 256  # texts at a time
PROMPTS = ("{}",)  # a name as it is, which is what most captions of one's own are


@runtime_checkable
class Reads(Protocol):
    """What is needed of a run."""

    task: Task
    device: torch.device
    folder: RunFolder

    def computing(self) -> AbstractContextManager[Any]: ...
    def loader(self, records: Sequence[Record], batch_size: int) -> Loader: ...


@dataclass(frozen=True)
class Reader:
    """The parts of a run that read: made by `reader_of`."""

    task: Align
    tokenizer: Tokenizer
    device: torch.device

    @torch.inference_mode()
    def read(self, texts: Sequence[str]) -> Encoded:
        """Texts as unit vectors, on the CPU. Raises UserError for a text with nothing in it."""
        if empty := [text for text in texts if not text.strip()]:
            raise UserError(f"'{empty[0]}' says nothing: write what an image shows, as a caption would.")
        self.task.eval()
        length = self.task.model.text_encoder.length
        parts = [texts[i : i + BATCH] for i in range(0, len(texts), BATCH)]
        tokens = (self.tokenizer.encode(part, length).to(self.device) for part in parts)
        read = [self.task.model.read_text(some) for some in tokens]
        words = [one.parts.cpu() for one in read if one.parts is not None]
        return Encoded(torch.cat([one.whole.cpu() for one in read]), torch.cat(words) if words else None)

    def vectors(self, texts: Sequence[str]) -> Float[Tensor, "T E"]:
        """The unit vectors of whole texts; see `read`."""
        return self.read(texts).whole

    def classes(self, names: Sequence[str], prompts: Sequence[str] = ()) -> Float[Tensor, "K E"]:
        """A vector a class: the mean of its name in each prompt, as `a photo of a {}`, on the unit sphere (Radford et
        al. 2021, section 3.1.4). A mean has no words: classes are told by vectors alone, whether words look at patches
        or not. Raises UserError for a prompt without a place for the name."""
        for prompt in prompts:
            if prompt.count("{}") != 1:
                raise UserError(f"The prompt '{prompt}' has no place for the name: write it like 'a photo of a {{}}'.")
        shown = [self.vectors([prompt.replace("{}", name) for name in names]) for prompt in prompts or PROMPTS]
        return normalize(torch.stack(shown).mean(0), dim=1)


def reader_of(run: Reads) -> Reader:
    """Raises UserError where the run reads no texts."""
    tokenizer = run.folder.tokenizer
    if tokenizer is None or not isinstance(run.task, Align):
        raise UserError(
            f"{run.folder.path} learnt to {run.task.name} and reads no texts: train on images with captions, "
            "`olhar train DATA --task align`, and ask that run."
        )
    return Reader(run.task, tokenizer, run.device)


def choose_from(run: Reads, classes: Sequence[str] = (), prompts: Sequence[str] = ()) -> None:
    """Set what `predict` chooses from: `classes`, else captions of the training. Raises UserError as `reader_of`."""
    if not (classes or prompts or isinstance(run.task, Align)):
        return  # answers of other tasks are what they learnt
    reader = reader_of(run)
    if classes or prompts:
        names = tuple(classes) or tuple(run.folder.captions)
        reader.task.candidates = Candidates(names, reader.classes(names, prompts))
    else:
        captions = tuple(run.folder.captions)
        reader.task.candidates = Candidates(captions, *reader.read(captions))


def zero_shot(
    run: Reads, collection: Collection, split: str, names: Sequence[str] = (), prompts: Sequence[str] = ()
) -> dict[str, float]:
    """How often the images of a split are given their class by its name alone: no image of it need have been learnt.

    Args:
        names: what the classes are called in the prompts: names of the collection's classes and perhaps of others, or
            as many words in its order; none: the collection's own.
    Raises:
        UserError: the names are neither, or images have several labels.
    """
    reader = reader_of(run)
    if collection.multilabel:
        raise UserError(
            f"{collection.root} has several labels an image, and classes told by their names (zero-shot) are one for "
            "each: give data with one label an image."
        )
    own = collection.class_names
    place = places(own, names, str(collection.root)) if names else list(range(len(own)))
    names = list(names) or [name.replace("_", " ") for name in own]
    vectors, scale = reader.classes(names, prompts).to(run.device), reader.task.model.scale.detach()
    found, nlls = metrics.classification(len(names)), []
    for batch in run.loader(collection.split(split), 64).epoch(0):
        with torch.inference_mode(), run.computing():
            image = reader.task.read_images(to_device(batch, run.device)).whole
        chosen = Categorical((image @ vectors.mT * scale).cpu())
        label = torch.tensor([place[k] for k in batch["label"].tolist()])
        nlls.append(chosen.nll(label))
        for metric in found.values():
            metric.update(chosen.probabilities, label)
    result = {"loss": float(torch.cat(nlls).mean())} | metrics.results(found)
    return result | {"accuracy_chance": 1 / len(names)}


def places(own: Sequence[str], names: Sequence[str], root: str) -> list[int]:
    """Which of the names each class of a collection in `root` has: the same but for blanks and large letters, or of as
    many other words the one at its place.

    Raises UserError where some are the same, and others neither among the names nor as many.
    """
    alike, given = ([" ".join(name.casefold().replace("_", " ").split()) for name in some] for some in (own, names))
    if set(alike) <= set(given):
        return [given.index(name) for name in alike]
    if len(names) == len(own) and not set(alike) & set(given):
        return list(range(len(own)))
    strange = next(name for name, plain in zip(own, alike, strict=True) if plain not in given)
    raise UserError(
        f"{root} has {len(own)} classes and --classes {len(names)} names, without '{strange}' "
        f"({nearest(strange, names)}): name all of them, or one other word for each of {', '.join(own[:8])}."
    )


def match_view(run: Reads) -> MatchView | None:
    """How similar images and captions of the split that was evaluated are; None where the data are gone, or there are
    no captions."""
    if not isinstance(run.task, Align):
        return None
    try:
        reader = reader_of(run)
        records = recognise(run.folder.facts["data"]["path"], config=run.folder.config.data).records
    except UserError:
        return None
    ids = json.loads(run.folder.splits.read_text(encoding="utf-8"))
    split = set((ids["test"] or ids["val"])[:MATCHED])
    loader = run.loader([record for record in records if record.id in split], 64)
    loader.forgiving = True
    seen: list[str] = []
    captions: list[str] = []
    vectors: list[Tensor] = []
    for batch in loader.epoch(0):
        with torch.inference_mode(), run.computing():
            vectors.append(reader.task.read_images(to_device(batch, run.device)).whole.cpu())
        seen, captions = seen + batch["id"], captions + batch["text"]
    if not vectors:
        return None
    return MatchView(seen, captions, (torch.cat(vectors) @ reader.vectors(captions).mT).numpy())


def words_of(captions: Sequence[str]) -> list[str]:
    """Every word of the captions once, in their order: letters, the marks on them, and digits between blanks and
    signs."""
    kept = ("".join(c if category(c)[0] in "LMN" else " " for c in caption.lower()).split() for caption in captions)
    return list(dict.fromkeys(word for caption in kept for word in caption))
