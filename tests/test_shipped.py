from pathlib import Path

import pytest
from safetensors import safe_open

import olhar
from olhar import cli
from olhar.data.names import RUNS, shipped
from olhar.data.scene_reader import marks, read_scene
from olhar.data.scene_words import read_caption


def test_what_comes_along_is_small():
    weights = list(RUNS.glob("*/model.safetensors"))
    assert weights
    assert sum(path.stat().st_size for path in RUNS.rglob("*") if path.is_file()) <= 8e6
    for path in weights:
        with safe_open(path, "pt") as file:
            kinds = {file.get_slice(name).get_dtype() for name in file.keys()}  # noqa: SIM118 - no mapping
        assert kinds <= {"F16", "I64"}


def test_shapes_are_drawn_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    text = "a red circle above a blue square"
    assert cli.main(["generate", "shapes", text, "--steps", "12"]) == 0
    assert len(list(tmp_path.glob("generated-1/*.png"))) == 1  # here, and not where olhar lies
    drawn = olhar.load("shapes").generate(text, n=4, steps=12)
    seen = [marks(read_caption(text), read_scene(one.image)) for one in drawn]
    assert sum(mark["colors"] for mark in seen) / len(seen) >= 0.5


def test_a_run_that_is_here_goes_before_one_that_comes_along(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    assert shipped("shapes") == RUNS / "shapes"
    assert shipped("nothing") is None
    assert shipped("runs/shapes") is None
    (tmp_path / "shapes").mkdir()
    assert shipped("shapes") is not None  # a folder of images, perhaps
    (tmp_path / "shapes" / "run.json").write_text("{}")
    assert shipped("shapes") is None
