"""Ask a trained model about images: files, folders, patterns or standard input; answers as they come.

What is unreadable is named and left out; nothing else is lost by it.
"""

import csv
import glob
import sys
import tempfile
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from itertools import chain, islice
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from olhar.box_tiles import find_in_parts, too_large
from olhar.data.decode import decode, decode_with_alpha
from olhar.data.header import IMAGE_EXTENSIONS
from olhar.data.image_size import size_of
from olhar.data.loader import Loader
from olhar.data.reading import Frame
from olhar.data.sample import Batch, Record, to_device
from olhar.errors import UserError, nearest_path
from olhar.ops.answers import Kept
from olhar.tasks.align import CaptionPrediction
from olhar.tasks.box_task import BoxPrediction, predictions
from olhar.tasks.classify import ClassPrediction
from olhar.tasks.detect import Detect
from olhar.tasks.diffuse import Diffuse
from olhar.tasks.pixel_task import PixelTask
from olhar.tasks.segment import MaskPrediction
from olhar.tasks.task import Prediction, Task
from olhar.tiles import View

STDIN = "-"
BOX_COLUMNS = ("file", "class", "score", "x0", "y0", "x1", "y1")
CAPTION_COLUMNS = ("file", "place", "caption", "similarity", "probability")
MOST_COUNTS = 12  # classes of objects that are counted side by side: a screen has no room for more
MOST_AREAS = 5  # classes of a mask that a line names, unless --top says how many


@runtime_checkable
class Trained(Protocol):
    """What is needed of a run: its task, where and how it computes, and a loader that prepares images as in training;
    for tasks about every place, the way they see an image."""

    task: Task
    device: torch.device

    def computing(self) -> AbstractContextManager[Any]: ...
    def view(self, flips: bool, tiles: bool) -> View: ...
    @property
    def frame(self) -> Frame | None: ...
    def loader(self, records: Sequence[Record], batch_size: int) -> Loader: ...


def predict_files(
    run: Trained,
    inputs: Sequence[str | Path],
    batch_size: int = 64,
    unreadable: dict[str, str] | None = None,
    flips: bool = False,
    tiles: bool = False,
) -> Iterator[tuple[Path, Prediction]]:
    """The answers of `run` to every image of `inputs`, in their order, a batch at a time.

    Args:
        flips: for tasks about every place: the mean of the answers for the image and its mirror image.
        tiles: images that are larger than those of the training are looked at part by part, at its scale.
        inputs: files, folders (with all below them), patterns such as `img*.jpg`, or `-` for standard input.
        unreadable: receives name -> reason for the images that are left out.
    Raises:
        UserError: an input does not exist, there is no image in any of them, or the run learnt to draw.
    """
    check_answers(run.task)
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        paths = {"stdin" if p.parent == scratch else str(p): p for p in expand(inputs, scratch)}
        run.task.eval()
        if isinstance(run.task, PixelTask):
            view = run.view(flips, tiles)
            yield from predict_pixels(run, run.task, view, paths, {} if unreadable is None else unreadable)
            return
        if tiles and isinstance(run.task, Detect):
            yield from predict_parts(run, run.task, paths, {} if unreadable is None else unreadable)
            return
        loader = run.loader([Record(id=name, image=path, split="test") for name, path in paths.items()], batch_size)
        loader.forgiving = True  # a folder of anything may be asked about
        for batch in loader.epoch(0):
            with torch.inference_mode(), run.computing():
                answers = run.task.predict(to_device(batch, run.device))
            for prediction in answers:
                yield paths[prediction.id], prediction
        if unreadable is not None:
            for name, reason in loader.unreadable.items():
                unreadable[name] = reason.replace(str(paths[name]), name)


def predict_parts(
    run: Trained, task: Detect, paths: Mapping[str, Path], unreadable: dict[str, str]
) -> Iterator[tuple[Path, Prediction]]:
    """The same for boxes, one image after the other, the large ones in parts."""
    frame, channels = run.frame, len(task.mean.flatten())
    assert frame is not None

    def find(batch: Batch) -> Sequence[Kept]:
        here = to_device(batch, run.device)
        with torch.inference_mode(), run.computing():
            return task.found(task.output(here), task.threshold)

    for name, path in paths.items():
        try:
            size = size_of(path)
            if too_large(size, frame):
                image = decode(path, channels=channels)
                kept = find_in_parts(image, frame, find, task.overlap)
                batch: Batch = {"id": [name], "image": image[None], "size": torch.tensor([size])}
                (prediction,) = predictions([kept], batch, task.class_names)
            else:
                (batch,) = run.loader([Record(id=name, image=path, split="test")], 1).epoch(0)
                (prediction,) = predictions(find(batch), batch, task.class_names)
            yield path, prediction
        except UserError as error:
            unreadable[name] = str(error).replace(str(path), name)


def predict_pixels(
    run: Trained, task: PixelTask, view: View, paths: Mapping[str, Path], unreadable: dict[str, str]
) -> Iterator[tuple[Path, Prediction]]:
    """The same for a task about every place: one image after the other at its own size, the next one read meanwhile."""
    channels = len(task.mean.flatten())

    def answer(planes: Tensor) -> Tensor:
        return task.answer(to_device(task.batch_of(planes), run.device)).float()

    names = iter(paths)
    with ThreadPoolExecutor(1, "olhar-read") as reading:

        def begin(name: str) -> tuple[str, Future[tuple[Tensor, Tensor | None]]]:
            return name, reading.submit(decode_with_alpha, paths[name], channels)

        waiting = deque(map(begin, islice(names, 2)))
        while waiting:
            name, coming = waiting.popleft()
            try:
                image, alpha = coming.result()
                with torch.inference_mode(), run.computing():
                    planes = task.prepare(image, alpha)
                    values = task.complete(view.settled(planes, answer), planes)
                yield paths[name], task.prediction(name, values)
            except UserError as error:
                unreadable[name] = str(error).replace(str(paths[name]), name)
            waiting.extend(map(begin, islice(names, 1)))


def check_output(task: Task, out: Path | None, form: str | None) -> None:
    """Raise UserError where files are asked for (`--out`, `--format`) that a task has not, or it has no answers."""
    check_answers(task)
    boxes = isinstance(task, Detect)
    if out and not (boxes or isinstance(task, PixelTask)):
        raise UserError("The answers of this run are words or numbers, no files for --out: use --csv or --json.")
    if form and not (out and boxes):
        why = "says in which form boxes go to a folder" if boxes else "is for runs that find boxes"
        raise UserError(f"--format {form} {why}: {'add --out DIR' if boxes else 'leave it out'}.")


def check_answers(task: Task) -> None:
    """Raise UserError for a run that learnt to draw: of a given image it could say only how noisy it looks."""
    if isinstance(task, Diffuse):
        raise UserError(
            "This run learnt to draw, and has no answers about images: ask it with `olhar generate`, "
            "which begins from an image with --init-image, or measure it with `olhar evaluate`."
        )


def expand(inputs: Sequence[str | Path], folder: Path) -> list[Path]:
    """Every image file `inputs` stand for, each once, in order. `folder` takes an image from standard input.

    Raises UserError where an input does not exist or holds no image.
    """
    paths = list(dict.fromkeys(chain.from_iterable(expand_one(str(one), folder) for one in inputs)))
    if not paths:
        raise UserError(f"There is no image in {', '.join(map(str, inputs))}: give files, folders or patterns.")
    return paths


def expand_one(text: str, folder: Path) -> Iterable[Path]:
    """The image files one input stands for."""
    if text == STDIN:
        return from_stdin(sys.stdin.buffer.read(), folder)
    if "://" in text:
        raise UserError(f"{text} is an address: olhar fetches nothing by itself, so save the image and give its path.")
    path = Path(text).expanduser()
    if path.is_dir():
        return sorted(p for p in path.rglob("*") if p.suffix.lower() in IMAGE_EXTENSIONS and visible(p, path))
    if path.exists():
        return [path]
    # the glob module, for Path.glob takes no absolute pattern
    found = sorted(glob.glob(str(path), recursive=True)) if glob.has_magic(text) else []  # noqa: PTH207
    if not found:
        raise UserError(missing(path))
    return chain.from_iterable(expand_one(one, folder) for one in found)


def missing(path: Path) -> str:
    return f"There is no '{path}': {nearest_path(path)}"


def visible(path: Path, root: Path) -> bool:
    """Not in a hidden folder below `root`: caches and thumbnails are not what was asked about."""
    return not any(part.startswith(".") for part in path.relative_to(root).parts)


def from_stdin(content: bytes, folder: Path) -> list[Path]:
    """Standard input holds one image, or a list of paths, one a line: text has no zero bytes and is UTF-8."""
    if not content:
        raise UserError("Standard input is empty: pipe an image into it, or a list of paths, one a line.")
    try:
        lines = [] if b"\0" in content else content.decode().split("\n")
    except UnicodeDecodeError:
        lines = []
    if lines:
        return [path for line in lines if line.strip() for path in expand([line.strip()], folder)]
    image = folder / "stdin"
    image.write_bytes(content)
    return [image]


def document(prediction: Prediction, k: int | None = None) -> dict[str, Any]:
    """A prediction as JSON holds it: probabilities by class, likeliest first, the first k of them; boxes one by one."""
    if isinstance(prediction, BoxPrediction):
        return {"file": prediction.id, "objects": objects(prediction, k)}
    values = {"file": prediction.id} | {key: value for key, value in prediction.row().items() if key != "id"}
    if isinstance(prediction, CaptionPrediction):
        values["captions"] = values["captions"][:k]
    if isinstance(prediction, ClassPrediction):
        values["probabilities"] = dict(prediction.top(k or len(prediction.class_names)))
    return values


def objects(prediction: BoxPrediction, k: int | None = None) -> list[dict[str, Any]]:
    """The objects of an image, the surest first, the first k of them: class, score, box in its pixels."""
    row = prediction.row()
    every = zip(row["labels"], row["scores"], row["boxes"], strict=True)
    return [{"class": name, "score": score, "box": box} for name, score, box in islice(every, k)]


def csv_rows(prediction: Prediction) -> list[dict[str, Any]]:
    """The lines of a table for one image: for boxes one an object."""
    if isinstance(prediction, BoxPrediction):
        found = ((one, dict(zip(("x0", "y0", "x1", "y1"), one["box"], strict=True))) for one in objects(prediction))
        return [{"file": prediction.id, "class": one["class"], "score": one["score"]} | box for one, box in found]
    if isinstance(prediction, CaptionPrediction):
        ranked = enumerate(zip(prediction.captions, prediction.similarities, prediction.probabilities, strict=True), 1)
        return [dict(zip(CAPTION_COLUMNS, (prediction.id, place, *one), strict=True)) for place, one in ranked]
    row = table_row(prediction)
    if isinstance(prediction, MaskPrediction):
        areas = prediction.areas()
        row = {"file": prediction.id} | {name: areas.get(name, 0.0) for name in prediction.class_names}
    if isinstance(prediction, ClassPrediction):
        names = (f"p({name})" for name in prediction.class_names)
        row |= zip(names, prediction.probabilities, strict=True)
    return [{key: ";".join(value) if isinstance(value, list) else value for key, value in row.items()}]


def table_row(prediction: Prediction, k: int | None = None) -> dict[str, Any]:
    """A prediction as a line for people: the answer and its probability, or the k likeliest classes."""
    if k is not None and isinstance(prediction, ClassPrediction):
        ranked = prediction.top(k)
        return {"file": prediction.id} | {str(i): f"{label} {p:.1%}" for i, (label, p) in enumerate(ranked, 1)}
    if isinstance(prediction, CaptionPrediction):
        ranked = prediction.top(k or 3)
        return {"file": prediction.id} | {str(i): f"{text} {cosine:.3f}" for i, (text, cosine) in enumerate(ranked, 1)}
    if isinstance(prediction, BoxPrediction):
        counts = prediction.counts()
        return {"file": prediction.id} | {name: counts.get(name, 0) for name in prediction.class_names[:MOST_COUNTS]}
    values = {key: value for key, value in prediction.row().items() if key not in ("id", "probabilities")}
    if isinstance(prediction, MaskPrediction):
        shown = list(prediction.areas().items())[: k or MOST_AREAS]
        return {"file": prediction.id, "areas": ", ".join(f"{name} {share:.1%}" for name, share in shown)}
    return {"file": prediction.id} | {key: value for key, value in values.items() if value is not None}


def write_csv(answers: Iterable[tuple[Path, Prediction]], path: Path) -> Iterator[tuple[Path, Prediction]]:
    """Pass `answers` on, and write each to the table `path`: the answer, then the probability of every class; of boxes
    one line an object.

    Raises UserError where `path` cannot be written.
    """
    try:
        file = path.open("w", newline="", encoding="utf-8")
    except OSError as error:
        raise UserError(f"Could not write {path}: {error.strerror}.") from error
    with file:
        writer = None
        for image, prediction in answers:
            rows = csv_rows(prediction)
            if writer is None:
                writer = csv.DictWriter(file, BOX_COLUMNS if isinstance(prediction, BoxPrediction) else list(rows[0]))
                writer.writeheader()
            writer.writerows(rows)
            yield image, prediction
