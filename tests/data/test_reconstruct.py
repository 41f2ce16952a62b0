"""Images to reconstruct: pairs of folders, and any images at all."""

from pathlib import Path

import pytest
from pictures import mask, photo

from olhar.config import DataConfig
from olhar.data.recognise import recognise
from olhar.data.sample import Collection
from olhar.errors import UserError


def read(root: Path | str, task: str | None = None) -> Collection:
    return recognise(root, task, DataConfig(val_fraction=0.0))


@pytest.mark.parametrize(
    ("given", "target"),
    [
        ("input/{split}/{n}.jpg", "target/{split}/{n}.png"),
        ("{split}/noisy/{n}.png", "{split}/clean/{n}.png"),
        ("{split}_lr/{n}x4.png", "{split}_hr/{n}.png"),
        ("{split}/x/{n}.png", "{split}/y/{n}.png"),
        ("{split}/noisy/{n}_noisy.png", "{split}/clean/{n}_clean.png"),
    ],
)
def test_pairs(tmp_path: Path, given: str, target: str) -> None:
    expected = set()
    for split in ("train", "test"):
        for n in ("0001", "0002", "0003"):
            names = given.format(split=split, n=n), target.format(split=split, n=n)
            expected.add((photo(tmp_path / names[0]), split, photo(tmp_path / names[1])))
    found = read(tmp_path)
    assert (found.format, found.task, found.findings) == ("pairs", "reconstruct", ())
    assert {(r.image, r.split, r.clean) for r in found.records} == expected


def test_pairs_are_explained_and_what_is_alone_is_named(tmp_path: Path) -> None:
    for n in range(20):
        photo(tmp_path / f"input/{n}.png")
        photo(tmp_path / f"target/{n + 1}.png")
    found = read(tmp_path)
    assert found.explanation == (
        "19 pictures (PNG) in input/, each to become the one of its name in target/: reconstruction."
    )
    assert {(f.code, f.message) for f in found.findings} == {
        ("input-without-target", "1 picture has no target and is left out: input/0.png."),
        ("target-without-input", "1 target has no input and is left out: target/20.png."),
    }


def test_names_that_may_be_classes_are_two_readings(tmp_path: Path) -> None:
    for n in range(3):
        photo(tmp_path / f"low/{n}.png")
        photo(tmp_path / f"high/{n}.png")
    with pytest.raises(UserError, match=r"(?s)2 ways.*--data.format folders.*low/0.png is to become high/0.png"):
        read(tmp_path)
    assert read(tmp_path, "reconstruct").records[0].clean == tmp_path / "high/0.png"
    assert read(tmp_path, "classify").class_names == ("high", "low")


def test_classes_called_noisy_and_clean_with_pictures_of_their_own_stay_classes(tmp_path: Path) -> None:
    for n in range(3):
        photo(tmp_path / f"noisy/a{n}.png")
        photo(tmp_path / f"clean/b{n}.png")
    assert read(tmp_path).class_names == ("clean", "noisy")


def test_images_without_labels_say_what_can_be_done_with_them(tmp_path: Path) -> None:
    photo(tmp_path / "1.png")
    with pytest.raises(UserError, match=r"No labels were found .*--task reconstruct learns from the images themselves"):
        read(tmp_path)
    found = read(tmp_path, "reconstruct")
    assert found.explanation == "1 image (PNG), each to be reconstructed."
    assert [(r.id, r.split, r.clean, r.label) for r in found.records] == [("1.png", "train", None, None)]


def test_every_image_of_any_layout_is_taken_and_masks_are_not(tmp_path: Path) -> None:
    for split in ("train", "test"):
        for name in ("cat", "dog"):
            photo(tmp_path / f"animals/{split}/{name}/1.png")
        photo(tmp_path / f"streets/images/{split}/1.jpg")
        mask(tmp_path / f"streets/masks/{split}/1.png")
    found = read(tmp_path / "animals", "reconstruct")
    assert [r.split for r in found.records] == ["test", "test", "train", "train"]
    assert found.explanation == "4 images (PNG), each to be reconstructed; splits by the folders train/ and test/."
    found = read(tmp_path / "animals/test", "reconstruct")
    assert [r.split for r in found.records] == ["train", "train"]
    photo(tmp_path / "pets/test/1.png")
    photo(tmp_path / "pets/cat/1.png")
    assert [r.split for r in read(tmp_path / "pets", "reconstruct").records] == ["train", "train"]
    found = read(tmp_path / "streets", "reconstruct")
    assert {r.id for r in found.records} == {"images/train/1.jpg", "images/test/1.jpg"}
    assert found.notes == ("2 masks left out (first: masks/test/1.png).",)
    table = tmp_path / "animals/labels.csv"
    table.write_text("file,label\ntrain/cat/1.png,a\ntrain/dog/1.png,b\n")
    assert read(tmp_path / "animals", "reconstruct").format == "plain"


def test_images_held_out_are_chosen_by_their_names(tmp_path: Path) -> None:
    for n in range(20):
        photo(tmp_path / f"{n}.png")
    found = recognise(tmp_path, "reconstruct")
    assert len(found.split("val")) == 2
    assert "10% of train held out, chosen by a hash of their names, seed 0" in found.explanation
    assert {r.id for r in recognise(tmp_path, "reconstruct").split("val")} == {r.id for r in found.split("val")}


def test_embedded_sets() -> None:
    digits = read("digits", "reconstruct")
    assert (digits.task, digits.class_names, digits.records[0].label) == ("reconstruct", (), None)
    shapes = read("shapes:n=100", "reconstruct")
    assert (shapes.task, shapes.records[0].target, shapes.records[0].mask) == ("reconstruct", None, None)


def test_a_format_of_another_task_is_refused(tmp_path: Path) -> None:
    photo(tmp_path / "1.png")
    with pytest.raises(UserError, match=r"--data.format folders is not for --task reconstruct, but for classify and"):
        recognise(tmp_path, config=DataConfig(task="reconstruct", format="folders"))
    with pytest.raises(UserError, match=r"--ignore sky names a class of masks, and there are none"):
        recognise(tmp_path, config=DataConfig(task="reconstruct", ignore="sky"))
