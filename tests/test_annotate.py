"""Boxes that were found, written and read again: by our own readers, and by COCO's."""

import contextlib
import io
import json
from pathlib import Path

import pytest
import torch
from PIL import Image
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from olhar import cli
from olhar.annotate import Seen, write, write_boxes
from olhar.config import DataConfig
from olhar.data.recognise import recognise
from olhar.data.sample import Collection
from olhar.errors import UserError
from olhar.tasks.box_task import BoxPrediction

NAMES = ("ant", "bee", "ölçü")
SIZES = {"a.png": (40, 60), "deep/b.png": (33, 47), "deep/empty.png": (20, 30)}  # height, width
FOUND = {
    "a.png": [((1.5, 2.25, 31.0, 30.5), 0.9, "bee"), ((0.0, 0.0, 60.0, 40.0), 0.4, "ant")],
    "deep/b.png": [((10.125, 5.0, 40.0, 32.875), 0.75, "ölçü")],
    "deep/empty.png": [],
}


@pytest.fixture
def seen(tmp_path: Path) -> list[Seen]:
    rows = []
    for name, (height, width) in SIZES.items():
        path = tmp_path / "inbox" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (width, height)).save(path)
        boxes = torch.tensor([box for box, _, _ in FOUND[name]]).reshape(-1, 4)
        scores, labels = (tuple(one[i] for one in FOUND[name]) for i in (1, 2))
        rows.append(Seen(path, (height, width), BoxPrediction(str(path), boxes, scores, labels, NAMES)))
    return rows


def same(collection: Collection, within: float) -> None:
    """A collection holds what FOUND has, to so many pixels."""
    assert collection.class_names == NAMES
    for record in collection.records:
        (name,) = [name for name in FOUND if record.id.endswith(name)]
        labels = [NAMES[k] for k in record.box_labels or ()]
        assert labels == [label for _, _, label in FOUND[name]]
        for own, (box, _, _) in zip(record.boxes or (), FOUND[name], strict=True):
            assert own == pytest.approx(box, abs=within)


def test_coco_is_read_again_by_olhar_wherever_the_images_are(seen: list[Seen], tmp_path: Path):
    write(seen, tmp_path / "elsewhere" / "found", "coco")
    config = DataConfig(val_fraction=0.0)
    collection = recognise(tmp_path / "elsewhere" / "found" / "annotations.json", config=config)
    assert (collection.format, collection.task, len(collection.records)) == ("coco", "detect", len(SIZES))
    same(collection, 0.02)


def test_coco_is_read_again_by_cocos_own_tools(seen: list[Seen], tmp_path: Path):
    """The results, measured against the document of the same boxes, are perfect; and every number is where it was."""
    write(seen, tmp_path, "coco")
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(tmp_path / "annotations.json"))
        found = truth.loadRes(str(tmp_path / "results.json"))
        evaluation = COCOeval(truth, found, "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    assert evaluation.stats[0] == pytest.approx(1.0)
    rows = json.loads((tmp_path / "results.json").read_text())
    assert [(row["image_id"], row["category_id"], row["score"]) for row in rows] == [
        (1, 2, 0.9),
        (1, 1, 0.4),
        (2, 3, 0.75),
    ]
    assert rows[0]["bbox"] == [1.5, 2.25, 29.5, 28.25]
    assert truth.loadImgs(2)[0]["width"] == 47


def test_yolo_is_read_again_beside_the_images(seen: list[Seen], tmp_path: Path):
    inbox = tmp_path / "inbox"
    write(seen, inbox / "labels", "yolo")
    assert (inbox / "labels" / "deep" / "empty.txt").read_text() == ""
    first = (inbox / "labels" / "a.txt").read_text().splitlines()[0].split()
    assert first[0] == "1"
    assert [float(v) for v in first[1:]] == pytest.approx([16.25 / 60, 16.375 / 40, 29.5 / 60, 28.25 / 40], abs=1e-6)
    collection = recognise(inbox, config=DataConfig(val_fraction=0.0))
    assert (collection.format, len(collection.records)) == ("yolo", len(SIZES))
    same(collection, 1e-3)


def test_images_that_differ_by_their_extension_have_files_of_their_own(tmp_path: Path):
    rows = []
    for name in ("1.png", "1.jpg"):
        Image.new("RGB", (4, 4)).save(tmp_path / name)
        nothing = BoxPrediction(str(tmp_path / name), torch.zeros(0, 4), (), (), NAMES)
        rows.append(Seen(tmp_path / name, (4, 4), nothing))
    write(rows, tmp_path / "out", "yolo")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["1.jpg.txt", "1.txt", "data.yaml"]


def test_annotations_that_are_there_are_never_overwritten(seen: list[Seen], tmp_path: Path):
    drawn = tmp_path / "labels" / "deep" / "b.txt"
    drawn.parent.mkdir(parents=True)
    drawn.write_text("0 0.5 0.5 0.1 0.1\n")
    with pytest.raises(UserError, match=r"already holds b.txt, .* another folder"):
        list(write_boxes([(one.path, one.found) for one in seen], tmp_path / "labels", "yolo"))
    assert drawn.read_text() == "0 0.5 0.5 0.1 0.1\n"


def test_what_was_found_before_an_interruption_is_written(seen: list[Seen], tmp_path: Path):
    answers = write_boxes([(one.path, one.found) for one in seen], tmp_path / "out", "coco")
    next(answers)
    answers.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert len(json.loads((tmp_path / "out" / "annotations.json").read_text())["images"]) == 1


@pytest.mark.parametrize(
    ("words", "message"), [("--out x", "no files for --out: use --csv"), ("--format yolo", "leave it out")]
)
def test_a_run_that_answers_with_words_writes_no_boxes(
    words: str, message: str, trained: Path, colours: Path, capsys: pytest.CaptureFixture[str]
):
    assert cli.main(["predict", str(trained), str(colours / "test"), *words.split()]) == 1
    assert message in capsys.readouterr().err
