"""A tiny run whose words look at patches: searches, answers, the instrument and the report."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import olhar
from olhar import cli
from olhar.errors import UserError
from olhar.run import Run

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 70, 220)}


def draw(colour: str, place: int) -> Image.Image:
    """A square of one colour in one of four corners, and a white one in the corner across."""
    pixels = np.zeros((16, 16, 3), np.uint8)
    for corner, fill in ((place, COLOURS[colour]), (3 - place, (245, 245, 245))):
        y, x = divmod(corner, 2)
        pixels[1 + 8 * y : 7 + 8 * y, 1 + 8 * x : 7 + 8 * x] = fill
    return Image.fromarray(pixels)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rows = tmp_path_factory.mktemp("captions"), []
    for i in range(96):
        colour = list(COLOURS)[i % 3]
        draw(colour, i // 3 % 4).save(folder / f"{i}.png")
        rows.append({"file_name": f"{i}.png", "text": f"{'a' if i < 48 else 'one'} {colour} square"})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "squares-1"
    fixed = {"train.precision": "fp32", "train.memory_format": "contiguous", "data.check": "off", "optim.lr": 3e-3}
    fixed |= {"data.val_fraction": 0.25, "data.augment": "none", "model.fusion": "cross-attention"}
    return olhar.train(data, run=folder, model="cnn-tiny", epochs=14, batch_size=16, quiet=True, **fixed)


def test_it_learns_and_says_what_the_words_add(run: Run):
    found = run.result["val"]
    assert found["mean_recall"] > 1.3 * found["mean_recall_chance"]
    assert 0 < found["mean_recall_before"] <= 1
    page = (run.path / "report.html").read_text()
    assert "put in order by words" in page


def test_a_search_orders_the_nearest_by_their_patches(run: Run, data: Path, tmp_path: Path, capsys):
    found = run.search("a red square", data, top=5)
    assert found.closely
    assert all(int(Path(hit.found).stem) % 3 == 0 for hit in found.shown[:3])
    assert [hit.similarity for hit in found.shown] == sorted((hit.similarity for hit in found.shown), reverse=True)
    texts = run.search(data / "1.png", top=3, words=True)
    assert texts.closely
    assert "green" in texts.shown[0].found
    # vectors answer where there are no words, or no patches
    assert not run.search(data / "1.png", data).closely
    assert not run.search("red", words=True).closely
    assert "green" in run.predict(data / "1.png")[0].row()["caption"]
    assert cli.main(["search", str(run.path), "a red square", str(data), "--html", str(tmp_path / "a.html")]) == 0
    assert "fit" in capsys.readouterr().out
    assert "how well words fit patches" in (tmp_path / "a.html").read_text()


@pytest.mark.notes("Fig 4.2")
def test_words_point_at_what_they_name(run: Run, data: Path, tmp_path: Path, capsys):
    line = ["inspect", str(run.path), "words", "--image", str(data / "2.png"), "--text", "a blue square"]
    assert cli.main([*line, "--out", str(tmp_path)]) == 0
    assert "blue" in capsys.readouterr().out
    assert {path.suffix for path in tmp_path.iterdir()} == {".svg", ".png", ".csv"}
    own = run.inspect("words")
    assert own.values.said[0].caption.endswith("square")
    for one in own.values.said:
        assert all(word.heat.sum() == pytest.approx(1, abs=1e-4) for word in one.words)
    columns, rows = own.values.table()
    assert len(rows) == 12
    assert all(len(row) == len(columns) for row in rows)
    assert own.figure(dark=True).get_facecolor() != own.figure().get_facecolor()


def test_what_words_cannot_look_at_is_said(run: Run, trained: Path, data: Path):
    with pytest.raises(UserError, match="add --text 'what they show'"):
        run.inspect("words", data / "1.png")
    with pytest.raises(UserError, match="network looks at images alone: leave --text out"):
        run.inspect("network", text="a cat")
    with pytest.raises(UserError, match="aligns no words with images"):
        olhar.load(trained).inspect("words")
