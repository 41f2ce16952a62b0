"""What an instrument is: a look at a trained task and some images that gives values, and one figure of them.

A new instrument is a file with a function (model or task, tensors) -> values, a subclass of `Values`, a drawing, and an
`Instrument` that joins them, in instruments/; and a line in its table.

Shapes: N batch, C channels, H W space.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import torch
from matplotlib.figure import Figure
from torch import Tensor, nn

from olhar.data.sample import Batch, first_of
from olhar.data.text import Tokenizer
from olhar.errors import UserError, nearest
from olhar.inspection.capture import output_shapes
from olhar.inspection.figure import DARK, LIGHT, Style
from olhar.layers.space import Latents
from olhar.models.classifier import Classifier
from olhar.tasks.align import Align
from olhar.tasks.classify import Classify
from olhar.tasks.diffuse import Diffuse
from olhar.tasks.task import Task


class Table(NamedTuple):
    """What is printed and written as CSV: plain values. Many rows are shown in part, and written in full."""

    columns: Sequence[str]
    rows: Sequence[Sequence[Any]]


class Values(ABC):
    """What an instrument saw: arrays and numbers, kept by the subclass in whatever form suits it."""

    @abstractmethod
    def table(self) -> Table:
        """The numbers a person wants to read."""

    def note(self) -> str:
        """What limits what was seen, and the cure, in one sentence; empty where nothing does."""
        return ""

    def document(self) -> dict[str, Any]:
        """What JSON shows: the table as a list of objects. A subclass with more to say adds to it."""
        columns, rows = self.table()
        return {"table": [dict(zip(columns, row, strict=True)) for row in rows]}


@dataclass(frozen=True)
class Subject:
    """What is looked at.

    Args:
        task: the trained task, in evaluation mode.
        input_shape: (C, H, W) of one image as its model sees it.
        batches: the images, a batch at a time on the task's device, as evaluation sees them, with their truth where it
            is known; given a function it tells that what share of them is read; raises UserError where there are none.
        layer: the part of the model that was asked for.
        folder: of the run, for what else lies in it.
        tokenizer: of a run that reads texts.
        beside: another run to compare with.
        tell: is told the share of the work that is done, where it takes long.
    """

    task: Task
    input_shape: tuple[int, int, int]
    batches: Callable[..., Iterator[Batch]]
    layer: str | None = None
    folder: Path | None = None
    tokenizer: Tokenizer | None = None
    beside: "Subject | None" = None
    tell: Callable[[float], None] = lambda share: None

    @property
    def model(self) -> nn.Module:
        """What sees images: of two towers the one of the images."""
        return self.task.model.image_encoder if isinstance(self.task, Align) else self.task.model

    @cached_property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Of each part of the model what it gives for one image, without the batch axis."""
        return output_shapes(self.model, self.input_shape)

    @property
    def maps(self) -> dict[str, tuple[int, ...]]:
        """Those that give maps with more than one place, in the order of the forward."""
        return {name: s for name, s in self.shapes.items() if len(s) == 3 and s[1] * s[2] > 1}

    def chosen_map(self, default: str | None = None) -> str:
        """The layer that was asked for, which must give a map; else `default`, or the last one of the encoder.

        Raises UserError where there is no such part, or it gives no map.
        """
        if self.layer is None:
            return default or last_map(self.maps)
        self.check_layer()
        if self.layer not in self.maps:
            given = " x ".join(map(str, self.shapes.get(self.layer, ()))) or "nothing"
            raise UserError(
                f"'{self.layer}' gives no map to look at (it gives {given}): try --layer {last_map(self.maps)}."
            )
        return self.layer

    def check_layer(self) -> None:
        """Raise UserError where the model has no part of the name that was asked for."""
        known = [name for name in dict(self.model.named_modules()) if name]
        if self.layer is not None and self.layer not in known:
            raise UserError(f"The model has no part '{self.layer}': {nearest(self.layer, known)}")

    def first(self, count: int) -> Batch:
        """The first `count` images, or all there are, as one batch."""
        found: list[Batch] = []
        for batch in self.batches():
            found.append(batch)
            if sum(len(one["id"]) for one in found) >= count:
                break
        if not found:
            raise UserError("None of the images could be read: give others with --image.")
        return first_of(joined(found), count)


@dataclass(frozen=True)
class Instrument:
    """One way to look inside.

    Args:
        shows: in one line, what it shows.
        reading: two lines on how to read its figure.
        fits: None, or in a sentence why it does not make sense for this task and model.
        look: the values.
        draw: the figure of them, in a style whose context holds while it is called.
        takes_layer: it looks at one part of the model, which `layer` names.
        takes_text: it looks at images and a text about them.
        takes_beside: it can compare with another run.
        passes: what it costs, about, in passes of one image through the model; None: reports are without it.
    """

    shows: str
    reading: str
    fits: Callable[[Subject], str | None]
    look: Callable[[Subject], Any]
    draw: Callable[[Any, Style], Figure]
    takes_layer: bool = False
    takes_text: bool = False
    takes_beside: bool = False
    passes: int | None = None

    def figure(self, values: Values, dark: bool = False) -> Figure:
        """The drawing, on a light or a dark ground."""
        style = DARK if dark else LIGHT
        with style.context():
            return self.draw(values, style)


def always(subject: Subject) -> None:
    """It makes sense for every model."""


def needs_maps(subject: Subject) -> str | None:
    """Why not, for a model whose layers give no maps."""
    return None if subject.maps else "no layer of this model gives a map: each sees the whole image at once."


def needs_pixels(subject: Subject) -> str | None:
    """Why not, for a model that is shown latents."""
    if isinstance(subject.task, Diffuse) and isinstance(subject.task.space, Latents):
        return "what this model sees are latents and no pixels: look into RUN/autoencoder."
    return None


def needs_maps_of_pixels(subject: Subject) -> str | None:
    """Why not, for either reason."""
    return needs_pixels(subject) or needs_maps(subject)


def needs_classes(subject: Subject) -> str | None:
    """Why not, for a task that does not score classes of an image."""
    if isinstance(subject.task, Classify):
        return None
    return f"it explains the score of a class, and this run learnt to {subject.task.name}."


def needs_features(subject: Subject) -> str | None:
    """Why not, for a model without one vector an image before its head."""
    return None if isinstance(subject.model, Classifier) else "this model has no single vector an image before a head."


def last_map(maps: dict[str, tuple[int, ...]]) -> str:
    """The part a person would look at first: the last of the encoder that gives its coarsest map."""
    inside = {name: s for name, s in maps.items() if "encoder" in name.split(".") or "encoder." in name} or maps
    fewest = min(s[1] * s[2] for s in inside.values())
    coarsest = [name for name, s in inside.items() if s[1] * s[2] == fewest and name.count(".")] or list(inside)
    return coarsest[-1]  # a part finishes after those inside it


TRUTHS = ("label", "labels", "target", "mask", "clean", "boxes", "tokens")


def first_with_truth(subject: Subject, count: int, name: str) -> Batch:
    """The first images, for an instrument that looks at their loss: raises UserError where it is not known."""
    batch = subject.first(count)
    if not any(key in batch for key in TRUTHS) and not isinstance(subject.task, Diffuse):
        raise UserError(f"{name} needs the truth of its images: leave --image out, so that the run's own are taken.")
    return batch


def see(task: Task, batch: Batch) -> None:
    """The task's own forward of images, whose truth and captions nobody need know, for hooks to look at."""
    if isinstance(task, Align):
        task.read_images(batch)
    else:
        task.output(batch)


def model_input(task: Task, batch: Batch) -> Tensor:
    """What the model is given for a batch [N, C, H, W]: caught on the way in, so that it is what the task makes.

    A variational autoencoder is never called whole by its task, nor is a tower: they are given the normalised image.
    """
    seen: list[Tensor] = []
    handle = task.model.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    try:
        with torch.no_grad():
            see(task, batch)
    finally:
        handle.remove()
    return (seen[0] if seen else task.normalise(batch["image"])).detach()


def joined(batches: Sequence[Batch]) -> Batch:
    """Batches one after the other, as one."""
    first = batches[0]
    if len(batches) == 1:
        return first
    whole: dict[str, Any] = {}
    for key, value in first.items():
        parts: list[Any] = [batch[key] for batch in batches]  # type: ignore[literal-required]
        whole[key] = torch.cat(parts) if isinstance(value, Tensor) else [item for part in parts for item in part]
    return whole  # type: ignore[return-value]
