"""The boxes that were found, written as annotations are: for other programs, or to be corrected and learnt from.

    coco: annotations.json (images, categories, annotations) and results.json, the list that COCO's tools evaluate
    yolo: a text file for each image, in the folders the images are in, and data.yaml with the names of the classes

`olhar check` reads both: annotations.json by its name, text files in a folder beside the images. Numbers are not
rounded beyond what a file of normal size holds: 1/100 pixel, and a share of 1e-6.
"""

import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from olhar.data.image_size import size_of
from olhar.errors import UserError
from olhar.ops.boxes import to_centre, to_corner
from olhar.tasks.box_task import BoxPrediction
from olhar.tasks.task import Prediction

FORMATS = ("coco", "yolo")
WRITTEN = (".json", ".txt", ".yaml", ".yml", ".xml", ".csv")  # what annotations are kept in: never overwritten


@dataclass(frozen=True)
class Seen:
    """One image that was looked at: its file, its height and width, what was found."""

    path: Path
    size: tuple[int, int]
    found: BoxPrediction


def write_boxes(
    answers: Iterable[tuple[Path, Prediction]], folder: Path, form: str
) -> Iterator[tuple[Path, Prediction]]:
    """Pass `answers` on, and write them into `folder` in one of FORMATS, at the end, or where it was interrupted.

    Raises UserError where there are annotations in `folder`, for somebody may have drawn them, or it cannot be written.
    """
    taken = next((p for p in sorted(folder.rglob("*")) if p.suffix.lower() in WRITTEN), None)
    if taken:
        raise UserError(f"{folder} already holds {taken.name}, which is not overwritten: give --out another folder.")
    seen: list[Seen] = []
    try:
        for path, prediction in answers:
            assert isinstance(prediction, BoxPrediction)
            seen.append(Seen(path, size_of(path), prediction))
            yield path, prediction
    finally:
        if seen:
            write(seen, folder, form)


def write(seen: Sequence[Seen], folder: Path, form: str) -> None:
    """All files of one format. Raises UserError where `folder` cannot be written."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if form == "coco":
            document = coco(seen, folder)
            (folder / "annotations.json").write_text(json.dumps(document), encoding="utf-8")
            (folder / "results.json").write_text(json.dumps(results(document)), encoding="utf-8")
            return
        for name, text in yolo(seen).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text, encoding="utf-8")
        names = {"names": dict(enumerate(seen[0].found.class_names))}
        (folder / "data.yaml").write_text(yaml.safe_dump(names, allow_unicode=True, sort_keys=False), encoding="utf-8")
    except OSError as error:
        raise UserError(f"Could not write {folder}: {error.strerror or error}.") from error


def coco(seen: Sequence[Seen], folder: Path) -> dict[str, Any]:
    """The document of COCO's annotations; ids count from 1, as COCO's own do. An annotation also has its `score`.

    Images are named by their paths from `folder`, in which the document lies.
    """
    names = seen[0].found.class_names
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for one in seen:
        height, width = one.size
        images.append({"id": len(images) + 1, "file_name": from_here(one, folder), "height": height, "width": width})
        found = one.found
        for box, score, label in zip(to_corner(found.boxes).tolist(), found.scores, found.labels, strict=True):
            x, y, w, h = (round(value, 2) for value in box)
            annotations.append(
                {"id": len(annotations) + 1, "image_id": len(images), "category_id": names.index(label) + 1}
                | {"bbox": [x, y, w, h], "area": round(w * h, 2), "iscrowd": 0, "score": round(score, 5)}
            )
    categories = [{"id": k, "name": name} for k, name in enumerate(names, 1)]
    return {"images": images, "categories": categories, "annotations": annotations}


def results(document: dict[str, Any]) -> list[dict[str, Any]]:
    """Of a document of `coco` what COCO's tools want to be given of a detector."""
    keys = ("image_id", "category_id", "bbox", "score")
    return [{key: one[key] for key in keys} for one in document["annotations"]]


def yolo(seen: Sequence[Seen]) -> dict[str, str]:
    """name of a file -> its lines `class x y width height`: centre and size as shares of the image's sides.

    The surest box comes first; scores are left out, for who trains on such files does not expect them. An image
    without an object has an empty file. Of two images that differ only by their extension the second keeps it.
    """
    root = common_folder([one.path for one in seen])
    files: dict[str, str] = {}
    for one in seen:
        path = one.path.absolute().relative_to(root) if one.found.id == str(one.path) else Path(one.found.id)
        name = path.with_suffix(".txt").as_posix()
        name = name if name not in files else f"{path.as_posix()}.txt"
        height, width = one.size
        shares = to_centre(one.found.boxes) / torch.tensor([width, height, width, height])
        rows = zip(one.found.labels, shares.tolist(), strict=True)
        lines = [" ".join([str(one.found.class_names.index(k)), *(f"{v:.6f}" for v in row)]) for k, row in rows]
        files[name] = "".join(f"{line}\n" for line in lines)
    return files


def from_here(one: Seen, folder: Path) -> str:
    """The path of an image from a folder; of what came in by standard input its name."""
    if one.found.id != str(one.path):
        return one.found.id
    return os.path.relpath(one.path, folder).replace(os.sep, "/")


def common_folder(paths: Sequence[Path]) -> Path:
    """The deepest folder that holds all of them, as far as their own names say."""
    return Path(os.path.commonpath([path.absolute().parent for path in paths]))
