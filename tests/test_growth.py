"""What a run draws while it learns: when, of what, always the same, and nothing of the training changes by it."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import olhar
from olhar import cli, growth
from olhar.data.sample import Record
from olhar.growth import Growth, Moments, wishes

QUICK = {"train.precision": "fp32", "train.memory_format": "contiguous", "epochs": 3}
QUICK["model.args"] = {"widths": "16,32", "heads": 2, "attention": "1"}


def train(data: Path, run: Path) -> olhar.Run:
    return olhar.train(data, task="diffuse", model="denoiser-tiny", run=run, quiet=True, **QUICK)


@pytest.fixture(scope="module")
def run(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> olhar.Run:
    return train(colours, tmp_path_factory.mktemp("runs") / "drawn")


def test_most_is_drawn_early_and_within_a_share_of_the_time(run: olhar.Run, tmp_path: Path):
    made = Growth(run, tmp_path, ("red", "blue", "green"))
    assert made.plan(20) == Moments((1, 2, 4, 8, 16, 20), 24)
    assert made.plan(1) == Moments((1,), 24)
    a_moment = growth.IMAGES * growth.BRIEF * 2
    assert made.plan(20, image=growth.SHARE / a_moment, seconds=2.6) == Moments((16, 20), 10)
    assert made.plan(20, image=1.0, seconds=1.0) == Moments((), 0)
    assert made.passes_after(Moments((20,), 5)) == a_moment + 5 * 20 * 2
    made.moments = Moments((2, 8), 0)
    assert [n for n in range(10) if made.due(n, n + 1)] == [1, 7]
    assert made.due(0, 5)  # an evaluation by the clock may leave out a number


def test_what_is_asked_for_is_spread_over_the_split():
    def said(*texts: str) -> list[Record]:
        return [Record(id=str(i), image=Path("x"), split="val", captions=(t, "more")) for i, t in enumerate(texts)]

    assert wishes(said("a", "b", "a"), ()) == ("a", "b")
    assert wishes(said(*map(str, range(48))), ()) == tuple(str(i) for i in range(0, 48, 2))
    assert wishes([Record(id="0", image=Path("x"), split="val")], ("cat", "dog")) == ("cat", "dog")
    assert wishes([Record(id="0", image=Path("x"), split="val")], ()) == (None,)


def test_equal_weights_draw_equal_images_and_no_random_number_is_taken(run: olhar.Run, tmp_path: Path):
    run.task.train()
    state = torch.get_rng_state()
    for name in ("once", "again"):
        Growth(run, tmp_path / name, ("red", "blue")).moment(4, step=1, epoch=0.5, seconds=2.0)
    assert torch.equal(torch.get_rng_state(), state)
    assert run.task.training
    run.task.eval()
    files = [tmp_path / name / "moment-0004.png" for name in ("once", "again")]
    assert files[0].read_bytes() == files[1].read_bytes()
    found = growth.samples(tmp_path / "once")
    assert found is not None
    moment = found.grown[0]
    assert (moment.epoch, moment.seconds, moment.texts) == (0.5, 2.0, ["red", "blue"] * 4)
    assert len(moment.images) == growth.IMAGES
    assert (found.last, found.strips) == ([], [])
    assert growth.samples(tmp_path / "none") is None


def test_a_run_keeps_what_it_drew_and_its_report_shows_it(run: olhar.Run):
    found = growth.samples(run.folder.samples)
    assert found is not None
    assert [moment.epoch for moment in found.grown] == [1.0, 2.0, 3.0]
    assert [text for text, _ in found.last] == ["blue", "green", "red"] * 8
    assert [len(way) for _, way in found.strips] == [9] * growth.STRIPS
    again = run.generate(["blue"], seed=0)[0].image
    assert (again.int() - found.last[0][1].int()).abs().max() <= 1  # the best weights drew it
    page = (run.path / "report.html").read_text(encoding="utf-8")
    for panel in ("examples", "grown", "levels", "reverse", "inside"):
        assert f'id="{panel}"' in page
    assert "learned to draw from" in page
    assert page.index("As it learnt") < page.index("Error by noise")


def test_the_weights_are_those_of_a_run_that_draws_nothing(
    run: olhar.Run, colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(Growth, "due", lambda self, before, now: False)
    silent = train(colours, tmp_path / "silent")
    ends = [load_file(next(one.path.glob("checkpoint/step-*/tensors.safetensors"))) for one in (run, silent)]
    # "rng" holds Python's random state too, of which the type checks of these tests take numbers
    assert [name for name, tensor in ends[0].items() if name != "rng" and not torch.equal(tensor, ends[1][name])] == []


def test_a_picture_that_fails_is_told_and_the_run_goes_on(
    colours: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    def fail(*_: object) -> None:
        raise olhar.UserError("there is no room")

    monkeypatch.setattr(Growth, "draw", fail)
    run = train(colours, tmp_path / "run")
    assert (run.path / "metrics.jsonl").read_text(encoding="utf-8").count("there is no room") == 4
    assert run.result["val"]["mse"] > 0
    assert 'id="grown"' not in (run.path / "report.html").read_text(encoding="utf-8")


def test_asking_about_images_is_answered_with_what_to_do(
    run: olhar.Run, colours: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
):
    table = tmp_path / "table.csv"
    assert cli.main(["predict", str(run.path), str(colours), "--csv", str(table)]) == 1
    said = capsys.readouterr().err
    assert said.startswith("This run learnt to draw, and has no answers about images: ask it with `olhar generate`")
    assert not table.exists()
    with pytest.raises(olhar.UserError, match="olhar generate"):
        run.predict(colours)
