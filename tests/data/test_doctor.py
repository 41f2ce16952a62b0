"""The doctor's findings, each on a folder that has the fault, and on one that does not."""

import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from olhar.config import DataConfig
from olhar.data import doctor, survey
from olhar.data.doctor import Report, examine, refuse
from olhar.data.recognise import recognise
from olhar.data.sample import Collection, Finding, Record, Split
from olhar.errors import UserError


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of its own for every test."""
    folder = tmp_path_factory.mktemp("cache")
    monkeypatch.setenv("OLHAR_CACHE", str(folder))
    return folder


def picture(seed: int, height: int = 32, width: int = 32) -> Image.Image:
    """A picture unlike any of another seed: 6 x 6 random colours, smoothly enlarged."""
    colours = np.random.default_rng(seed).integers(0, 256, (6, 6, 3), dtype=np.uint8)
    return Image.fromarray(colours).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two classes of 25 and 5 healthy images to train on and to validate with."""
    seed = 0
    for split, n in (("train", 25), ("val", 5)):
        for name in ("cat", "dog"):
            (tmp_path / split / name).mkdir(parents=True)
            for i in range(n):
                picture(seed).save(tmp_path / split / name / f"{i:02}.png")
                seed += 1
    return tmp_path


def codes(report: Report) -> set[str]:
    return {found.code for found in report.findings}


def the(code: str, report: Report) -> Finding:
    (found,) = [found for found in report.findings if found.code == code]
    return found


def check(folder: Path, level: str = "quick") -> Report:
    return examine(recognise(folder, config=DataConfig(val_fraction=0.0)), level)  # type: ignore[arg-type]


def test_who_learns_to_draw_is_told_what_is_cut_off(folder: Path) -> None:
    picture(99, height=20, width=64).save(folder / "train/cat/wide.png")
    drawing = examine(recognise(folder, config=DataConfig(val_fraction=0.0, task="diffuse")))
    said = the("not-square", drawing)
    assert said.message == "1 image of 61 is not square, and cut to the middle: train/cat/wide.png."
    assert not codes(check(folder)) & {"not-square"}


def test_healthy_images_have_sizes_and_no_findings(folder: Path) -> None:
    picture(99, height=20, width=64).save(folder / "train/cat/wide.png")
    for level in ("quick", "full"):
        report = check(folder, level)
        assert report.findings == ()
        assert report.drop == frozenset()
        assert report.sizes == doctor.Sizes(median=(32, 32), smallest=(20, 32), largest=(32, 64))
        assert report.modes == {"RGB": 61}


def test_one_unreadable_image_is_named_and_left_out(folder: Path) -> None:
    (folder / "train/cat/00.png").write_text("hello")
    report = check(folder)
    found = the("unreadable", report)
    assert found.level == "repaired"
    assert found.message == "1 image of 60 cannot be read and is left out: train/cat/00.png."
    assert "is not an image" in found.cure
    assert report.drop == {"train/cat/00.png"}
    refuse(report.findings)


@pytest.mark.parametrize("kind", ["png", "jpg", "large.jpg"])
def test_truncated_images_are_found_by_their_end(folder: Path, kind: str) -> None:
    path = folder / f"train/cat/cut.{kind}"
    if kind == "large.jpg":
        noise = np.random.default_rng(0).integers(0, 256, (400, 400, 3), dtype=np.uint8)
        Image.fromarray(noise).save(path, quality=95)
        assert path.stat().st_size > survey.START
    else:
        picture(7, 80, 80).save(path)
    whole = path.read_bytes()
    assert codes(check(folder)) == set()
    path.write_bytes(whole[: len(whole) * 2 // 3])
    assert check(folder).drop == {f"train/cat/cut.{kind}"}
    path.write_bytes(whole + b"\0" * 10_000)  # cameras add to the end, which harms nothing
    assert check(folder).drop == frozenset()


def test_many_unreadable_images_are_refused_unless_allowed(folder: Path) -> None:
    for path in (folder / "train/cat").iterdir():
        path.write_bytes(b"")
    report = check(folder)
    assert the("unreadable", report).level == "refused"
    with pytest.raises(UserError, match=r"(?s)25 images of 60 cannot be read.*--allow unreadable"):
        refuse(report.findings)
    refuse(report.findings, allow=("unreadable", "tiny-class"))


def test_nothing_can_be_read(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.jpg").write_text("x")
    with pytest.raises(UserError, match=r"None of the 2 images .* can be read: the first, a/1.jpg, is not an image"):
        check(tmp_path)


def test_images_of_one_pixel_are_left_out(folder: Path) -> None:
    Image.new("RGB", (1, 1)).save(folder / "train/dog/dot.png")
    report = check(folder)
    assert the("tiny-image", report).level == "repaired"
    assert report.drop == {"train/dog/dot.png"}
    assert report.sizes.smallest == (32, 32)


def test_a_wrong_extension_is_read_by_content(folder: Path) -> None:
    picture(500).save(folder / "train/cat/really.png", "JPEG")
    found = the("wrong-extension", check(folder))
    assert (found.level, found.files) == ("repaired", ("train/cat/really.png",))
    assert "really JPEG" in found.cure


def test_rotation_by_exif_is_said_and_counts_in_the_sizes(folder: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    picture(500, height=32, width=200).save(folder / "train/cat/turned.jpg", exif=exif)
    report = check(folder)
    assert the("exif-rotation", report).message == (
        "1 image turned upright, as its EXIF data ask: train/cat/turned.jpg."
    )
    assert report.sizes.largest == (200, 32)


def test_grey_among_colour(folder: Path) -> None:
    picture(500).convert("L").save(folder / "train/cat/grey.png")
    assert the("mixed-colour", check(folder)).message.startswith("1 grey image among 60 in colour")


def test_extreme_sizes(folder: Path) -> None:
    picture(500, 8, 96).save(folder / "train/cat/long.png")
    Image.new("1", (8000, 7000)).save(folder / "train/cat/huge.png")
    report = check(folder)
    assert the("aspect", report).files == ("train/cat/long.png",)
    assert the("huge-image", report).files == ("train/cat/huge.png",)


def test_images_of_one_colour_are_found_by_the_full_look(folder: Path) -> None:
    Image.new("RGB", (32, 32), "red").save(folder / "train/cat/red.png")
    assert "constant-image" not in codes(check(folder))
    assert the("constant-image", check(folder, "full")).files == ("train/cat/red.png",)


def test_exact_copies_inside_and_across_splits(folder: Path) -> None:
    copy = (folder / "train/cat/01.png").read_bytes()
    (folder / "train/cat/copy.png").write_bytes(copy)
    (folder / "val/cat/copy.png").write_bytes(copy)
    report = check(folder)
    assert the("duplicates", report).files == ("train/cat/copy.png",)
    assert the("leakage", report).message == (
        "1 image (1 of val) equal to an image of train, byte by byte: val/cat/copy.png."
    )
    assert "conflicting-labels" not in codes(report)


def test_large_files_that_agree_only_at_their_ends_are_no_copies(folder: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(folder / "train/cat/a.bmp")
    pixels[100] = 0
    Image.fromarray(pixels).save(folder / "train/cat/b.bmp")
    assert "duplicates" not in codes(check(folder))
    Image.fromarray(pixels).save(folder / "train/cat/c.bmp")
    assert the("duplicates", check(folder)).files == ("train/cat/c.bmp",)


def test_the_same_image_under_two_labels(folder: Path) -> None:
    (folder / "train/dog/copy.png").write_bytes((folder / "train/cat/01.png").read_bytes())
    assert set(the("conflicting-labels", check(folder)).files) == {"train/cat/01.png", "train/dog/copy.png"}


def test_near_copies_are_found_by_the_full_look(folder: Path) -> None:
    picture(3, 48, 48).point(lambda v: v * 0.8 + 10).save(folder / "val/cat/again.jpg", quality=80)
    picture(4).save(folder / "train/cat/04.jpg", quality=60)
    assert codes(check(folder)) == set()
    report = check(folder, "full")
    assert the("near-leakage", report).files == ("val/cat/again.jpg",)
    assert the("near-duplicates", report).files == ("train/cat/04.png",)


def test_near_copies_agree_with_counting_bits_by_hand() -> None:
    rng = random.Random(0)
    base = [(rng.getrandbits(64), rng.getrandbits(64)) for _ in range(40)]
    flipped = [(a ^ (1 << rng.randrange(64)), b ^ (0b111 << rng.randrange(60))) for a, b in base[:10]]
    bits = {str(i): word for i, word in enumerate([*base, *flipped])}
    looks = {id: survey.Look(gradients=word, digest=id.encode()) for id, word in bits.items()}
    expected = {
        (i, j)
        for i in bits
        for j in bits
        if int(i) < int(j) and sum((a ^ b).bit_count() for a, b in zip(bits[i], bits[j], strict=True)) <= survey.ALIKE
    }
    assert set(survey.near_files(looks)) == expected
    assert len(expected) == 10


@dataclass(frozen=True)
class Blank:
    """A drawn image."""

    def render(self) -> torch.Tensor:
        return torch.zeros(3, 16, 16, dtype=torch.uint8)


def counted(*sizes: int, split: Split = "train") -> Collection:
    """So many drawn images of each class."""
    records = [Record(f"{k}/{i}", Blank(), split, label=k) for k, n in enumerate(sizes) for i in range(n)]
    return Collection("drawn", "embedded", "classify", records, "", class_names=tuple("abcdefgh"[: len(sizes)]))


def findings(collection: Collection) -> dict[str, Finding]:
    return {found.code: found for found in examine(collection).findings}


def test_tiny_classes() -> None:
    assert findings(counted(25, 25)) == {}
    found = findings(counted(25, 19))
    assert found["few-images"].message == "1 class with fewer than 20 images to train on: 'b' (19)."
    found = findings(counted(25, 1, 25, 0))
    assert found["tiny-class"].level == "refused"
    assert found["tiny-class"].message == "2 classes with fewer than 2 images to train on: 'd' (0), 'b' (1)."


def test_data_without_a_train_split_are_not_asked_for_images_to_train_on() -> None:
    assert findings(counted(3, 1, split="test")) == {}


def test_classes_missing_from_a_split(folder: Path) -> None:
    for path in (folder / "val/dog").iterdir():
        path.unlink()
    assert the("missing-class", check(folder)).message == "val has no image of 1 class: 'dog'."


def test_imbalance() -> None:
    assert "imbalance" not in findings(counted(200, 21))
    found = findings(counted(210, 21))["imbalance"]
    assert found.message == "Class 'a' has 210 images to train on and 'b' 21, 10 to 1."
    assert "class-weights balanced" in found.cure


def test_a_rare_one_of_several_labels_only_warns() -> None:
    collection = counted(30, 1)
    records = [replace(r, label=None, labels=(r.label or 0,)) for r in collection.records]
    assert findings(replace(collection, records=records, multilabel=True))["tiny-class"].level == "warning"


def test_numbers_to_learn() -> None:
    def regression(targets: Sequence[float]) -> dict[str, Finding]:
        collection = counted(len(targets))
        records = [replace(r, label=None, target=t) for r, t in zip(collection.records, targets, strict=True)]
        return findings(replace(collection, records=records, task="regress", class_names=(), target_name="age"))

    assert regression([float(i) for i in range(30)]) == {}
    assert set(regression([1.0, 2.0, 3.0])) == {"few-images"}
    assert regression([1.0] * 30)["constant-target"].level == "refused"


def test_the_report_is_remembered_until_the_data_change(
    folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "train/cat/00.png").write_text("hello")
    first = check(folder)
    monkeypatch.setattr(doctor, "survey", lambda *_: pytest.fail("looked again"))
    again = check(folder)
    assert (again.findings, again.drop, again.sizes, again.modes) == (
        first.findings,
        first.drop,
        first.sizes,
        first.modes,
    )
    monkeypatch.undo()
    monkeypatch.setenv("OLHAR_CACHE", str(cache))
    picture(500).save(folder / "train/cat/00.png")
    assert check(folder).findings == ()


def test_a_cache_that_cannot_be_written_stops_nothing(folder: Path, cache: Path) -> None:
    (cache / "doctor").write_text("a file where a folder should be")
    assert check(folder).findings == ()


def test_progress_is_told(folder: Path) -> None:
    told: list[tuple[int, int]] = []
    examine(recognise(folder), progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (60, 60)


def test_a_quick_look_decodes_nothing(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """That is why it is quick: 10,000 files a second (benchmarks/looking.py)."""

    def decoded(*_: object, **__: object) -> None:
        raise AssertionError("decoded")

    monkeypatch.setattr("olhar.data.decode.decode", decoded)
    assert examine(recognise(folder)).findings == ()
    with pytest.raises(AssertionError, match="decoded"):
        examine(recognise(folder), "full")
