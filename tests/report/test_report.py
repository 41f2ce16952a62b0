"""The report as a page: whole, self-contained, safe, and never in the way of a run that went wrong."""

import json
import math
import re
from collections.abc import Callable
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
import torch
from torch import nn

from olhar.errors import UserError
from olhar.inspection.network import network
from olhar.report import write_report
from olhar.report.panels.network import describe

VOID = {"meta", "link", "img"}
ALWAYS = {"headline", "messages", "data", "curves", "examples", "network", "reproduce"}
Make = Callable[..., Path]


class Page(HTMLParser):
    """What a page holds; an element that is not closed in order is an error."""

    def __init__(self, text: str):
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    @property
    def panels(self) -> set[str | None]:
        return {attrs["id"] for tag, attrs in self.tags if tag == "section"}


@pytest.fixture(scope="module")
def table():
    model = nn.Sequential(nn.Conv2d(3, 8, 3, 2), nn.ReLU(), nn.Conv2d(8, 16, 3, 2), nn.Flatten(), nn.Linear(784, 10))
    return network(model, (3, 32, 32))


@pytest.fixture
def report(made: Make, images: Any, table: Any):
    """report(kind, **changes) -> the page, as text."""

    def write(kind: str = "classify", **changes: Any) -> str:
        path = write_report(made(kind, **changes), images=images, network=table)
        assert path.name == "report.html"
        return path.read_text(encoding="utf-8")

    return write


@pytest.mark.parametrize(
    ("kind", "own"),
    [
        ("classify", {"confusion", "classes", "mistakes", "calibration"}),
        ("multilabel", {"labels", "mistakes", "calibration"}),
        ("regress", {"regression", "errors"}),
        ("segment", {"classes", "mistakes"}),
        ("reconstruct", {"quality", "mistakes"}),
    ],
)
def test_every_task_has_its_panels(report: Any, kind: str, own: set[str]):
    assert Page(report(kind)).panels == ALWAYS | own


@pytest.mark.parametrize("kind", ["classify", "multilabel", "regress", "segment", "reconstruct"])
def test_the_page_needs_nothing_but_itself(report: Any, kind: str):
    text = report(kind)
    page = Page(text)
    assert len(text) < 1_500_000
    for tag, attrs in page.tags:
        assert tag not in {"script", "iframe", "object", "embed"}
        for name in ("src", "href"):
            assert (attrs.get(name) or "#").startswith(("#", "data:")), (tag, attrs)
        assert not any(name.startswith("on") for name in attrs)
    outside = [url for url in re.findall(r"https?://[^\"')\s]+", text) if not url.startswith("http://www.w3.org/")]
    assert not outside
    assert "@import" not in text
    assert "url(" not in text


def test_the_drawings_are_well_formed_and_have_no_broken_number(report: Any):
    drawings = re.findall(r"<svg.*?</svg>", report(), flags=re.DOTALL)
    assert len(drawings) >= 8
    for drawing in drawings:
        ElementTree.fromstring(drawing)
        assert "nan" not in drawing.lower()
        assert "inf" not in drawing.replace("information", "")


def test_the_words_below_a_network_stand_apart(made: Make, images: Any):
    model = nn.Sequential()
    for i, letter in enumerate("abcdefghijklmnopqr"):  # a stage for two of them
        model.add_module(f"smooth_layer_{letter}", nn.Conv2d(128 if i else 3, 128, 3, stride=2, padding=1))
    text = write_report(made(), images=images, network=network(model, (3, 8000, 12000))).read_text()
    drawing = next(d for d in re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL) if "box-front" in d)
    words = [element for element in ElementTree.fromstring(drawing).iter() if element.tag.endswith("text")]
    assert len({w.text for w in words if w.get("class") == "strong"}) == 8, "siblings are told apart"
    places = sorted((float(w.get("x", 0)), len(w.text or "")) for w in words if w.get("class") == "strong")
    assert all(b - a > 7.4 * (m + n) / 2 for (a, m), (b, n) in pairwise(places)), "7.4 units a letter"
    assert len(describe((128, 120, 160))) * 6.6 < places[1][0] - places[0][0]


def test_an_interval_is_drawn_where_its_line_has_ends(made: Make, images: Any):
    """Decibels have none, unless it is known what the images had before: 0 to 1 would show 28 dB at its end."""
    run = made("reconstruct")
    assert "with its 95% interval" in write_report(run, images=images, network=None).read_text()
    path = run / "evaluation" / "test.jsonl"
    path.write_text(re.sub(r', "psnr_before": [\d.]+', "", path.read_text()))
    assert "with its 95% interval" not in write_report(run, images=images, network=None).read_text()


def test_a_finding_names_its_files_once(made: Make, images: Any):
    run = made()
    facts = json.loads((run / "run.json").read_text())
    for message in ("1 box is left out: odd.png.", "1 box is left out."):
        facts["findings"] = [{"level": "repaired", "message": message, "cure": "Mend it.", "files": ["odd.png"]}]
        (run / "run.json").write_text(json.dumps(facts))
        assert write_report(run, images=images, network=None).read_text().count("odd.png") == 1


def test_the_headline_says_result_interval_and_what_guessing_gives(report: Any):
    text = report()
    assert "resnet18 learned to tell 10 classes apart from 4,500 images of cifar10." in text
    # 400 made-up predictions; the numbers are recomputed here by the text-book formulas
    correct = float(re.findall(r"<strong>([\d.]+)%</strong>", text)[0]) / 100
    low, high = (float(v) / 100 for v in re.findall(r"95% interval ([\d.]+)% to ([\d.]+)%", text)[0])
    half = 1.96 * math.sqrt(correct * (1 - correct) / 400)
    assert low == pytest.approx(correct - half, abs=0.006)
    assert high == pytest.approx(correct + half, abs=0.006)
    assert "would give 10.0%" in text


def test_the_turning_epoch_is_marked_only_where_there_is_one(report: Any):
    assert "overfits from epoch" in report("classify", turn=17.0)
    calm = report("regress", turn=None)
    assert "overfits from epoch" not in calm
    assert "no overfitting is seen" in calm


def test_what_users_named_is_shown_and_never_run(report: Any):
    nasty = ["<script>alert(1)</script>", "a&b", '"><img src=x onerror=alert(1)>', "{{ 7 * 7 }}"]
    text = report(names=nasty)
    page = Page(text)
    assert not any(tag == "script" or "onerror" in attrs for tag, attrs in page.tags)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in text
    assert "a&amp;b" in text
    assert "{{ 7 * 7 }}" in text


def test_a_run_that_was_interrupted_has_a_page(made: Make, images: Any):
    """File after file is gone, down to run.json alone and that nearly empty."""
    run = made()
    (run / "evaluation" / "test.jsonl").unlink()
    facts = json.loads((run / "run.json").read_text())
    del facts["result"]
    (run / "run.json").write_text(json.dumps(facts))
    text = write_report(run, images=images, network=None).read_text()
    assert "There is no final evaluation in this run" in text
    assert Page(text).panels == {"headline", "messages", "data", "curves", "reproduce"}
    (run / "metrics.jsonl").unlink()
    (run / "config.yaml").unlink()
    assert Page(write_report(run, images=images, network=None).read_text()).panels == {"headline", "data", "reproduce"}
    (run / "run.json").write_text("{}")
    assert Page(write_report(run, images=images, network=None).read_text()).panels == {"headline", "reproduce"}


def test_the_last_line_of_a_killed_run_may_be_cut(made: Make, images: Any):
    run = made()
    with (run / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "step": 10501, "ep')
    assert "curves" in Page(write_report(run, images=images, network=None).read_text()).panels


def test_losses_that_are_not_finite_leave_a_gap(made: Make, images: Any):
    run = made()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for line in lines[150:]:
        if "loss" in line:
            line["loss"] = math.nan if line["step"] % 2 else math.inf
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    text = write_report(run, images=images, network=None).read_text()
    assert all("nan" not in drawing for drawing in re.findall(r"<svg.*?</svg>", text, flags=re.DOTALL))


def test_validation_stands_in_where_there_is_no_test(made: Make, images: Any):
    run = made()
    (run / "evaluation" / "test.jsonl").rename(run / "evaluation" / "val.jsonl")
    facts = json.loads((run / "run.json").read_text())
    facts["result"]["test"] = None
    (run / "run.json").write_text(json.dumps(facts))
    text = write_report(run, images=images, network=None).read_text()
    assert "accuracy on the validation split" in text
    assert "Images of the validation split" in text


def test_many_classes_are_listed_not_drawn(report: Any):
    drawn = report(names=[f"kind {i}" for i in range(50)])
    assert "Confusion matrix" in drawn


def test_hundreds_of_classes_keep_the_page_small(report: Any):
    text = report(names=[f"kind {i}" for i in range(200)])
    assert "Confusion matrix" not in text
    assert "Most confused" in text
    assert "… 170 classes between …" in text or "classes are balanced" in text
    assert len(text) < 1_500_000


def test_images_that_are_gone_leave_their_words(made: Make):
    text = write_report(made(), images=lambda ids: [None] * len(ids), network=None).read_text()
    assert "no image" in text
    assert "<img" not in text


def test_pictures_are_made_small(made: Make):
    large = torch.randint(0, 256, (1, 1200, 900), dtype=torch.uint8)
    run = made()
    facts = json.loads((run / "run.json").read_text())
    facts["model"]["image_size"] = [224, 224]
    (run / "run.json").write_text(json.dumps(facts))
    text = write_report(run, images=lambda ids: [{"image": large}] * len(ids), network=None).read_text()
    # noise is the worst there is to compress
    assert len(text) < 1_500_000
    assert 'pixels"' not in text


def test_the_same_run_gives_the_same_page(made: Make, images: Any, table: Any):
    run = made()
    first = write_report(run, images=images, network=table).read_text()
    assert write_report(run, images=images, network=table).read_text() == first


def test_no_mistakes_are_no_trouble(made: Make, images: Any):
    run = made()
    path = run / "evaluation" / "test.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row | {"truth": row["label"]}) + "\n" for row in rows))
    text = write_report(run, images=images, network=None).read_text()
    assert "There is not one on this split." in text
    assert "to 100.0%" in text


def test_what_is_not_a_run_folder_is_said_so(tmp_path: Path, images: Any):
    with pytest.raises(UserError, match="is not a run folder"):
        write_report(tmp_path, images=images, network=None)
    (tmp_path / "run.json").write_text('{"olhar": ')
    with pytest.raises(UserError, match=r"run\.json is damaged"):
        write_report(tmp_path, images=images, network=None)
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "metrics.jsonl").write_text('{"kind"\n{"kind": "train"}\n')
    with pytest.raises(UserError, match="damaged at line 1"):
        write_report(tmp_path, images=images, network=None)
