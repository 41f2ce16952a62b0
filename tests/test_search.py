"""From images with captions to searches: one tiny run, and everything that can be asked of it."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import olhar
from olhar import cli, search, terminal
from olhar.errors import UserError
from olhar.language import places, words_of
from olhar.run import Run

COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 70, 220), "white": (245, 245, 245)}
SHAPES = ("square", "bar", "dot")


def draw(colour: str, shape: str, seed: int) -> Image.Image:
    """A shape of one colour, somewhere on black."""
    random = np.random.default_rng(seed)
    pixels = random.integers(0, 30, (16, 16, 3))
    y, x = random.integers(2, 6, 2)
    height, width = {"square": (8, 8), "bar": (3, 9), "dot": (3, 3)}[shape]
    pixels[y : y + height, x : x + width] = COLOURS[colour]
    return Image.fromarray(pixels.astype(np.uint8))


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder, rows = tmp_path_factory.mktemp("captions"), []
    for i in range(12 * 14):
        colour, shape = list(COLOURS)[i % 4], SHAPES[i // 4 % 3]
        draw(colour, shape, i).save(folder / f"{i}.png")
        rows.append({"file_name": f"{i}.png", "text": f"{'a' if i < 84 else 'one'} {colour} {shape}"})
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


@pytest.fixture(scope="module")
def run(data: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "shapes-1"
    fixed = {"train.precision": "fp32", "train.memory_format": "contiguous", "data.check": "off"}
    fixed |= {"data.val_fraction": 0.25, "optim.lr": 3e-3, "data.augment": "none"}
    return olhar.train(data, run=folder, model="cnn-small", epochs=10, batch_size=32, quiet=True, **fixed)


def test_it_learns_and_its_folder_is_enough(run: Run, data: Path):
    found = run.result["val"]
    assert found["image_to_text_recall_1"] > 3 * found["recall_1_chance"]
    assert found["text_to_image_recall_1"] > 3 * found["recall_1_chance"]
    again = olhar.load(run.path)
    assert again.evaluate(data, "train")["mean_recall"] > 1.3 * found["mean_recall_chance"]
    page = (run.path / "report.html").read_text()
    assert 'id="matrix"' in page
    assert "Captions find images" in page
    best = again.predict(data / "1.png")[0].row()
    assert "green" in best["caption"]


def test_a_folder_is_read_once_and_again_where_it_changed(run: Run, tmp_path: Path):
    for i, colour in enumerate(COLOURS):
        draw(colour, "square", 1000 + i).save(tmp_path / f"{colour}.png")
    (tmp_path / "broken.png").write_bytes(b"no image")
    first = run.search("a green square", tmp_path)
    assert first.computed == 4
    assert list(first.unreadable) == [str(tmp_path / "broken.png")]
    assert Path(first.shown[0].found).stem == "green"
    again = run.search("one red square", tmp_path, top=2)
    assert (again.computed, again.searched, len(again.shown)) == (0, 4, 2)
    assert Path(again.shown[0].found).stem == "red"
    assert list(again.unreadable) == list(first.unreadable)
    # as it would be found without an index
    draw("blue", "dot", 7).save(tmp_path / "new.png")
    (tmp_path / "red.png").unlink()
    draw("red", "square", 8).save(tmp_path / "white.png")
    changed = run.search("a red square", tmp_path)
    assert (changed.computed, changed.searched) == (2, 4)
    assert Path(changed.shown[0].found).stem == "white"
    for path in (run.path / "search").glob("*.safetensors"):
        path.unlink()
    fresh = run.search("a red square", tmp_path)
    assert [hit.found for hit in fresh.shown] == [hit.found for hit in changed.shown]
    assert [h.similarity for h in fresh.shown] == pytest.approx([h.similarity for h in changed.shown], abs=1e-5)
    by_image = run.search(tmp_path / "blue.png", tmp_path)
    assert by_image.shown[0].found == str(tmp_path / "blue.png")
    assert by_image.shown[0].similarity == pytest.approx(1, abs=1e-5)


def test_an_index_is_of_the_folder_however_it_is_written(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for i, colour in enumerate(COLOURS):
        draw(colour, "square", 1000 + i).save(tmp_path / f"{colour}.png")
    (tmp_path / "link.png").symlink_to(tmp_path / "gone.png")
    monkeypatch.chdir(tmp_path.parent)
    first = run.search("a green square", tmp_path.name)
    assert (first.computed, [*first.unreadable]) == (4, [str(Path(tmp_path.name) / "link.png")])
    assert first.shown[0].found == str(Path(tmp_path.name) / "green.png")
    again = run.search("a green square", tmp_path)
    assert (again.computed, again.shown[0].found) == (0, str(tmp_path / "green.png"))


def test_what_was_read_is_kept_when_it_is_stopped(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for i, colour in enumerate(COLOURS):
        draw(colour, "square", 1000 + i).save(tmp_path / f"{colour}.png")
    monkeypatch.setattr(search, "PIECE", 3)

    def press(share: float) -> None:
        assert share == 3 / 4
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run.search("a green square", tmp_path, tell=press)
    found = run.search("a green square", tmp_path)
    assert (found.computed, found.searched) == (1, 4)
    assert Path(found.shown[0].found).stem == "green"


def test_a_query_is_a_text_unless_it_is_an_image_that_is_there(run: Run, data: Path):
    for text in ("~nobody a red square", "a red square " * 40, "a.red square"):
        assert run.search(text, data).by == "text"
    with pytest.raises(UserError, match=r"There is no 'photos/cta\.jpg'"):
        run.search("photos/cta.jpg", data)


def test_words_have_their_marks():
    assert words_of(["कुत्ता घास पर!", "สุนัขสีดำ", "The dog's"]) == ["कुत्ता", "घास", "पर", "สุนัขสีดำ", "the", "dog", "s"]


def test_classes_have_the_names_that_are_the_same_but_for_blanks_and_large_letters():
    assert places(["Cat", "golden_retriever"], ["golden retriever", "cat", "owl"], "x") == [1, 0]
    assert places(["0", "1"], ["zero", "one"], "x") == [0, 1]
    with pytest.raises(UserError, match="without 'dog'"):
        places(["cat", "dog"], ["cats and dogs", "cat"], "x")  # neither the names nor others in their place


def test_words_are_found_too(run: Run, data: Path):
    captions = run.search(data / "2.png", top=3, words=True)
    assert captions.kind == "texts"
    assert "blue" in captions.shown[0].found
    words = run.similar_words("red", top=20)
    assert {word for word, _ in words} == {"green", "blue", "white", "square", "bar", "dot", "a", "one"}
    assert words == sorted(words, key=lambda pair: -pair[1])


def test_classes_are_told_by_their_names(run: Run, tmp_path: Path):
    for colour in ("red", "green"):
        for shape in ("square", "bar"):
            for i in range(4):
                (tmp_path / colour).mkdir(exist_ok=True)
                draw(colour, shape, 500 + i).save(tmp_path / colour / f"{shape}{i}.png")
    plain = run.evaluate(tmp_path, prompts=["a {} square", "one {} bar"])
    assert plain["accuracy"] > 0.8
    assert plain["accuracy_chance"] == 0.5
    assert run.evaluate(tmp_path, classes=["green", "red", "blue"], prompts=["a {} square"])["accuracy"] > 0.6
    # words in the order of the folders, green and red: the wrong way round most is wrong
    wrong = run.evaluate(tmp_path, classes=["a red square", "a green square"])
    assert wrong["accuracy"] < 0.3
    with pytest.raises(UserError, match="--classes 3 names, without 'green'"):
        run.evaluate(tmp_path, classes=["cat", "dog", "owl"])
    with pytest.raises(UserError, match="has no place for the name"):
        run.evaluate(tmp_path, prompts=["a photo"])
    answers = run.predict(tmp_path / "red", classes=["red", "green"], prompts=["a {} square"])
    assert sum(answer.row()["caption"] == "red" for answer in answers) > 5


@pytest.mark.parametrize("classes", [(), ("red", "square", "green")])
def test_several_labels_an_image_are_not_told_by_their_names(run: Run, tmp_path: Path, classes: tuple[str, ...]):
    labels = ["red|square", "green", "green|square", "red"]
    for i, label in enumerate(labels):
        draw(label.partition("|")[0], "square", i).save(tmp_path / f"{i}.png")
    table = tmp_path / "table.csv"
    table.write_text("\n".join(["file,label", *(f"{i}.png,{label}" for i, label in enumerate(labels))]) + "\n")
    with pytest.raises(UserError, match=r"several labels an image, .*: give data with one label an image\.$"):
        run.evaluate(table, classes=classes)


def test_a_finished_training_says_how_to_search(run: Run, capsys):
    terminal.show_result(run, as_json=False)
    (line,) = (line for line in capsys.readouterr().out.splitlines() if line.startswith("Ask it"))
    assert line.split()[2:5] == ["olhar", "search", str(run.path)]


def test_the_command_line_answers_with_a_table_a_page_and_json(run: Run, data: Path, tmp_path: Path, capsys):
    page, table = tmp_path / "a" / "b.html", tmp_path / "a.csv"
    line = ["search", str(run.path), "a <b> red square", str(data), "--top", "3", "--html", str(page)]
    assert cli.main([*line, "--csv", str(table)]) == 0
    said = capsys.readouterr().out
    assert f"The page: {page}" in said
    assert "168 images searched in" in said
    written = page.read_text()
    assert written.count("data:image/webp") == 3
    assert "a &lt;b&gt; red square" in written
    assert table.read_text().splitlines()[0] == "place,cosine,found"
    assert cli.main([*line[:3], "--json", "--words"]) == 0
    assert json.loads(capsys.readouterr().out)["kind"] == "texts"
    assert cli.main(["predict", str(run.path), str(data / "0.png"), "--top", "2", "--classes", "red,blue"]) == 0
    assert "red" in capsys.readouterr().out.splitlines()[1]
    assert cli.main(["predict", str(run.path), str(data / "0.png"), "--csv", str(table)]) == 0
    assert table.read_text().splitlines()[0] == "file,place,caption,similarity,probability"


def test_who_reads_no_texts_says_so(trained: Path, run: Run, tmp_path: Path):
    for ask in (
        lambda: olhar.load(trained).search("a red square"),
        lambda: olhar.load(trained).evaluate(tmp_path, classes=["a", "b"]),
        lambda: olhar.load(trained).predict(tmp_path, classes=["a", "b"]),
    ):
        with pytest.raises(UserError, match="learnt to classify and reads no texts: train on images with captions"):
            ask()
    with pytest.raises(UserError, match="says nothing"):
        run.search("  ")
    with pytest.raises(UserError, match="There is no folder"):
        run.search("a cat", tmp_path / "none")


def test_the_nearest_are_those_of_a_sort():
    vectors = torch.nn.functional.normalize(torch.randn(500, 16, generator=torch.Generator().manual_seed(0)), dim=1)
    found = search.nearest(vectors, vectors[7], 9)
    assert [i for i, _ in found] == (vectors @ vectors[7]).argsort(descending=True)[:9].tolist()
