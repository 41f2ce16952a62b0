"""From what a person types to one reading of it, or to a sentence that says what to do."""

from pathlib import Path

import pytest
from PIL import Image

from olhar.config import DataConfig
from olhar.data.recognise import READERS, SERVES, recognise
from olhar.errors import UserError


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(root / name)
    return root


def test_the_sentence_says_what_was_found_and_where_the_splits_come_from(tmp_path: Path) -> None:
    names = [f"{split}/{c}/{i}.jpg" for split in ("train", "test") for c in ("a", "b") for i in range(10)]
    found = recognise(make(tmp_path, *names))
    assert found.explanation == (
        "2 folders of JPEG under train/ and test/: classification, 2 classes; no validation split: 10% of train held "
        "out, stratified, seed 0, stored in the run."
    )
    assert [len(found.split(s)) for s in ("train", "val", "test")] == [18, 2, 20]


def test_a_path_that_does_not_exist_offers_the_nearest(tmp_path: Path) -> None:
    (tmp_path / "flowers").mkdir()
    with pytest.raises(UserError, match=r"did you mean '.*flowers'"):
        recognise(tmp_path / "flower")
    with pytest.raises(UserError, match="did you mean 'digits'"):
        recognise("digit")


def test_a_run_is_no_data(tmp_path: Path) -> None:
    (tmp_path / "digits").mkdir()
    (tmp_path / "digits" / "run.json").write_text("{}")
    with pytest.raises(UserError, match="is the folder of a run and no data"):
        recognise(tmp_path / "digits")


def test_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"is empty\. What is read: class folders"):
        recognise(tmp_path)


def test_a_folder_without_images_says_what_is_there(tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(b"")
    with pytest.raises(UserError, match=r"holds no images \(1 .npy\)"):
        recognise(tmp_path)


def test_images_without_labels(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"No labels were found .* 2 images \(PNG\)\. What is read"):
        recognise(make(tmp_path, "1.png", "2.png"))


def test_two_readings_are_both_shown_with_what_chooses_them(tmp_path: Path) -> None:
    make(tmp_path, "cat/1.jpg", "cat/2.jpg", "dog/3.jpg", "dog/4.jpg")
    lines = "file,label\ncat/1.jpg,old\ncat/2.jpg,new\ndog/3.jpg,old\ndog/4.jpg,new\n"
    (tmp_path / "ages.csv").write_text(lines)
    with pytest.raises(UserError) as error:
        recognise(tmp_path)
    assert "2 ways" in str(error.value)
    assert "cat/1.jpg is 'cat'" in str(error.value)
    assert "--data.format folders" in str(error.value)
    assert "the table ages.csv: file=cat/1.jpg, label=old" in str(error.value)
    assert f"give {tmp_path / 'ages.csv'} instead" in str(error.value)
    assert recognise(tmp_path, config=DataConfig(format="folders")).class_names == ("cat", "dog")
    assert recognise(tmp_path, config=DataConfig(format="table")).class_names == ("new", "old")
    assert recognise(tmp_path / "ages.csv").class_names == ("new", "old")


def test_two_tables_are_both_shown(tmp_path: Path) -> None:
    make(tmp_path, "1.jpg", "2.jpg", "3.jpg", "4.jpg")
    for name in ("colour.csv", "shape.csv"):
        (tmp_path / name).write_text("file,label\n1.jpg,a\n2.jpg,b\n3.jpg,a\n4.jpg,b\n")
    with pytest.raises(UserError, match=r"(?s)the table colour.csv.*the table shape.csv"):
        recognise(tmp_path)


def test_a_broken_table_beside_class_folders_does_no_harm_and_alone_is_named(tmp_path: Path) -> None:
    (tmp_path / "log.csv").write_text("a,b\n1,2,3\n")
    with pytest.raises(UserError, match=r"log\.csv, line 2 has 3 cells"):
        recognise(tmp_path)
    assert recognise(make(tmp_path, "cat/1.jpg", "dog/1.jpg")).format == "class folders"


def test_a_folder_named_like_a_set_is_read_as_the_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    make(tmp_path, "digits/a/1.jpg", "digits/b/2.jpg", "cifar10/a/1.jpg", "cifar10/b/2.jpg")
    monkeypatch.chdir(tmp_path)
    assert recognise("digits").class_names == ("a", "b")
    found = recognise("cifar10")
    assert found.format == "class folders"
    assert found.notes == ("'cifar10' is read as the folder that it is; the set of that name is 'cifar10:'.",)
    assert len(recognise("digits:").class_names) == 10


def test_embedded_sets_by_name() -> None:
    assert len(recognise("digits").records) == 1797
    assert len(recognise("shapes:n=100,size=16,seed=3").records) == 100


def test_other_files_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_bytes(b"PK")
    with pytest.raises(UserError, match="Unpack it"):
        recognise(tmp_path / "a.zip")
    make(tmp_path, "a.jpg")
    with pytest.raises(UserError, match="neither a folder nor a table"):
        recognise(tmp_path / "a.jpg")


def test_unknown_tasks_and_formats_offer_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="did you mean 'classify'"):
        recognise(tmp_path, task="clasify")
    with pytest.raises(UserError, match="did you mean 'folders'"):
        recognise(tmp_path, config=DataConfig(format="folder"))
    known = {"folders", "table", "masks", "coco", "voc", "yolo", "captions", "pairs", "plain"}
    assert set(READERS) == set(SERVES) == known
