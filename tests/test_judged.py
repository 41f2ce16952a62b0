"""What a run draws beside the data: pictures that are the training images, the data's, or neither."""

import math
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import olhar
from olhar import cli, growth, judged, sheet
from olhar.errors import UserError
from olhar.report.story import Samples
from olhar.run import Run

SIZED = "shapes:n=400,size=16,objects=1,holdout=0"
QUICK: dict[str, Any] = {"epochs": 1, "quiet": True, "train.precision": "fp32", "train.memory_format": "contiguous"}
FEW: dict[str, Any] = {"model.args": {"widths": "16", "heads": 2, "attention": "0"}}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, Run]:
    """One that draws, hardly trained, and a classifier."""
    folder = tmp_path_factory.mktemp("runs")
    with pytest.MonkeyPatch.context() as few:
        few.setattr(growth, "MOST", 2)
        few.setattr(growth, "IMAGES", 1)
        draws = olhar.train(SIZED, run=folder / "draws", task="diffuse", report=False, **QUICK, **FEW)
    return draws, olhar.train(SIZED, run=folder / "judge", task="classify", model="cnn-small", report=False, **QUICK)


def of_split(run: Run, split: str) -> Tensor:
    collection = judged.recognise(SIZED, config=run.folder.config.data)
    return judged.pixels(run, collection.split(split))


@pytest.mark.parametrize("copies", [True, False])
def test_copies_of_the_training_images_are_near_them_and_the_datas_own_are_at_no_distance(
    runs: tuple[Run, Run], monkeypatch: pytest.MonkeyPatch, copies: bool
):
    drawn = of_split(runs[0], "train")[:100] if copies else of_split(runs[0], "val").repeat(3, 1, 1, 1)[:100]
    monkeypatch.setattr(judged, "draw", lambda run, asked, tell: drawn)
    found = judged.judge(*runs, SIZED, "test")
    assert abs(found["kernel_distance"]) < 4 * found["kernel_distance_error"] + 0.02
    near, usual = found["nearest_training"], found["nearest_training_of_split"]
    assert (near < 0.001) == copies
    assert usual > 0.03
    if not copies:
        assert near == pytest.approx(usual, rel=0.3)


def test_noise_is_far_from_the_data(runs: tuple[Run, Run], monkeypatch: pytest.MonkeyPatch):
    noise = torch.randint(0, 256, (60, 3, 16, 16), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    monkeypatch.setattr(judged, "draw", lambda run, asked, tell: noise)
    found = judged.judge(*runs, SIZED)
    assert (
        found["kernel_distance"] > 10 * abs(found["kernel_distance_of_training"]) + 3 * found["kernel_distance_error"]
    )
    assert found["nearest_training"] > 2 * found["nearest_training_of_split"]


def test_each_image_has_its_words_and_a_seed_of_its_own(runs: tuple[Run, Run]):
    told: list[float] = []
    drawn = judged.draw(runs[0], ["a red circle", "a blue square", "a red circle"], told.append)
    assert (drawn.shape, told) == ((3, 3, 16, 16), [1.0])
    assert not torch.equal(drawn[0], drawn[2])
    [alone] = runs[0].generate("a red circle", seed=2)
    torch.testing.assert_close(drawn[2].float(), alone.image.float(), atol=1, rtol=0)


def test_from_the_command_line(runs: tuple[Run, Run], capsys: pytest.CaptureFixture[str], monkeypatch):
    monkeypatch.setattr(judged, "IMAGES", 4)
    draws, classifier = (str(run.path) for run in runs)
    assert cli.main(["evaluate", draws, SIZED, "--judge", classifier]) == 0
    shown = capsys.readouterr().out
    assert "mse" in shown
    assert "kernel distance of training" in shown
    for given, expected in (
        ([draws, SIZED, "--judge", draws], "--judge needs a run that learnt to classify"),
        ([classifier, SIZED, "--judge", classifier], "draws nothing that could be judged"),
        ([draws, SIZED, "--judge", "no"], "There is no run 'no'"),
        ([draws, SIZED, "--judge", classifier, "--split", "train"], "has no images that"),
    ):
        assert cli.main(["evaluate", *given]) != 0
        assert expected in " ".join(capsys.readouterr().err.split())


def test_images_of_equal_names_are_not_taken_for_those_of_training(
    runs: tuple[Run, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    run, data = runs[0], judged.recognise(SIZED, config=runs[0].folder.config.data)
    for folder, shift in (("own", 0), ("other", 200)):
        (tmp_path / folder).mkdir()
        for i in range(60):
            [pixels] = judged.pixels(run, data.records[shift + i : shift + i + 1])
            sheet.to_picture(pixels).save(tmp_path / folder / f"{i:03d}.png")
    drawing = olhar.train(tmp_path / "own", run=tmp_path / "run", task="diffuse", report=False, **QUICK | FEW)
    made = of_split(runs[0], "val")[:20]
    monkeypatch.setattr(judged, "draw", lambda run, asked, tell: made)
    kept: list[int] = []
    read = judged.pixels
    monkeypatch.setattr(judged, "pixels", lambda run, some: kept.append(len(some)) or read(run, some))
    found = judged.judge(drawing, runs[1], tmp_path / "other", "train")
    assert kept == [60, 54]
    assert found["nearest_training_of_split"] > 0.03
    (tmp_path / "own").rename(tmp_path / "moved")
    judged.judge(drawing, runs[1], tmp_path / "moved", "train")
    assert kept[2:] == [6, 54]


def test_the_report_shows_what_is_nearest_and_a_copy_beside_itself(runs: tuple[Run, Run]):
    run = runs[0]
    assert "Nearest training images" in run.report(time.monotonic() + 5).read_text()
    copy = of_split(run, "train")[7]
    noise = torch.randint(0, 256, copy.shape, generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    seen = judged.beside_training(run, Samples([], [("a copy", copy), (None, noise)], []), math.inf)
    assert seen.near is not None
    assert (seen.near.searched, len(seen.near.found)) == (320, 2)
    text, drawn, found = seen.near.found[0]
    assert (text, drawn is copy, len(found)) == ("a copy", True, judged.NEIGHBOURS)
    assert torch.equal(found[0][0], copy)
    assert found[0][1] < 0.001 < 0.03 < seen.near.usual < seen.near.found[1][2][0][1]
    assert judged.beside_training(run, Samples([], [(None, copy)], []), 0.0).near is None  # no time is left


def test_few_wishes_are_repeated_and_many_thinned(runs: tuple[Run, Run]):
    records = judged.recognise(SIZED, config=runs[0].folder.config.data).split("val")
    assert judged.wishes(records[:2], (), 5) == [records[i % 2].captions[0] for i in range(5)]
    assert judged.wishes(records, (), 4) == [records[i].captions[0] for i in (0, 10, 20, 30)]
    with pytest.raises(UserError, match="draws nothing"):
        judged.judge(runs[1], runs[1], SIZED)
