"""Images and masks in the layouts people keep them in, and what the values of the masks are taken for."""

import json
from pathlib import Path

import numpy as np
import pytest
from pictures import coloured, mask, photo, stripes
from PIL import Image

from olhar.config import DataConfig
from olhar.data.known_masks import CAMVID_COLOURS, VOC
from olhar.data.masks import MaskFile
from olhar.data.recognise import recognise
from olhar.data.sample import IGNORE, Collection
from olhar.errors import UserError


def read(root: Path, **settings: object) -> Collection:
    """What is recognised, with nothing held out."""
    return recognise(root, config=DataConfig(val_fraction=0.0, **settings))  # type: ignore[arg-type]


def rows(found: Collection, root: Path) -> set[tuple[str, str, str]]:
    """The image, the split and the mask of every record."""
    assert all(isinstance(record.mask, MaskFile) for record in found.records)
    return {(r.id, r.split, r.mask.path.relative_to(root).as_posix()) for r in found.records}  # type: ignore[union-attr]


def classes(found: Collection, index: int = 0) -> list[int]:
    """The classes of one mask, from left to right."""
    row = found.records[index].mask.render()[0].tolist()  # type: ignore[union-attr]
    return [k for i, k in enumerate(row) if i == 0 or row[i - 1] != k]


@pytest.mark.parametrize(
    ("image", "label"),
    [
        ("images/{split}/{n}.jpg", "masks/{split}/{n}.png"),
        ("{split}/images/{n}.jpg", "{split}/labels/{n}.png"),
        ("set/{split}/img/{n}.jpg", "set/{split}/gt/{n}_gt.png"),
        ("{split}/{n}.png", "{split}annot/{n}.png"),
        ("{split}/{n}.png", "{split}_labels/{n}_L.png"),
        ("images/{split}/{n}_leftImg8bit.png", "annotations/{split}/{n}_gtFine_labelIds.png"),
        ("{split}/{n}.jpg", "{split}/{n}_mask.png"),
        ("{split}/scan ({n}).png", "{split}/scan ({n})_seg.png"),
        ("{split}/{n}.jpg", "{split}/{n}.png"),
        ("Images/{split}/image_{n}.jpg", "Masks/{split}/mask_{n}.png"),
        ("images/{n}{split}.jpg", "masks/{split}/{n}{split}.png"),
    ],
)
def test_layouts(tmp_path: Path, image: str, label: str) -> None:
    expected = set()
    for split in ("train", "val"):
        for n in ("a1", "b2", "c3"):
            names = image.format(split=split, n=n), label.format(split=split, n=n)
            photo(tmp_path / names[0])
            mask(tmp_path / names[1])
            expected.add((names[0], split, names[1]))
    found = read(tmp_path)
    assert (found.format, found.task, found.findings) == ("masks", "segment", ())
    assert rows(found, tmp_path) == expected


def test_the_sentence_says_what_the_masks_hold_and_what_is_ignored(tmp_path: Path) -> None:
    for n in range(10):
        photo(tmp_path / f"images/{n}.jpg")
        mask(tmp_path / f"masks/{n}_seg.png", [0, 1, 2, 255])
    (tmp_path / "classes.txt").write_text("sky\nUnlabelled\nsea\n")
    found = recognise(tmp_path)
    assert found.explanation == (
        "10 images (JPEG) in images/ with masks (PNG called NAME_seg) in masks/ whose values 0, 1 and 2 are classes: "
        "segmentation, 2 classes named by classes.txt; 'Unlabelled' (1) and 255 are ignored; no validation split: 10% "
        "of train held out, chosen by a hash of their names, seed 0, stored in the run."
    )
    assert found.class_names == ("sky", "sea")
    assert classes(found) == [0, IGNORE, 1, IGNORE]


def test_ignore_takes_classes_out_by_name_or_value(tmp_path: Path) -> None:
    photo(tmp_path / "images/1.jpg")
    mask(tmp_path / "masks/1.png", [0, 1, 2, 3])
    (tmp_path / "classes.txt").write_text("sky\nsea\nsand\nship\n")
    found = read(tmp_path, ignore="SEA,3")
    assert (found.class_names, classes(found)) == (("sky", "sand"), [0, IGNORE, 1, IGNORE])
    with pytest.raises(UserError, match=r"no class 'see' to ignore: did you mean 'sea'\?"):
        read(tmp_path, ignore="see")
    with pytest.raises(UserError, match=r"holds one class only \('ship'\): segmentation needs at least two"):
        read(tmp_path, ignore="sky,sea,sand")


@pytest.mark.parametrize(
    ("values", "names", "expected", "seen"),
    [
        ([0, 1], None, ("background", "foreground"), [0, 1]),
        ([0, 255], None, ("background", "foreground"), [0, 1]),
        ([0, 255], "lesion", ("background", "lesion"), [0, 1]),
        ([0, 255], "out\nin", ("out", "in"), [0, 1]),
        ([0, 7, 26, 255], None, ("class 0", "class 7", "class 26"), [0, 1, 2, IGNORE]),
        ([0, 85, 170, 255], None, ("class 0", "class 85", "class 170", "class 255"), [0, 1, 2, 3]),
        ([1, 2, 3], "a\nb\nc", ("a", "b", "c"), [0, 1, 2]),
        ([0, 1, 2], "cat\ndog", ("background", "cat", "dog"), [0, 1, 2]),
        ([0, 1, 2], "background\ncat", ("background", "cat"), [0, 1, IGNORE]),
        ([4, 9], "4 a\n9 b\n1 c", ("c", "a", "b"), [1, 2]),
    ],
)
def test_values_and_names(
    tmp_path: Path, values: list[int], names: str | None, expected: tuple[str, ...], seen: list[int]
) -> None:
    photo(tmp_path / "images/1.jpg")
    mask(tmp_path / "masks/1.png", values)
    if names:
        (tmp_path / "labels.txt").write_text(names)
    found = read(tmp_path)
    assert (found.class_names, classes(found)) == (expected, seen)
    assert ("black-and-white" in {f.code for f in found.findings}) == (values == [0, 255])


def test_colours_by_a_table_and_without_one(tmp_path: Path) -> None:
    photo(tmp_path / "images/1.png")
    coloured(tmp_path / "masks/1.png", [(9, 9, 9), (200, 0, 0), (0, 0, 0)])
    found = read(tmp_path)
    assert (found.class_names, classes(found)) == (("#000000", "#090909", "#c80000"), [1, 2, 0])
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nvoid,0,0,0\nroad,200,0,0\nsky,9,9,9\n")
    found = read(tmp_path)
    assert (found.class_names, classes(found)) == (("road", "sky"), [1, 0, IGNORE])
    assert found.palette == ((200, 0, 0), (9, 9, 9))
    assert "whose 3 colours are classes" in found.explanation
    assert "'void' (0, 0, 0) is ignored" in found.explanation


def test_a_palette_gives_the_colours_and_one_that_changes_gives_the_classes(tmp_path: Path) -> None:
    def save(name: str, palette: list[int]) -> None:
        photo(tmp_path / f"images/{name}.jpg")
        (tmp_path / "masks").mkdir(exist_ok=True)
        image = Image.fromarray(stripes([0, 1]).astype(np.uint8))
        image.putpalette(palette)
        image.save(tmp_path / f"masks/{name}.png")

    save("1", [0, 0, 0, 200, 0, 0])
    save("2", [0, 0, 0, 200, 0, 0])
    found = read(tmp_path)
    assert (found.palette, classes(found)) == (((0, 0, 0), (200, 0, 0)), [0, 1])
    save("3", [200, 0, 0, 0, 0, 0])  # as programs write them that make files small
    found = read(tmp_path)
    assert found.class_names == ("#000000", "#c80000")
    assert (classes(found, 0), classes(found, 2)) == ([0, 1], [1, 0])


def test_smooth_edges_are_no_classes(tmp_path: Path) -> None:
    photo(tmp_path / "images/1.jpg", 64, 640)
    mask(tmp_path / "masks/1.png", [*[0] * 300, *range(20, 240, 10), *[255] * 300], 64, 640)
    assert read(tmp_path).class_names == ("background", "foreground")


def test_camvid_as_it_is_distributed(tmp_path: Path) -> None:
    for split in ("train", "test"):
        photo(tmp_path / f"numbers/{split}/0001TP_{split}.png")
        mask(tmp_path / f"numbers/{split}annot/0001TP_{split}.png", [0, 10, 11])
    found = read(tmp_path / "numbers")
    assert (len(found.class_names), classes(found)) == (11, [0, 10, IGNORE])
    assert "named as in CamVid; 'unlabelled' (11) and 255 are ignored" in found.explanation
    photo(tmp_path / "colours/701_StillsRaw_full/0016E5_00390.png")
    shown = [CAMVID_COLOURS[name] for name in ("Car", "Void", "Tree")]
    coloured(tmp_path / "colours/LabeledApproved_full/0016E5_00390_L.png", shown)
    found = read(tmp_path / "colours")
    assert len(found.class_names) == 31
    assert [found.class_names[k] for k in classes(found) if k != IGNORE] == ["Car", "Tree"]


def test_pascal_voc_as_it_is_distributed(tmp_path: Path) -> None:
    voc = tmp_path / "VOCdevkit/VOC2012"
    ids = [f"2007_{i:06}" for i in range(6)]
    for name in ids:
        photo(voc / f"JPEGImages/{name}.jpg")
    for name in ids[:4]:
        mask(voc / f"SegmentationClass/{name}.png", [0, 15, 255])
        mask(voc / f"SegmentationObject/{name}.png", [0, 1, 255])
    for task, lists in {"Segmentation": (ids[:3], ids[3:4]), "Main": (ids[:5], ids[5:])}.items():
        (voc / "ImageSets" / task).mkdir(parents=True)
        for split, names in zip(("train", "val"), lists, strict=True):
            (voc / "ImageSets" / task / f"{split}.txt").write_text("\n".join(names))
        (voc / "ImageSets" / task / "trainval.txt").write_text("\n".join([*lists[0], *lists[1]]))
    found = read(tmp_path)
    assert (found.class_names, classes(found)) == (VOC, [0, 15, IGNORE])
    assert [r.split for r in found.records] == ["train"] * 3 + ["val"]
    assert "splits by train.txt and val.txt in VOCdevkit/VOC2012/ImageSets/Segmentation/" in found.explanation
    assert found.notes[0].startswith(
        "2 images in no list of a split left out (first: VOCdevkit/VOC2012/JPEGImages/2007_"
    )
    assert found.findings == ()


def test_oxford_pet_as_it_is_distributed(tmp_path: Path) -> None:
    names = ["Abyssinian_1", "Abyssinian_2", "american_bulldog_10"]
    for name in names:
        photo(tmp_path / f"images/{name}.jpg")
        mask(tmp_path / f"annotations/trimaps/{name}.png", [2, 3, 1])
    for file, lines in {"trainval": names[:2], "test": names[2:], "list": ["#Image CLASS-ID SPECIES", *names]}.items():
        (tmp_path / f"annotations/{file}.txt").write_text("\n".join(f"{line} 1 1 1" for line in lines))
    found = read(tmp_path)
    assert (found.class_names, classes(found)) == (("pet", "background"), [1, IGNORE, 0])
    assert [r.split for r in found.records] == ["train", "train", "test"]
    (tmp_path / "classes.txt").write_text("pet\nbackground\nborder\n")
    assert classes(read(tmp_path)) == [1, 2, 0]


def test_lists_of_paths_and_what_they_name_in_vain(tmp_path: Path) -> None:
    for n in range(4):
        photo(tmp_path / f"images/{n}.png")
        mask(tmp_path / f"masks/{n}.png")
    (tmp_path / "train.txt").write_text("/old/images/0.png /old/masks/0.png\n/old/images/1.png x\n2\n9\n")
    (tmp_path / "val.txt").write_text("images/2.png\nimages/3.png\n")
    found = read(tmp_path)
    assert [r.split for r in found.records] == ["train", "train", "val", "val"]
    messages = {f.code: (f.level, f.message) for f in found.findings}
    assert messages["missing-files"] == ("refused", "1 image named in train.txt and val.txt is not there: 9.")
    twice = "1 image in more than one of train.txt and val.txt, taken for the later one only: images/2.png."
    assert messages["leakage"][1] == twice


def test_lists_tell_images_of_one_name_by_their_folders(tmp_path: Path) -> None:
    for camera in ("left", "right"):
        for n in range(3):
            photo(tmp_path / f"images/{camera}/{n}.png")
            mask(tmp_path / f"masks/{camera}/{n}.png")
    (tmp_path / "train.txt").write_text("left/0.png\nimages/right/1.png\n2\n")
    (tmp_path / "val.txt").write_text("right/0\nleft/1.png\n")
    found = read(tmp_path)
    assert {r.id.removeprefix("images/"): r.split for r in found.records} == {
        "left/0.png": "train",
        "left/1.png": "val",
        "left/2.png": "train",
        "right/0.png": "val",
        "right/1.png": "train",
        "right/2.png": "train",
    }
    assert not found.findings


def test_files_without_a_partner_are_named(tmp_path: Path) -> None:
    for n in range(20):
        photo(tmp_path / f"images/{n}.jpg")
        mask(tmp_path / f"masks/{n + 1}.png")
    findings = {f.code: f for f in read(tmp_path).findings}
    assert findings["image-without-mask"].message == "1 image has no mask and is left out: images/0.jpg."
    assert findings["mask-without-image"].message == "1 mask has no image and is left out: masks/20.png."
    assert {f.level for f in findings.values()} == {"repaired"}
    for n in range(30, 35):
        photo(tmp_path / f"images/{n}.jpg")
    found = {f.code: f for f in read(tmp_path).findings}["image-without-mask"]
    assert (found.level, "and 3 more." in found.message) == ("refused", True)
    assert found.cure == "Give them masks of the same name, or delete them."


def test_a_split_without_masks_is_left_out_and_said(tmp_path: Path) -> None:
    for n in range(4):
        photo(tmp_path / f"train/images/{n}.jpg")
        mask(tmp_path / f"train/masks/{n}.png")
        photo(tmp_path / f"test/images/{n}.jpg")
    found = read(tmp_path)
    assert found.notes == ("test has no masks: its 4 images are left out.",)
    assert found.findings == ()


def test_masks_that_cannot_be_told(tmp_path: Path) -> None:
    photo(tmp_path / "images/1.jpg", 64, 64)
    mask(tmp_path / "masks/1.jpg", [0, 60, 120], 64, 64)
    with pytest.raises(UserError, match=r"masks/1\.jpg .* are JPEG, which blurs the values .* save them as PNG"):
        read(tmp_path)
    (tmp_path / "masks/1.jpg").unlink()
    photo(tmp_path / "masks/1.png", 64, 64)
    with pytest.raises(
        UserError, match=r"masks/1\.png .* different colours, more than classes can be.*class_dict\.csv"
    ):
        read(tmp_path, task="segment")
    deep = np.arange(64 * 64, dtype=np.uint16).reshape(64, 64)
    Image.fromarray(deep).save(tmp_path / "masks/1.png")
    with pytest.raises(UserError, match=r"hold 4,095 different values, and at most 255 classes are read"):
        read(tmp_path, task="segment")


def test_photographs_in_folders_named_like_masks_are_none(tmp_path: Path) -> None:
    for n in range(4):
        photo(tmp_path / f"mask/{n}.png", 64, 64)
        photo(tmp_path / f"no_mask/{n}.png", 64, 64)
    assert read(tmp_path).class_names == ("mask", "no_mask")
    with pytest.raises(UserError, match=r"No masks were found in .*, for none of its 4 images: give images/"):
        read(tmp_path / "mask", task="segment")


def test_classes_of_images_with_masks_beside_them_are_two_readings(tmp_path: Path) -> None:
    for name in ("benign", "malignant"):
        photo(tmp_path / name / f"{name} (1).png")
        mask(tmp_path / name / f"{name} (1)_mask.png")
    with pytest.raises(UserError, match=r"(?s)2 ways.*class folders.*--data.format folders.*--data.format masks"):
        read(tmp_path)
    assert len(read(tmp_path, task="segment").records) == 2


def test_two_folders_of_masks_are_both_shown(tmp_path: Path) -> None:
    for folder in ("masks", "labels"):
        mask(tmp_path / folder / "1.png")
    photo(tmp_path / "images/1.jpg")
    with pytest.raises(UserError, match=r"(?s)labels/1\.png says what .*masks/1\.png says what .*move the other masks"):
        read(tmp_path)


def test_moving_a_class_to_another_value_changes_the_fingerprint(tmp_path: Path) -> None:
    photo(tmp_path / "images/1.jpg")
    mask(tmp_path / "masks/1.png", [0, 1])
    (tmp_path / "labels.json").write_text(json.dumps({"a": 0, "b": 1}))
    first = read(tmp_path).fingerprint()
    (tmp_path / "labels.json").write_text(json.dumps({"a": 0, "b": 2}))
    assert read(tmp_path).fingerprint() != first
