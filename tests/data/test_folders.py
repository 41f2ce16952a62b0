"""Class folders in every layout people keep them in."""

from pathlib import Path

import pytest
from PIL import Image

from olhar.config import DataConfig
from olhar.data.recognise import recognise
from olhar.data.sample import Collection
from olhar.errors import UserError


def make(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (8, 8)).save(root / name, "JPEG")
    return root


def read(root: Path, *names: str) -> Collection:
    """What is recognised, with nothing held out, so that the splits are those of the folders."""
    return recognise(make(root, *names), config=DataConfig(val_fraction=0.0))


def rows(collection: Collection) -> set[tuple[str, str, str]]:
    return {(r.id, r.split, collection.class_names[r.label or 0]) for r in collection.records}


def test_flat_class_folders(tmp_path: Path) -> None:
    found = read(tmp_path, "dog/1.jpg", "cat/1.JPG", "cat/2.jpeg")
    assert found.class_names == ("cat", "dog")
    assert rows(found) == {("dog/1.jpg", "train", "dog"), ("cat/1.JPG", "train", "cat"), ("cat/2.jpeg", "train", "cat")}
    assert found.explanation == "2 folders of JPEG: classification, 2 classes."


@pytest.mark.parametrize("val", ["val", "valid", "validation", "VAL"])
def test_splits_above_the_classes(tmp_path: Path, val: str) -> None:
    found = read(tmp_path, "Train/cat/1.jpg", "Train/dog/1.jpg", f"{val}/cat/2.jpg", "test/dog/3.jpg")
    assert rows(found) == {
        ("Train/cat/1.jpg", "train", "cat"),
        ("Train/dog/1.jpg", "train", "dog"),
        (f"{val}/cat/2.jpg", "val", "cat"),
        ("test/dog/3.jpg", "test", "dog"),
    }
    assert found.explanation.startswith(f"2 folders of JPEG under Train/, {val}/ and test/: classification, 2 classes")


def test_splits_below_the_classes(tmp_path: Path) -> None:
    found = read(tmp_path, "cat/train/1.jpg", "cat/val/2.jpg", "dog/train/1.jpg", "dog/val/2.jpg")
    assert ("cat/val/2.jpg", "val", "cat") in rows(found)
    assert found.class_names == ("cat", "dog")
    assert "split by train/ and val/ inside them" in found.explanation


def test_nested_classes_are_named_by_their_path(tmp_path: Path) -> None:
    found = read(tmp_path, "train/animals/cat/1.jpg", "train/animals/dog/1.jpg", "train/things/car/1.jpg")
    assert found.class_names == ("animals/cat", "animals/dog", "things/car")


def test_an_archive_folder_around_everything_is_entered(tmp_path: Path) -> None:
    found = read(tmp_path, "flowers/flowers/train/rose/1.jpg", "flowers/flowers/train/lily/1.jpg")
    assert found.class_names == ("lily", "rose")
    assert {r.split for r in found.records} == {"train"}
    assert "under flowers/flowers/train/" in found.explanation


def test_an_image_beside_the_one_folder_keeps_the_classes_full_names(tmp_path: Path) -> None:
    found = read(tmp_path, "animals/cat/1.jpg", "animals/dog/1.jpg", "cover.jpg")
    assert found.class_names == ("animals/cat", "animals/dog")
    assert found.notes == ("1 image in no class folder left out (first: cover.jpg).",)


def test_classes_are_sorted_over_all_splits_together(tmp_path: Path) -> None:
    found = read(tmp_path, "test/b/1.jpg", "test/c/1.jpg", "train/a/1.jpg", "train/b/2.jpg", "train/c/2.jpg")
    assert found.class_names == ("a", "b", "c")
    assert ("test/b/1.jpg", "test", "b") in rows(found)


def test_a_split_without_a_class_shifts_no_index(tmp_path: Path) -> None:
    found = read(tmp_path, "train/a/1.jpg", "train/b/1.jpg", "train/c/1.jpg", "val/a/2.jpg", "val/c/2.jpg")
    assert {r.id: r.label for r in found.records}["val/c/2.jpg"] == 2
    assert found.class_names == ("a", "b", "c")


def test_a_test_folder_beside_the_classes_is_their_test(tmp_path: Path) -> None:
    found = read(tmp_path, "cat/1.jpg", "dog/1.jpg", "test/cat/2.jpg", "test/dog/2.jpg")
    assert ("cat/1.jpg", "train", "cat") in rows(found)
    assert ("test/dog/2.jpg", "test", "dog") in rows(found)


def test_a_class_may_be_called_test(tmp_path: Path) -> None:
    assert read(tmp_path / "flat", "test/1.jpg", "control/1.jpg").class_names == ("control", "test")
    nested = read(tmp_path / "nested", "test/a/1.jpg", "control/b/1.jpg")
    assert nested.class_names == ("control/b", "test/a")


def test_only_a_test_folder(tmp_path: Path) -> None:
    found = read(tmp_path, "test/cat/1.jpg", "test/dog/1.jpg")
    assert {r.split for r in found.records} == {"test"}


def test_what_systems_leave_behind_is_no_image(tmp_path: Path) -> None:
    (tmp_path / "cat").mkdir()
    (tmp_path / "cat/Thumbs.db").write_bytes(b"x")
    found = read(tmp_path, "cat/1.jpg", "dog/1.jpg", "__MACOSX/cat/1.jpg", ".hidden/1.jpg", "cat/._1.jpg")
    assert {r.id for r in found.records} == {"cat/1.jpg", "dog/1.jpg"}


def test_images_outside_the_class_folders_are_left_out_and_said(tmp_path: Path) -> None:
    found = read(tmp_path, "train/cat/1.jpg", "train/dog/1.jpg", "logo.jpg")
    assert len(found.records) == 2
    assert found.notes == ("1 image in no class folder left out (first: logo.jpg).",)


def test_a_link_to_a_folder_above_is_not_followed_for_ever(tmp_path: Path) -> None:
    make(tmp_path, "cat/1.jpg", "dog/1.jpg")
    (tmp_path / "cat/up").symlink_to(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    assert len(read(tmp_path).records) == 2


def test_folders_that_name_kinds_of_file_are_no_classes(tmp_path: Path) -> None:
    make(tmp_path, "images/train/1.jpg", "images/val/2.jpg", "frames/train/1.jpg", "frames/val/2.jpg")
    with pytest.raises(UserError, match=r"No labels were found .* 4 images \(JPEG\) under frames/ and images/"):
        recognise(tmp_path)


def test_one_class_only(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"one class only \('cat'\)"):
        recognise(make(tmp_path, "train/cat/1.jpg", "val/cat/2.jpg"))


def test_class_folders_hold_no_numbers(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="use --task classify"):
        recognise(make(tmp_path, "1/1.jpg", "2/1.jpg"), task="regress")
