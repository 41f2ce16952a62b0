"""`olhar inspect`: an instrument pointed at a run, its values and its figure.

Images are those that were given, else some of the run's own validation images, where its data are still there.
"""

import csv
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from matplotlib.figure import Figure

from olhar.build import Feeder
from olhar.data.recognise import recognise
from olhar.data.sample import Batch, Record, to_device
from olhar.errors import UserError, nearest
from olhar.folder import RunFolder
from olhar.inspection.figure import DARK, LIGHT, save
from olhar.inspection.instrument import Instrument, Subject, Values
from olhar.inspection.instruments import INSTRUMENTS
from olhar.predict import expand
from olhar.tasks.task import Task

BATCH = 32  # images at a time: gradients are kept for some instruments


@dataclass(frozen=True)
class Look:
    """What an instrument saw of a run: `values` with their `table()`, and the figure, drawn when it is asked for."""

    name: str
    instrument: Instrument
    values: Values
    layer: str | None = None

    def figure(self, dark: bool = False) -> Figure:
        """The drawing, on a light or a dark ground."""
        return self.instrument.figure(self.values, dark)

    def save(self, folder: str | Path, dark: bool = False) -> list[Path]:
        """Write the figure as SVG and PNG and the table as CSV; returns their paths. Raises UserError."""
        style = DARK if dark else LIGHT
        name = self.name + (f"-{self.layer}" if self.layer else "")
        drawn, ending = self.figure(dark), "-dark" if dark else ""
        paths = [save(drawn, Path(folder) / f"{name}{ending}.{kind}", style) for kind in ("svg", "png")]
        table = Path(folder) / f"{name}.csv"
        columns, rows = self.values.table()
        with table.open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([columns, *rows])
        return [*paths, table]


def look(
    folder: RunFolder,
    task: Task,
    device: torch.device,
    name: str,
    images: Sequence[str | Path] = (),
    layer: str | None = None,
    text: str | None = None,
) -> Look:
    """Point the instrument `name` at a trained task.

    Args:
        images: files, folders or patterns; none: the run's own validation images.
        layer: the part of the model to look at, where the instrument looks at one.
        text: what the images are said to show, where the instrument looks at that too; None: their own captions.
    Raises:
        UserError: there is no such instrument, layer or image, or the instrument does not fit the model.
    """
    if name not in INSTRUMENTS:
        raise UserError(f"There is no instrument '{name}': {nearest(name, INSTRUMENTS)}")
    instrument = INSTRUMENTS[name]
    with TemporaryDirectory() as scratch:
        paths = expand(images, Path(scratch)) if images else []
        subject = subject_of(folder, task, device, paths, layer, text)
        if reason := instrument.fits(subject):
            raise UserError(f"{name} does not fit this run: {reason}")
        if layer is not None and not instrument.takes_layer:
            raise UserError(f"{name} looks at the whole model: leave --layer out.")
        if text is not None and not instrument.takes_text:
            raise UserError(f"{name} looks at images alone: leave --text out.")
        subject.check_layer()
        return Look(name, instrument, instrument.look(subject), layer)


def fitting(folder: RunFolder, task: Task, device: torch.device) -> dict[str, str | None]:
    """Every instrument with None, or the sentence that says why it does not fit this run."""
    subject = subject_of(folder, task, device)
    return {name: instrument.fits(subject) for name, instrument in INSTRUMENTS.items()}


def subject_of(
    folder: RunFolder,
    task: Task,
    device: torch.device,
    paths: Sequence[Path] = (),
    layer: str | None = None,
    text: str | None = None,
) -> Subject:
    """What the instruments are shown of a run: `paths`, or without any its own validation images; `text` is said of
    all of them."""
    model = folder.facts["model"]
    height, width = model["image_size"]
    shape = (model["in_channels"], height, width)
    return Subject(task, shape, batches_of(folder, device, paths, text), layer, folder.path, folder.tokenizer)


def batches_of(
    folder: RunFolder, device: torch.device, paths: Sequence[Path] = (), text: str | None = None
) -> Callable[[], Iterator[Batch]]:
    """Reads the images when they are asked for, prepared as evaluation prepares them."""
    said: dict[str, Any] = {} if text is None else {"captions": (text,)}
    feeder = Feeder.from_facts(folder.facts, folder.config, tokenizer=folder.tokenizer)

    def batches() -> Iterator[Batch]:
        if paths:
            records = [Record(id=str(path), image=path, split="test", **said) for path in paths]
            frame = feeder.preprocess.frame
            # of a new image nobody knows the mask or the clean picture, and boxes may be missing
            known = "boxes" if frame and frame.truth == "boxes" else ""
            plain = replace(feeder.preprocess, frame=replace(frame, truth=known)) if frame else feeder.preprocess
            loader = replace(feeder, preprocess=plain).plain(records, BATCH)
        else:
            loader = feeder.plain([replace(record, **said) for record in own_records(folder)], BATCH)
        loader.forgiving = True
        for batch in loader.epoch(0):
            yield to_device(batch, device)

    return batches


def own_records(folder: RunFolder) -> list[Record]:
    """The validation images of the run, spread over the split so that the first ones show every class.

    Raises UserError where its data are no longer there.
    """
    try:
        known = {
            record.id: record for record in recognise(folder.facts["data"]["path"], config=folder.config.data).records
        }
        ids = json.loads(folder.splits.read_text(encoding="utf-8"))["val"]
        records = [known[name] for name in ids if name in known]
    except (UserError, OSError):
        records = []
    if not records:
        where = folder.facts["data"]["path"]
        raise UserError(f"The images of {where} that {folder.path} was validated on are gone: give some with --image.")
    return mixed(records)


def mixed(records: Sequence[Record]) -> list[Record]:
    """One of each class in turn, in the order of the data: a few of them stand for all."""
    groups: dict[object, list[Record]] = {}
    for record in records:
        groups.setdefault(record.label, []).append(record)
    longest = max(map(len, groups.values()))
    return [group[i] for i in range(longest) for group in groups.values() if i < len(group)]
