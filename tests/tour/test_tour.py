"""The tour: its table, how it goes on where a step fails or is stopped, its page, its chapters of theory for real."""

import os
import re
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from markupsafe import Markup

from olhar import arguments, cli
from olhar.errors import UserError
from olhar.inspection.instruments import INSTRUMENTS
from olhar.tour import guide, speaking
from olhar.tour.chapter import PLACES, Chapter, Piece, Shown, Stage, Step
from olhar.tour.chapters import CHAPTERS
from olhar.tour.equation import typeset
from olhar.tour.expected import EXPECTED
from olhar.tour.record import Shelf
from olhar.tour.runner import CLOSING, FULL, LEAST, OPENING, Tour
from olhar.tour.screen import Board, farewell

Act = Callable[[Stage], Shown]


def chapter(*steps: Step) -> Chapter:
    return Chapter("A title: more", "Section 9", ("A story.",), r"x^2", "A square.", steps, ("olhar models",))


def step(name: str, act: Act, seconds: float = 1.0, trains: bool = False, quick: bool = True) -> Step:
    return Step(name, f"{name} is done", act, seconds, trains, quick)


def shows(**figures: float) -> Act:
    return lambda stage: Shown([Piece("result", "Seen", Markup("<p>a picture</p>"))], figures)


def fails(stage: Stage) -> Shown:
    raise UserError("There is no more paint: buy some.")


def breaks(stage: Stage) -> Shown:
    raise ZeroDivisionError("by nought")


def is_interrupted(stage: Stage) -> Shown:
    os.kill(os.getpid(), signal.SIGINT)
    return Shown(figures={"accuracy": 1.0})


GOOD = {"p1": 0.3, "gap": 0.0}


def test_the_table_is_complete_and_in_the_order_of_the_notes():
    assert tuple(CHAPTERS) == arguments.TOUR == tuple(EXPECTED)
    sections = [[int(n) for n in re.findall(r"\d+", one.notes.split(",")[0])[:2]] for one in CHAPTERS.values()]
    assert [section[0] for section in sections] == sorted(section[0] for section in sections)
    whole = sum(s.seconds for one in CHAPTERS.values() for s in one.steps) + OPENING + CLOSING
    assert FULL - 10 <= whole <= FULL


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_chapter_has_all_its_parts(name: str):
    one = CHAPTERS[name]
    names = [s.name for s in one.steps]
    assert len(set(names)) == len(names)
    assert sum(s.trains for s in one.steps) == (name not in ("likelihood", "gradient"))
    trained = [s.act.keywords["metric"] for s in one.steps if s.trains]  # type: ignore[attr-defined]
    assert trained == [key for key in EXPECTED[name] if key != "gap"][:1] or not one.trains
    looks = [s.act.keywords["instrument"] for s in one.steps if "instrument" in getattr(s.act, "keywords", {})]  # type: ignore[attr-defined]
    assert set(looks) <= set(INSTRUMENTS)
    assert "<path" in typeset(one.equation)
    for command in one.commands:
        verb, *words = cli.shlex.split(command)[1:]
        cli.parser(verb).parse_args(words)


def test_a_step_that_fails_is_told_in_its_place_and_the_rest_goes_on(tmp_path: Path, capsys: pytest.CaptureFixture):
    chapters = {
        "likelihood": chapter(step("one", fails), step("two", shows(**GOOD))),
        "logistic": chapter(step("train", breaks, trains=True), step("look", shows())),
        "classify": chapter(step("train", shows(accuracy=0.99), trains=True)),
    }
    toured = guide.tour(tmp_path / "tour", chapters=chapters)
    assert [sentence.split(":")[0] for sentence in toured.failed] == ["likelihood", "logistic"]
    assert "There is no more paint" in toured.failed[0]
    assert "ZeroDivisionError" in (tmp_path / "tour" / "logistic.error.txt").read_text()
    assert list(toured.records["logistic"].steps) == ["train"]  # without a model there is nothing to look at
    assert [sentence.split(":")[0] for sentence in toured.amiss] == ["logistic"]
    page = toured.page.read_text()
    assert "There is no more paint: buy some." in page
    assert "99.0%" in page
    assert farewell(toured, check=False) == 1
    assert "paint" in capsys.readouterr().out

    # what failed is tried again, what is done stays
    mended = chapters | {"likelihood": chapter(step("one", shows()), step("two", breaks))}
    again = guide.tour(tmp_path / "tour", ["likelihood"], chapters=mended, budget=None)
    assert not again.failed
    assert "99.0%" in again.page.read_text()


def test_an_interrupted_tour_stops_after_the_step_and_goes_on_later(tmp_path: Path, capsys: pytest.CaptureFixture):
    counted: list[str] = []

    def counts(stage: Stage) -> Shown:
        counted.append("x")
        return Shown(figures={"accuracy": 0.99})

    chapters = {
        "logistic": chapter(step("train", is_interrupted, trains=True), step("look", counts)),
        "classify": chapter(step("train", counts, trains=True)),
    }
    stopped = guide.tour(tmp_path, chapters=chapters)
    assert (stopped.interrupted, counted) == (True, [])
    assert "100.0%" in stopped.page.read_text()
    assert farewell(stopped, check=True) == 130
    finished = guide.tour(tmp_path, chapters=chapters)
    assert (finished.interrupted, counted) == (False, ["x", "x"])
    assert farewell(finished, check=True) == 0
    guide.tour(tmp_path, chapters=chapters)
    assert len(counted) == 2  # all is kept
    guide.tour(tmp_path, ["classify"], fresh=True, chapters=chapters)
    assert len(counted) == 3


def test_a_tour_of_another_length_is_refused_and_begun_anew_when_asked(tmp_path: Path):
    chapters = {"classify": chapter(step("train", shows(accuracy=0.99), 469, trains=True))}
    guide.tour(tmp_path, chapters=chapters)
    with pytest.raises(UserError, match=r"holds classify of a tour of 8 minutes: .* --fresh"):
        guide.tour(tmp_path, budget="90s", chapters=chapters)
    assert guide.tour(tmp_path, quick=True, fresh=True, chapters=chapters).records["classify"].scale == 90 / FULL
    assert guide.tour(tmp_path, budget="90s", chapters=chapters).records["classify"].quick  # that is the same length


def test_a_damaged_record_names_the_cure(tmp_path: Path):
    (tmp_path / "classify.json").write_text('{"name":')
    with pytest.raises(UserError, match="--fresh --only classify"):
        guide.tour(tmp_path, ["classify"], chapters={"classify": chapter(step("train", shows()))})


def test_figures_out_of_their_range_are_told_and_fail_only_a_check(tmp_path: Path, capsys: pytest.CaptureFixture):
    chapters = {"classify": chapter(step("train", shows(accuracy=0.2), trains=True))}
    toured = guide.tour(tmp_path, chapters=chapters)
    assert toured.amiss == ["classify: test accuracy is 20.0%, expected at least 96.0%"]
    assert (farewell(toured, check=False), farewell(toured, check=True)) == (0, 1)


def test_trainings_share_the_time_that_the_other_steps_leave(tmp_path: Path):
    chapters = {
        "logistic": chapter(step("train", shows(), 30, trains=True), step("look", shows(), 20)),
        "classify": chapter(step("train", shows(), 90, trains=True), step("slow", shows(), 50, quick=False)),
    }
    whole = OPENING + CLOSING + 190
    full = Tour(Shelf(tmp_path), chapters, list(chapters), 2 * whole)
    train = chapters["logistic"].steps[0]
    assert full.seconds_for("logistic", train) == pytest.approx((2 * whole - CLOSING - 70) / 4, abs=0.5)
    quick = Tour(Shelf(tmp_path), chapters, list(chapters), 0.4 * whole)
    assert quick.seconds_for("logistic", train) == pytest.approx((0.4 * whole - CLOSING - 20) / 4, abs=0.5)
    quick.expected, quick.took = 1.0, 3.0  # a slow machine gets the least a training needs there
    assert quick.seconds_for("logistic", train) == pytest.approx(3 * LEAST)


def test_the_screen_shows_what_runs_what_was_reached_and_what_is_expected():
    board = Board(CHAPTERS, list(CHAPTERS), quick=False)
    record = guide.Record("logistic", 1.0, False)
    board.chapter("logistic", record)
    board.step("logistic", CHAPTERS["logistic"].steps[1], 2, 3)
    board.progress(0.5, "epoch 3  loss 0.2", 60)
    record.steps["train"] = guide_done(accuracy=0.951)
    board.done("logistic", record, kept=False)
    board.live.console.width = 110
    with board.live.console.capture() as captured:
        board.live.console.print(board.drawn())
    text = captured.get()
    for said in ("a linear model on the digits  2/3", "95.1%", "test accuracy", "at least 90.0%", "1:00", "loss 0.2"):
        assert said in text


def guide_done(**figures: float):
    from olhar.tour.record import Done

    return Done.of(Shown(figures=figures), 3.0)


def test_the_chapters_of_theory_reach_their_figures_and_their_page_needs_nothing_else(tmp_path: Path):
    toured = guide.tour(tmp_path / "tour", ["likelihood", "gradient"])
    assert not toured.failed
    assert not toured.amiss
    page = toured.page.read_text(encoding="utf-8")
    assert len(page) < 3_000_000
    assert "<script" not in page
    assert not re.findall(r"""(?:src|href)=["']?(?:https?:)?//|@import|url\(\s*["']?(?:https?:)?//""", page)
    for name in ("likelihood", "gradient"):
        assert f'<section id="{name}"' in page
        assert CHAPTERS[name].story[0][:40] in page
    assert all(
        place in PLACES
        for record in toured.records.values()
        for s in record.steps.values()
        for place in [p.place for p in s.pieces]
    )


def test_an_unknown_chapter_is_a_mistake_that_names_the_nearest(capsys: pytest.CaptureFixture):
    assert cli.main(["tour", "--only", "detekt"]) == 2
    assert "there is no chapter 'detekt': did you mean 'detect'?" in capsys.readouterr().err
    assert cli.main(["tour", "--quick", "--budget", "3min"]) == 1


def test_the_model_that_comes_along_draws_in_the_tour(tmp_path: Path):
    told: list[float] = []
    stage = Stage(tmp_path / "diffuse", quick=True, seconds=0.0, progress=lambda share, text: told.append(share))
    shown = speaking.paint_longer(stage)
    assert EXPECTED["diffuse"]["colors"].holds(shown.figures["colors"], quick=True)
    assert [piece.place for piece in shown.pieces] == ["result", "inside"]
    assert [piece.body.count("<img") for piece in shown.pieces] == [2 * len(speaking.SCENES), 9 * len(speaking.SCENES)]
    assert told[-1] == 1.0
    assert len(list((tmp_path / "diffuse" / "generated-1").glob("*.png"))) == 4 * len(speaking.SCENES) + 1


def test_a_quick_tour_learns_as_much_on_any_machine_unless_time_is_given(tmp_path: Path):
    given: list[float | None] = []

    def trains(stage: Stage) -> Shown:
        given.append(stage.seconds)
        return Shown(figures={"accuracy": 0.99})

    chapters = {"classify": chapter(step("train", trains, trains=True))}
    guide.tour(tmp_path / "full", chapters=chapters)
    guide.tour(tmp_path / "short", budget="30s", chapters=chapters)
    guide.tour(tmp_path / "quick", quick=True, chapters=chapters)
    assert [seconds is None for seconds in given] == [False, False, True]
