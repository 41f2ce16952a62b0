"""Whole runs of detection: from Pascal VOC's files to boxes, tables, pictures and a page."""

import csv
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import olhar
from olhar import cli
from olhar.errors import UserError

FIXED = {"train.precision": "fp32", "train.memory_format": "contiguous", "train.device": "cpu", "quiet": True}
SIDE = (72, 96)  # height, width
NAMES = ("disc", "bar")
XML = "<annotation><filename>{}</filename><size><width>{}</width><height>{}</height></size>{}</annotation>"
OBJECT = "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin><xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"


def table(index: int, scale: int = 1) -> tuple[np.ndarray, list[tuple[str, int, int, int, int]]]:
    """Red squares and wide blue bars on a grey table, up to one in each quarter of it."""
    draw = np.random.default_rng(index)
    height, width = SIDE
    image = np.full((height, width, 3), 128.0)
    objects = []
    for quarter in range(4):
        if draw.random() < 0.3:
            continue
        k = int(draw.integers(2))
        w, h = (int(draw.integers(18, 24)),) * 2 if k == 0 else (int(draw.integers(30, 38)), int(draw.integers(12, 16)))
        x = width // 2 * (quarter % 2) + int(draw.integers(1, 48 - w))
        y = height // 2 * (quarter // 2) + int(draw.integers(1, 36 - h))
        image[y : y + h, x : x + w] = (210, 40, 40) if k == 0 else (40, 60, 200)
        objects.append((NAMES[k], *(scale * v for v in (x, y, x + w, y + h))))
    noisy = np.clip(image + draw.normal(0, 10, image.shape), 0, 255).astype(np.uint8)
    return noisy.repeat(scale, 0).repeat(scale, 1), objects


@pytest.fixture(scope="module")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Annotations/, JPEGImages/ and ImageSets/, the first image without an object."""
    folder = tmp_path_factory.mktemp("data") / "tables"
    lists: dict[str, list[str]] = {"train": [], "val": []}
    for part in ("Annotations", "JPEGImages", "ImageSets/Main"):
        (folder / part).mkdir(parents=True)
    for split, count in (("train", 24), ("val", 8)):
        for i in range(count):
            image, objects = table(i + 100 * (split == "val"))
            name = f"{split}{i:02}"
            written = "".join(OBJECT.format(*one) for one in objects)
            Image.fromarray(image).save(folder / "JPEGImages" / f"{name}.png")
            (folder / "Annotations" / f"{name}.xml").write_text(XML.format(f"{name}.png", SIDE[1], SIDE[0], written))
            lists[split].append(name)
    for split, names in lists.items():
        (folder / "ImageSets" / "Main" / f"{split}.txt").write_text("\n".join(names))
    return folder


SMALL = {"model": "resnet9-slim", "model.args": {"widths": "8,16,32,32"}, "model.detector_args": {"width": 32}}


ONCE = {"train.evaluations": 1}


@pytest.fixture(scope="module")
def detected(tables: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    run = tmp_path_factory.mktemp("runs") / "tables-1"
    olhar.train(tables, run=run, epochs=20, batch_size=8, **SMALL, **FIXED, **ONCE)
    return run


def test_boxes_are_learnt(detected: Path):
    facts = json.loads((detected / "run.json").read_text())
    assert facts["task"]["name"] == "detect"
    assert facts["result"]["val"]["ap50"] > 0.85
    assert facts["model"]["image_size"] == list(SIDE)
    assert facts["data"]["class_counts"]["val"] == [
        sum(name == own for i in range(8) for name, *_ in table(100 + i)[1]) for own in sorted(NAMES)
    ]
    assert facts["task"]["settings"]["threshold"] == pytest.approx(facts["result"]["val"]["threshold"], rel=1e-3)
    page = (detected / "report.html").read_text()
    for panel in ("classes", "precision-recall", "kinds", "examples", "mistakes", "network"):
        assert f'<section id="{panel}"' in page, panel


def test_boxes_are_in_the_pixels_of_the_image(detected: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    for scale in (1, 5):
        Image.fromarray(table(107, scale)[0]).save(tmp_path / f"{scale}.png")
    (tmp_path / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\nnot really")
    words = ["predict", str(detected), str(tmp_path), "--csv", str(tmp_path / "boxes.csv")]
    assert cli.main([*words, "--pictures", str(tmp_path / "seen")]) == 1, "one image is broken"
    said = capsys.readouterr()
    assert "broken.png" in said.err
    assert said.out.splitlines()[0].split() == ["file", *sorted(NAMES)]
    with (tmp_path / "boxes.csv").open() as file:
        rows = list(csv.DictReader(file))
    for scale in (1, 5):
        truth = table(107, scale)[1]
        own = [row for row in rows if row["file"].endswith(f"{scale}.png")]
        assert len(own) >= len(truth) > 0
        for name, *box in truth:
            errors = [
                max(abs(float(row[key]) - edge) for key, edge in zip(("x0", "y0", "x1", "y1"), box, strict=True))
                for row in own
                if row["class"] == name
            ]
            assert min(errors) < 4 * scale
        with Image.open(tmp_path / "seen" / f"{scale}.png") as picture:
            assert picture.width == 480
    assert cli.main(["predict", str(detected), str(tmp_path / "1.png"), "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert {"class", "score", "box"} == set(one["objects"][0])


def test_large_images_are_looked_at_in_parts(detected: Path, tmp_path: Path):
    """Four tables side by side are one large image: what is found in it is what is found in each, and at its place."""
    numbers = (101, 107, 105, 104)
    pictures = [table(number)[0] for number in numbers]
    both = np.vstack([np.hstack(pictures[:2]), np.hstack(pictures[2:])])
    Image.fromarray(both).save(tmp_path / "large.png")
    (found,) = olhar.load(detected).predict(tmp_path / "large.png", tiles=True)
    objects = [
        (name, x0 + dx, y0 + dy, x1 + dx, y1 + dy)
        for number, (dy, dx) in zip(numbers, ((0, 0), (0, SIDE[1]), (SIDE[0], 0), SIDE), strict=True)
        for name, x0, y0, x1, y1 in table(number)[1]
    ]
    right = 0
    for name, *box in objects:
        errors = [
            (own - torch.tensor(box)).abs().max() for own, k in zip(found.boxes, found.labels, strict=True) if k == name
        ]
        right += min(errors, default=torch.tensor(99)) < 6
    assert right >= 0.8 * len(objects) > 5
    assert len(found.labels) <= 1.3 * len(objects)


def test_evaluating_the_same_data_gives_the_same_figures(detected: Path, tables: Path):
    result = json.loads((detected / "run.json").read_text())["result"]["val"]
    again = olhar.load(detected).evaluate(tables)
    assert again["ap"] == pytest.approx(result["ap"], abs=1e-6)


def test_boxes_resume_to_the_same_bits(detected: Path):
    """In a program of its own: the checks of types in this one draw random numbers."""
    resume = [sys.executable, "-m", "olhar", "resume", str(detected), "--verify"]
    done = subprocess.run(resume, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "largest difference 0." in done.stderr


def test_a_look_tells_objects_and_what_anchors_reach(tables: Path, capsys: pytest.CaptureFixture[str]):
    assert cli.main(["check", str(tables)]) == 0
    said = capsys.readouterr().out
    objects = sum(len(table(i)[1]) for i in range(24))
    assert f"{objects:,}" in said
    assert "Anchors of" in said
    assert cli.main(["check", str(tables), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert 0.9 < document["anchors"]["recall"][0] <= 1
    assert sum(counts["train"] for counts in document["classes"].values()) == objects


def test_shapes_can_be_detected(tmp_path: Path):
    settings = {"task": "detect", "epochs": 1, "model": "resnet9-slim", "model.args": {"widths": "8,8,8,8"}}
    run = olhar.train("shapes:n=80,size=24,objects=2", run=tmp_path / "run", **settings, **FIXED)
    assert run.facts["data"]["class_counts"]["train"] != [0] * 8
    assert set(run.result["val"]) >= {"ap", "ap50", "threshold"}


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"model.decoder": "unet"}, "is for learning to segment or to reconstruct, and this is to detect"),
        ({"model": "mlp"}, "gives one vector an image: try a cnn"),
        ({"data.mix": "mixup"}, "labels of whole images, and this is to detect: give mosaic"),
        ({"model.detector_args": {"size": "3"}}, "did you mean 'sizes'"),
        ({"model.detector_args": {"sizes": "3,big"}}, "must be numbers above 0"),
        ({"model": "resnet9-slim", "model.detector_args": {"strides": "3"}}, "no level of stride 3"),
    ],
)
def test_mistakes_are_one_sentence(settings: dict, message: str, tables: Path, tmp_path: Path):
    with pytest.raises(UserError, match=message):
        olhar.train(tables, run=tmp_path / "run", epochs=1, **settings, **FIXED)
    assert not (tmp_path / "run").exists()
