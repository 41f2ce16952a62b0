"""Ask a trained model about images: files, folders, patterns or standard input; answers as they come.

What is unreadable is named and left out; nothing else is lost by it.
"""

import csv
import glob
import sys
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch

from olhar.data.header import IMAGE_EXTENSIONS
from olhar.data.loader import Loader
from olhar.data.sample import Record, to_device
from olhar.errors import UserError, nearest_path
from olhar.tasks.classify import ClassPrediction
from olhar.tasks.task import Prediction, Task

STDIN = "-"


@runtime_checkable
class Trained(Protocol):
    """What is needed of a run: its task, where it computes, and a loader that prepares images as in training."""

    task: Task
    device: torch.device

    def loader(self, records: Sequence[Record], batch_size: int) -> Loader: ...


def predict_files(
    run: Trained,
    inputs: Sequence[str | Path],
    batch_size: int = 64,
    unreadable: dict[str, str] | None = None,
) -> Iterator[tuple[Path, Prediction]]:
    """The answers of `run` to every image of `inputs`, in their order, a batch at a time.

    Args:
        inputs: files, folders (with all below them), patterns such as `img*.jpg`, or `-` for standard input.
        unreadable: receives name -> reason for the images that are left out.
    Raises:
        UserError: an input does not exist, or there is no image in any of them.
    """
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        paths = {"stdin" if p.parent == scratch else str(p): p for p in expand(inputs, scratch)}
        loader = run.loader([Record(id=name, image=path, split="test") for name, path in paths.items()], batch_size)
        loader.forgiving = True  # a folder of anything may be asked about
        run.task.eval()
        for batch in loader.epoch(0):
            with torch.inference_mode():
                predictions = run.task.predict(to_device(batch, run.device))
            for prediction in predictions:
                yield paths[prediction.id], prediction
        if unreadable is not None:
            for name, reason in loader.unreadable.items():
                unreadable[name] = reason.replace(str(paths[name]), name)


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
    """A prediction as JSON holds it: probabilities by class, likeliest first, the first k of them."""
    values = {"file": prediction.id} | {key: value for key, value in prediction.row().items() if key != "id"}
    if isinstance(prediction, ClassPrediction):
        values["probabilities"] = dict(prediction.top(k or len(prediction.class_names)))
    return values


def table_row(prediction: Prediction, k: int | None = None) -> dict[str, Any]:
    """A prediction as a line for people: the answer and its probability, or the k likeliest classes."""
    if k is not None and isinstance(prediction, ClassPrediction):
        ranked = prediction.top(k)
        return {"file": prediction.id} | {str(i): f"{label} {p:.1%}" for i, (label, p) in enumerate(ranked, 1)}
    values = {key: value for key, value in prediction.row().items() if key not in ("id", "probabilities")}
    return {"file": prediction.id} | {key: value for key, value in values.items() if value is not None}


def write_csv(answers: Iterable[tuple[Path, Prediction]], path: Path) -> Iterator[tuple[Path, Prediction]]:
    """Pass `answers` on, and write each to the table `path`: the answer, then the probability of every class.

    Raises UserError where `path` cannot be written.
    """
    try:
        file = path.open("w", newline="", encoding="utf-8")
    except OSError as error:
        raise UserError(f"Could not write {path}: {error.strerror}.") from error
    with file:
        writer = None
        for image, prediction in answers:
            row = table_row(prediction)
            if isinstance(prediction, ClassPrediction):
                names = (f"p({name})" for name in prediction.class_names)
                row |= zip(names, prediction.probabilities, strict=True)
            row = {key: ";".join(value) if isinstance(value, list) else value for key, value in row.items()}
            if writer is None:
                writer = csv.DictWriter(file, list(row))
                writer.writeheader()
            writer.writerow(row)
            yield image, prediction
