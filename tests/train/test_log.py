import json
from pathlib import Path

import pytest
import torch

from olhar.errors import UserError
from olhar.train.log import Log, Voice, Window, clock


def test_clock():
    assert [clock(s) for s in (0.4, 42, 185, 3723)] == ["0s", "42s", "3:05", "1:02:03"]


def test_a_window_gives_means_and_begins_anew():
    window = Window()
    for loss in (1.0, 2.0, 6.0):
        window.add({"loss": torch.tensor(loss), "part": torch.tensor(loss / 2)}, ["a", "b"])
    assert window.close(step=3) == ({"loss": 3.0, "part": 1.5}, 6)
    window.add({"loss": torch.tensor(float("inf"))}, ["bad.png"])
    with pytest.raises(UserError, match=r"step 4 \(images bad\.png\)"):
        window.close(step=4)


def test_lines_are_kept_and_rewound(tmp_path: Path, capsys: pytest.CaptureFixture):
    log = Log(tmp_path / "metrics.jsonl", Voice())
    log.write("train", step=1, loss=2.0)
    length = log.length()
    log.validation("accuracy", True, step=1, epoch=1.0, loss=0.5, accuracy=0.75)
    log.event("stuck", "It is stuck.", step=2)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert [line["kind"] for line in lines] == ["train", "val", "event"]
    said = capsys.readouterr().err
    assert "accuracy 0.7500  best so far" in said
    assert "! It is stuck." in said
    log.rewind(length)
    assert [json.loads(line)["step"] for line in (tmp_path / "metrics.jsonl").read_text().splitlines()] == [1]


def test_only_one_process_writes_and_quiet_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture):
    log = Log(tmp_path / "metrics.jsonl", Voice(quiet=True), writes=False)
    log.event("stuck", "It is stuck.", step=2)
    assert not log.path.exists()
    assert capsys.readouterr().err == ""


def test_tensorboard_gets_the_numbers(tmp_path: Path):
    with Log(tmp_path / "metrics.jsonl", Voice(quiet=True), tensorboard=True) as log:
        log.write("train", step=1, loss=2.0)
    assert list((tmp_path / "tensorboard").glob("events.*"))
