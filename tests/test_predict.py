"""Answers for files: what inputs stand for, how answers are written, what happens to what cannot be read."""

import csv
import io
import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from olhar import cli
from olhar.errors import UserError
from olhar.pictures import LINE, WIDTH, captioned, draw, font, shortened, wrapped
from olhar.predict import document, expand, predict_files, table_row
from olhar.run import Run, load
from olhar.tasks.align import CaptionPrediction
from olhar.tasks.classify import ClassPrediction
from olhar.tasks.regress import NumberPrediction

PET = ClassPrediction("a.jpg", ("dog",), (0.2, 0.7, 0.1), ("cat", "dog", "eel"))
TAGS = ClassPrediction("a.jpg", ("cat", "eel"), (0.9, 0.1, 0.6), ("cat", "dog", "eel"), multilabel=True)
AGE = NumberPrediction("a.jpg", 34.25, 1.5, "age")


@pytest.fixture(scope="module")
def run(trained: Path) -> Run:
    return load(trained, device="cpu")


@pytest.fixture
def inbox(tmp_path: Path, colours: Path) -> Path:
    """red.png, more/blue.JPG, a text file named broken.png, a hidden folder, a note."""
    folder = tmp_path / "inbox"
    for part in (folder / "more", folder / ".cache"):
        part.mkdir(parents=True)
    red, blue = (Image.open(colours / "test" / name / "0.png") for name in ("red", "blue"))
    red.save(folder / "red.png")
    red.save(folder / ".cache" / "red.png")
    blue.resize((48, 36)).save(folder / "more" / "blue.JPG")
    (folder / "broken.png").write_text("not an image\n")
    (folder / "note.txt").write_text("a note\n")
    return folder


class Bytes:
    """Standard input that holds `content`."""

    def __init__(self, content: bytes):
        self.buffer = io.BytesIO(content)


def names(paths: list[Path], root: Path) -> list[str]:
    return [path.relative_to(root).as_posix() for path in paths]


def test_folders_patterns_and_files_become_images_each_once(inbox: Path, tmp_path: Path):
    assert names(expand([inbox], tmp_path), inbox) == ["broken.png", "more/blue.JPG", "red.png"]
    assert names(expand([f"{inbox}/*.png"], tmp_path), inbox) == ["broken.png", "red.png"]
    assert names(expand([f"{inbox}/**/*.JPG"], tmp_path), inbox) == ["more/blue.JPG"]
    assert names(expand([inbox / "red.png", inbox], tmp_path), inbox) == ["red.png", "broken.png", "more/blue.JPG"]


def test_a_file_name_with_brackets_is_a_file_first(inbox: Path, tmp_path: Path):
    (inbox / "red.png").rename(inbox / "red[1].png")
    assert names(expand([inbox / "red[1].png"], tmp_path), inbox) == ["red[1].png"]


def test_inputs_that_stand_for_nothing_say_so(inbox: Path, tmp_path: Path):
    with pytest.raises(UserError, match=r"did you mean '.*red.png'"):
        expand([inbox / "rad.png"], tmp_path)
    with pytest.raises(UserError, match="is an address"):
        expand(["https://example.org/cat.jpg"], tmp_path)
    (inbox / "empty").mkdir()
    with pytest.raises(UserError, match=r"There is no image in .*empty"):
        expand([inbox / "empty"], tmp_path)


def test_standard_input_is_an_image_or_a_list_of_paths(inbox: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("sys.stdin", Bytes((inbox / "red.png").read_bytes()))
    (image,) = expand(["-"], tmp_path)
    assert image.read_bytes() == (inbox / "red.png").read_bytes()
    monkeypatch.setattr("sys.stdin", Bytes(f"{inbox}/red.png\n\n{inbox}/more\n".encode()))
    assert names(expand(["-"], tmp_path), inbox) == ["red.png", "more/blue.JPG"]
    monkeypatch.setattr("sys.stdin", Bytes(b""))
    with pytest.raises(UserError, match="Standard input is empty"):
        expand(["-"], tmp_path)


def test_answers_come_in_order_whatever_the_batch_size(run: Run, colours: Path):
    one = list(predict_files(run, [colours / "test"], batch_size=1))
    many = list(predict_files(run, [colours / "test"], batch_size=64))
    assert [path for path, _ in one] == [path for path, _ in many] == sorted((colours / "test").rglob("*.png"))
    for path, answer in many:
        assert isinstance(answer, ClassPrediction)
        assert answer.labels == (path.parent.name,)
        assert math.isclose(sum(answer.probabilities), 1, abs_tol=1e-5)
    for (_, a), (_, b) in zip(one, many, strict=True):
        np.testing.assert_allclose(a.probabilities, b.probabilities, atol=1e-5)  # type: ignore[attr-defined]


def test_the_python_twin_gives_the_same(run: Run, inbox: Path):
    assert [answer.id for answer in run.predict(inbox / "more")] == [str(inbox / "more" / "blue.JPG")]


def test_what_is_unreadable_is_named_and_left_out(capsys, trained: Path, inbox: Path):
    assert cli.main(["predict", str(trained), str(inbox)]) == 1
    out, err = capsys.readouterr()
    assert [line.split()[:2] for line in out.splitlines()] == [
        ["file", "label"],
        [str(inbox / "more" / "blue.JPG"), "blue"],
        [str(inbox / "red.png"), "red"],
    ]
    assert err.count("\n") == 1
    assert str(inbox / "broken.png") in err


def test_nothing_readable_is_no_crash(capsys, trained: Path, inbox: Path):
    for name in ("worse.jpg", "worst.png"):
        (inbox / name).write_bytes(b"")
    assert cli.main(["predict", str(trained), *(str(inbox / n) for n in ("broken.png", "worse.jpg", "worst.png"))]) == 1
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 3
    assert cli.main(["predict", str(trained), str(inbox), "--json"]) == 1  # most of it is unreadable
    assert len(json.loads(capsys.readouterr().out)) == 2


def test_an_image_from_standard_input_is_called_stdin(capsys, trained: Path, inbox: Path, monkeypatch):
    monkeypatch.setattr("sys.stdin", Bytes((inbox / "red.png").read_bytes()))
    assert cli.main(["predict", str(trained), "-", "--json"]) == 0
    (answer,) = json.loads(capsys.readouterr().out)
    assert (answer["file"], answer["label"]) == ("stdin", "red")


def test_csv_holds_every_probability_in_the_order_of_the_classes(capsys, trained: Path, colours: Path, tmp_path: Path):
    table = tmp_path / "answers.csv"
    assert cli.main(["predict", str(trained), str(colours / "val"), "--csv", str(table), "--json", "--top", "2"]) == 0
    listed = json.loads(capsys.readouterr().out)
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["file", "label", "probability", "p(blue)", "p(green)", "p(red)"]
    assert [row["file"] for row in rows] == [answer["file"] for answer in listed]
    for row, answer in zip(rows, listed, strict=True):
        assert math.isclose(sum(float(row[f"p({name})"]) for name in ("blue", "green", "red")), 1, abs_tol=1e-5)
        assert len(answer["probabilities"]) == 2
        assert next(iter(answer["probabilities"])) == answer["label"] == row["label"]


def test_a_csv_that_cannot_be_written_is_one_sentence(capsys, trained: Path, colours: Path, tmp_path: Path):
    assert cli.main(["predict", str(trained), str(colours / "val"), "--csv", str(tmp_path / "no" / "a.csv")]) == 1
    assert "Could not write" in capsys.readouterr().err


def test_rows_of_each_kind_of_answer():
    assert document(PET, 2)["probabilities"] == {"dog": 0.7, "cat": 0.2}
    assert table_row(PET) == {"file": "a.jpg", "label": "dog", "probability": 0.7}
    assert table_row(PET, 2) == {"file": "a.jpg", "1": "dog 70.0%", "2": "cat 20.0%"}
    assert table_row(TAGS) == {"file": "a.jpg", "labels": ["cat", "eel"]}
    assert table_row(AGE) == {"file": "a.jpg", "value": 34.25, "deviation": 1.5}
    assert document(AGE) == {"file": "a.jpg", "value": 34.25, "deviation": 1.5}


def test_pictures_show_the_image_and_bars_as_long_as_the_probabilities():
    image = torch.zeros(3, 30, 60, dtype=torch.uint8)
    image[0] = 255
    sheet = np.asarray(draw(image, PET, 3)).astype(int)
    assert sheet.shape[1] == WIDTH
    assert (sheet[: WIDTH // 2] == [255, 0, 0]).all()  # 60 x 30 enlarged to the sheet's width
    panel = sheet[WIDTH // 2 + 60 :]
    blue = (panel == [0x2F, 0x6F, 0xDE]).all(-1).sum(1)
    lengths = [blue[start : start + 34].max() for start in range(np.flatnonzero(blue)[0] - 8, len(blue) - 20, 34)]
    track = ((panel == [0x2F, 0x6F, 0xDE]) | (panel == [0xE8, 0xEC, 0xF3])).all(-1).sum(1).max()
    np.testing.assert_allclose(np.array(lengths[:3]) / track, [0.7, 0.2, 0.1], atol=0.02)


@pytest.mark.parametrize(("height", "width"), [(1, 1), (1, 3000), (3000, 1), (8, 8), (900, 1600)])
def test_any_shape_of_image_is_drawn(height: int, width: int):
    sheet = draw(torch.full((1, height, width), 7, dtype=torch.uint8), AGE)
    assert sheet.width == WIDTH
    assert sheet.height <= 800


def test_captions_stand_below_their_image_and_long_ones_are_wrapped():
    long = "a very long caption that nobody could read in one line, " * 2
    few = CaptionPrediction("a.png", (long, "a cat", "a dog"), (0.5, 0.31, -0.1), (0.7, 0.2, 0.1))
    sheet = captioned(torch.full((3, 20, 40), 255, dtype=torch.uint8), few, k=3)
    assert captioned(torch.zeros(3, 20, 40, dtype=torch.uint8), few, k=1).height == sheet.height - 2 * LINE
    ink = np.asarray(sheet.convert("L"))[240:] < 128
    assert not ink[:, :10].any()
    assert not ink[:, WIDTH - 10 :].any()
    lines = wrapped(long, font(20), 380)
    assert len(lines) == 3
    assert all(font(20).getlength(line) <= 380 for line in lines)
    assert lines[-1].endswith("…")
    assert wrapped("a cat", font(20), 380) == ["a cat"]


def test_pictures_of_one_name_do_not_replace_each_other(trained: Path, colours: Path, tmp_path: Path):
    images = [str(colours / "test" / name / "0.png") for name in ("red", "blue")]
    assert cli.main(["predict", str(trained), *images, "--pictures", str(tmp_path / "seen")]) == 0
    assert len(list((tmp_path / "seen").iterdir())) == 2


def test_pictures_never_replace_the_image_itself(capsys, trained: Path, inbox: Path):
    before = (inbox / "red.png").read_bytes()
    assert cli.main(["predict", str(trained), str(inbox / "red.png"), "--pictures", str(inbox)]) == 1
    assert "is the image itself" in capsys.readouterr().err
    assert (inbox / "red.png").read_bytes() == before


def test_long_names_are_cut_to_the_width_they_have():
    face = font(20)
    cut = shortened("a name that is much too long for its place", face, 150)
    assert cut.endswith("…")
    assert face.getlength(cut) <= 150
    assert shortened("short", face, 150) == "short"
