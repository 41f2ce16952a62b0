"""The models that come along: they are there, small, and draw what they are told."""

import json
import shutil
from pathlib import Path

import pytest
import torch

import olhar
from olhar import cli
from olhar.data.scene_reader import mean_marks, read_scene
from olhar.generate import Wish, generate
from olhar.shipped import FOLDER, shipped

MOST = 8e6  # bytes of all together
PROMPTS = (
    "a red circle",
    "a large blue square",
    "a green star above a yellow ring",
    "a pink heart left of a cyan cross",
)


def test_they_are_small_and_say_how_they_were_made():
    names = [path.parent.name for path in FOLDER.glob("*/run.json")]
    assert "shapes" in names
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < MOST
    for name in names:
        facts = json.loads((FOLDER / name / "run.json").read_text(encoding="utf-8"))
        assert facts["command"].startswith("olhar train ")
        assert not facts["command"].startswith("olhar train /")


def test_shapes_are_drawn_as_told():
    run = olhar.load("shapes")
    drawn = list(generate(run, Wish(texts=PROMPTS, n=6)))
    found = mean_marks([str(one.settings["text"]) for one in drawn], [read_scene(one.image) for one in drawn])
    assert found["colors"] > 0.75
    assert found["relation"] > 0.75
    assert found["shapes"] > 0.5  # one of eight by chance
    assert {one.settings["sampler"] for one in drawn} == {run.facts["sampler"]}
    [other] = generate(run, Wish(texts=PROMPTS[:1], sampler="ddim", steps=1))
    assert other.settings["sampler"] == "ddim"


def test_at_once_from_the_command_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture):
    before = sorted(FOLDER.rglob("*"))
    monkeypatch.chdir(tmp_path)
    assert cli.main(["generate", "shapes", PROMPTS[0], "--n", "2"]) == 0
    assert capsys.readouterr().out.split() == ["generated-1/grid.png"]
    assert len(list(Path("generated-1").glob("*red-circle*.png"))) == 2
    assert sorted(FOLDER.rglob("*")) == before  # nothing is written into the package
    assert cli.main(["generate", "shapes", PROMPTS[0], "--size", "60x60"]) == 1
    assert not Path("generated-2").exists()
    for given in (["report", "shapes"], ["inspect", "shapes"], ["evaluate", "shapes", "shapes"]):
        assert cli.main(given) == 1
        assert "comes along for `olhar generate` alone" in " ".join(capsys.readouterr().err.split())


def test_a_run_of_that_name_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert shipped("shapes") == FOLDER / "shapes"
    assert shipped("no") is None
    assert shipped("runs/shapes") is None
    Path("shapes").mkdir()
    assert shipped("shapes") == FOLDER / "shapes"  # a folder of images, perhaps
    shutil.copy(FOLDER / "shapes" / "run.json", "shapes/run.json")
    assert shipped("shapes") is None


def test_they_compute_in_full_precision():
    run = olhar.load("shapes")
    assert {tensor.dtype for tensor in run.task.parameters()} == {torch.float32}


def test_a_text_that_is_too_long_is_said_to_be_cut(tmp_path: Path, capsys):
    line = ["generate", "shapes", "a large red circle above a small blue square", "--steps", "1"]
    assert cli.main([*line, "--out", str(tmp_path / "out")]) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "10 tokens that are read of a text: only 'a large red circle above a small blue' is drawn." in said
    assert cli.main([*line, "--seed", str(2**64)]) == 2
