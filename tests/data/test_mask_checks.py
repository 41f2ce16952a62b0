"""What the doctor says of masks and of targets, each on a folder that has the fault, and on one that does not."""

import json
from pathlib import Path

import numpy as np
import pytest
from pictures import coloured, mask, photo
from PIL import Image

from olhar import cli
from olhar.config import DataConfig
from olhar.data import mask_checks
from olhar.data.doctor import Report, examine, refuse
from olhar.data.recognise import recognise
from olhar.data.sample import Finding
from olhar.errors import UserError


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """A cache of its own for every test."""
    monkeypatch.setenv("OLHAR_CACHE", str(tmp_path_factory.mktemp("cache")))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """25 images with healthy masks of three classes to train on, and 5 to validate with."""
    for split, n in (("train", 25), ("val", 5)):
        for i in range(n):
            photo(tmp_path / f"images/{split}/{i:02}.jpg")
            mask(tmp_path / f"masks/{split}/{i:02}.png", [0, 1, 2, 255])
    (tmp_path / "classes.txt").write_text("sky\nsea\nsand\n")
    return tmp_path


def check(folder: Path, level: str = "quick", **settings: object) -> Report:
    config = DataConfig(val_fraction=0.0, **settings)  # type: ignore[arg-type]
    return examine(recognise(folder, config=config), level)  # type: ignore[arg-type]


def codes(report: Report) -> set[str]:
    return {found.code for found in report.findings}


def the(code: str, report: Report) -> Finding:
    (found,) = [found for found in report.findings if found.code == code]
    return found


def test_healthy_masks_have_no_findings_and_their_pixels_are_counted(folder: Path) -> None:
    for level in ("quick", "full"):
        report = check(folder, level)
        assert (report.findings, report.drop) == ((), frozenset())
        assert report.pixels == {"train": [2000, 2000, 2000, 2000], "val": [400, 400, 400, 400]}
        assert report.masks_read == {"train": 25, "val": 5}
    again = check(folder)
    assert (again.pixels, again.masks_read) == (report.pixels, report.masks_read)


def test_a_quick_look_reads_the_pixels_of_some_masks_and_the_header_of_all(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mask_checks, "READ", 4)
    mask(folder / "masks/train/07.png", height=5)
    report = check(folder)
    assert sum(report.masks_read.values()) == 4
    assert the("mask-size", report).files == ("masks/train/07.png",)
    assert "missing-class" not in codes(report)
    assert sum(check(folder, "full").masks_read.values()) == 30


def test_a_mask_of_another_size_is_refused_and_left_out_where_that_is_allowed(folder: Path) -> None:
    mask(folder / "masks/train/03.png", [0, 1, 2], height=20, width=16)
    report = check(folder)
    found = the("mask-size", report)
    assert (found.level, found.message) == (
        "refused",
        "1 mask not of the size of its image, the first 16 x 20 beside 20 x 16: masks/train/03.png.",
    )
    assert report.drop == {"images/train/03.jpg"}
    with pytest.raises(UserError, match=r"masks/train/03\.png\. Make each mask from its own image.*--allow mask-size"):
        refuse(report.findings)
    refuse(report.findings, ("mask-size",))


def test_a_mask_beside_an_image_that_its_exif_data_turn(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    Image.open(photo(folder / "turned.png", 20, 16)).save(folder / "images/train/00.jpg", exif=exif)
    (folder / "turned.png").unlink()
    assert "mask-size" not in codes(check(folder))


def test_a_mask_saved_as_jpeg_is_refused(folder: Path) -> None:
    (folder / "masks/train/03.png").unlink()
    mask(folder / "masks/train/03.jpg", [0, 1, 2])
    found = the("mask-jpeg", check(folder))
    assert (found.level, found.files) == ("refused", ("masks/train/03.jpg",))
    assert found.message.startswith("1 mask saved as JPEG, which blurs the values of pixels: ")
    assert "Save masks as PNG" in found.cure
    Image.fromarray(np.zeros((16, 20), np.uint8)).save(folder / "masks/train/04.png", "JPEG")  # by content
    assert the("mask-jpeg", check(folder)).files == ("masks/train/03.jpg", "masks/train/04.png")


def test_values_that_are_no_class_are_refused_and_named(folder: Path) -> None:
    mask(folder / "masks/train/03.png", [0, 1, 17, 18])
    found = the("mask-values", check(folder))
    assert (found.level, found.message) == (
        "refused",
        "1 mask of 30 read holds values that are no class (17, 18): masks/train/03.png.",
    )
    assert "name every class in classes.txt" in found.cure
    assert check(folder).pixels["train"][-1] == 2000 + 80  # two quarters instead of the one of 255


def test_colours_that_are_not_in_the_list_are_refused_and_named(tmp_path: Path) -> None:
    for i in range(20):
        photo(tmp_path / f"images/{i}.jpg")
        coloured(tmp_path / f"masks/{i}.png", [(200, 0, 0), (0, 0, 90), (3, 4, 5)][: 3 if i == 7 else 2])
    (tmp_path / "class_dict.csv").write_text("name,r,g,b\nroad,200,0,0\nsky,0,0,90\n")
    found = the("mask-values", check(tmp_path))
    assert found.message == "1 mask of 20 read holds colours that are no class ((3, 4, 5)): masks/7.png."
    assert "add them to the list of classes and colours" in found.cure


def test_black_and_white_masks_are_said(tmp_path: Path) -> None:
    for i in range(20):
        photo(tmp_path / f"images/{i}.jpg")
        mask(tmp_path / f"masks/{i}.png", [0, 255])
    found = the("black-and-white", check(tmp_path))
    assert (found.level, "0 is 'background', 255 is 'foreground'" in found.message) == ("repaired", True)


def test_masks_that_say_nothing(folder: Path) -> None:
    mask(folder / "masks/train/03.png", [255])
    mask(folder / "masks/train/04.png", [1, 255])
    report = check(folder)
    assert the("empty-mask", report).message == (
        "1 mask of 30 read in which every pixel is ignored: masks/train/03.png."
    )
    assert the("one-class-mask", report).message == (
        "1 mask of 30 read shows one class only ('sea' in 1): masks/train/04.png."
    )
    assert {found.level for found in report.findings} == {"warning"}


def test_one_huge_class_and_classes_that_are_nowhere(folder: Path) -> None:
    for path in (folder / "masks").rglob("*.png"):
        mask(path, [0] * 39 + [1], width=40)
        photo(folder / "images" / path.parent.name / f"{path.stem}.jpg", width=40)
    report = check(folder)
    found = the("huge-class", report)
    assert found.message == "97.5% of the pixels in the 25 masks read of train are 'sky'."
    assert "--objective.class-weights balanced" in found.cure
    missing = [found.message for found in report.findings if found.code == "missing-class"]
    assert missing == [
        f"No pixel of 1 class in the {among}: 'sand'." for among in ("25 masks read of train", "5 masks read of val")
    ]


def test_masks_that_cannot_be_read_are_left_out(folder: Path) -> None:
    (folder / "masks/train/03.png").write_bytes(b"")
    report = check(folder)
    found = the("unreadable-mask", report)
    assert (found.level, found.files, report.drop) == ("repaired", ("masks/train/03.png",), {"images/train/03.jpg"})
    assert "The first is empty." in found.cure
    for path in (folder / "masks/train").iterdir():
        path.write_bytes(b"")
    (folder / "masks/train/00.png").write_bytes((folder / "masks/val/00.png").read_bytes())
    assert the("unreadable-mask", check(folder)).level == "refused"


def test_what_the_reader_found_reaches_the_doctor_though_the_records_are_the_same(folder: Path) -> None:
    assert check(folder).findings == ()
    mask(folder / "masks/train/99.png")
    assert the("mask-without-image", check(folder)).files == ("masks/train/99.png",)


def test_tiny_images_are_left_out_with_their_masks(folder: Path) -> None:
    photo(folder / "images/train/03.jpg", 3, 3)
    mask(folder / "masks/train/03.png", [0, 1, 2], 3, 3)
    report = check(folder)
    assert (the("tiny-image", report).files, report.drop) == (("images/train/03.jpg",), {"images/train/03.jpg"})


def test_few_images(folder: Path) -> None:
    for i in range(19, 25):
        (folder / f"images/train/{i}.jpg").unlink()
        (folder / f"masks/train/{i}.png").unlink()
    assert the("few-images", check(folder)).message == "Fewer than 20 images to train on (19)."


def test_pairs_whose_sizes_do_not_fit(tmp_path: Path) -> None:
    for i in range(20):
        photo(tmp_path / f"lr/{i}.png")
        photo(tmp_path / f"hr/{i}.png", 32, 40)
    assert check(tmp_path).findings == ()
    photo(tmp_path / "hr/5.png", 40, 40)
    photo(tmp_path / "hr/7.png", 16, 20)
    report = check(tmp_path)
    found = the("pair-size", report)
    assert (found.level, found.files, report.drop) == ("refused", ("hr/5.png", "hr/7.png"), {"lr/5.png", "lr/7.png"})
    assert "the first 40 x 40 beside 20 x 16" in found.message
    (tmp_path / "hr/9.png").write_bytes(b"x")
    assert the("unreadable-target", check(tmp_path)).files == ("hr/9.png",)


def test_outlines_for_an_image_of_another_size(tmp_path: Path) -> None:
    images, annotations = [], []
    for i in range(20):
        photo(tmp_path / f"{i}.jpg")
        images.append({"id": i, "file_name": f"{i}.jpg", "height": 16, "width": 20 + (i == 4)})
        annotations.append({"id": i, "image_id": i, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]})
    tree = {"images": images, "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]}
    (tmp_path / "coco.json").write_text(json.dumps(tree))
    found = the("mask-size", check(tmp_path, task="segment"))
    assert (found.files, "the first 21 x 16 beside 20 x 16" in found.message) == (("4.jpg",), True)


def test_check_prints_the_share_of_each_class(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    mask(folder / "masks/train/00.png", [0])
    assert cli.main(["check", str(folder)]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["share", "of", "pixels", "train", "val"] in lines
    assert ["all", "images", "25", "5"] in lines
    assert ["sky", "36.84%", "33.33%"] in lines  # (24 / 4 + 1) / (24 * 3 / 4 + 1) masks
    assert ["(ignored)", "24.00%", "25.00%"] in lines
    assert cli.main(["check", str(folder), "--json", "--ignore", "sand"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["masks_read"] == {"train": 25, "val": 5}
    assert document["pixels"] == {
        "sky": {"train": 24 * 80 + 320, "val": 400},
        "sea": {"train": 24 * 80, "val": 400},
        "(ignored)": {"train": 24 * 160, "val": 800},
    }


def test_check_says_how_many_masks_it_read(
    folder: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mask_checks, "READ", 4)
    assert cli.main(["check", str(folder)]) == 0
    assert "The pixels of 4 of 30 masks were read; `olhar check --full` reads all." in capsys.readouterr().out
