"""Masks in every form people save them: what each pixel's class is, and how often each class occurs."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from pictures import stripes
from PIL import Image

from olhar.data.decode import decode
from olhar.data.masks import Coding, MaskFile, count_values, pixel_counts, spread
from olhar.data.sample import IGNORE, Record
from olhar.errors import UserError

NUMBERS = Coding(((0, 0), (1, 1), (7, 2), (255, IGNORE)))
RED, BLUE = 200, 90 << 16  # red + 256 green + 65536 blue


def save(path: Path, values: np.ndarray, mode: str = "L") -> Path:
    Image.fromarray(values.astype(np.uint16) if mode == "I;16" else values.astype(np.uint8)).save(path)
    return path


def test_numbers_become_classes_and_what_is_no_class_is_ignored(tmp_path: Path) -> None:
    path = save(tmp_path / "m.png", stripes([0, 1, 7, 255, 9]))
    classes = MaskFile(path, NUMBERS).render()
    assert (classes.dtype, classes.shape) == (torch.uint8, (16, 20))
    assert classes[3, ::4].tolist() == [0, 1, 2, IGNORE, IGNORE]


def test_a_palette_is_read_by_its_numbers_and_sixteen_bits_too(tmp_path: Path) -> None:
    image = Image.fromarray(stripes([0, 1, 7]).astype(np.uint8))
    image.putpalette([v for k in range(256) for v in (255 - k, k, 3)])
    image.save(tmp_path / "palette.png")
    save(tmp_path / "deep.png", stripes([0, 1, 7, 300]), "I;16")
    assert MaskFile(tmp_path / "palette.png", NUMBERS).pixels()[0, ::7].tolist() == [0, 1, 2]
    assert MaskFile(tmp_path / "deep.png", NUMBERS).pixels()[0, ::5].tolist() == [0, 1, 2, IGNORE]


def test_one_bit_is_black_and_white_and_grey_colours_are_their_level(tmp_path: Path) -> None:
    black_and_white = Coding(((0, 0), (255, 1)))
    Image.fromarray(stripes([0, 255]).astype(np.uint8)).convert("1").save(tmp_path / "bit.png")
    Image.fromarray(stripes([0, 255]).astype(np.uint8)).convert("RGB").save(tmp_path / "grey.png")
    for name in ("bit.png", "grey.png"):
        assert MaskFile(tmp_path / name, black_and_white).pixels()[0, [0, 19]].tolist() == [0, 1]


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colours_become_classes_however_they_are_stored(tmp_path: Path, mode: str) -> None:
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[:, 2:4], pixels[:, 4:] = (RED, 0, 0), (0, 0, 90)
    Image.fromarray(pixels).convert(mode, palette=Image.Palette.ADAPTIVE).save(tmp_path / "m.png")
    coding = Coding(((RED, 1), (BLUE, 0)), colours=True)
    assert MaskFile(tmp_path / "m.png", coding).pixels()[2].tolist() == [IGNORE, IGNORE, 1, 1, 0, 0]
    assert coding.describe(BLUE) == "(0, 0, 90)"


def test_a_colour_among_numbers_is_none_of_them(tmp_path: Path) -> None:
    pixels = np.zeros((2, 2, 3), np.uint8)
    pixels[0, 0] = (1, 0, 0)  # its packed value is the number 1
    Image.fromarray(pixels).save(tmp_path / "m.png")
    assert MaskFile(tmp_path / "m.png", NUMBERS).pixels().tolist() == [[IGNORE, 0], [0, 0]]


def test_values_that_jpeg_moved_are_taken_for_the_nearest(tmp_path: Path) -> None:
    truth = stripes([0, 255, 0, 255], 64, 64)
    Image.fromarray(truth.astype(np.uint8)).save(tmp_path / "m.jpg", quality=60)
    assert (MaskFile(tmp_path / "m.jpg", Coding(((0, 0), (255, 1)))).pixels() == truth // 255).mean() > 0.99
    colours = np.array([(200, 30, 30), (20, 30, 220)], np.uint8)[truth // 255]
    Image.fromarray(colours).save(tmp_path / "c.jpg", quality=90, subsampling=0)
    coding = Coding(((200 | 30 << 8 | 30 << 16, 0), (20 | 30 << 8 | 220 << 16, 1)), colours=True)
    assert (MaskFile(tmp_path / "c.jpg", coding).pixels() == truth // 255).mean() > 0.97


def test_a_mask_turns_upright_as_its_image_does(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # a quarter turn
    values = stripes([0, 1, 7], 6, 9).astype(np.uint8)
    Image.fromarray(values).save(tmp_path / "m.png", exif=exif)
    turned = MaskFile(tmp_path / "m.png", NUMBERS).pixels()
    assert turned.shape == decode(tmp_path / "m.png").shape[1:] == (9, 6)
    assert turned[::3, 0].tolist() == [0, 1, 2]


def test_what_cannot_be_a_mask_is_named(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("hello")
    with pytest.raises(UserError, match=r"text\.png is not an image"):
        MaskFile(tmp_path / "text.png", NUMBERS).pixels()
    Image.fromarray(np.zeros((2, 2), np.float32)).save(tmp_path / "m.tif")
    with pytest.raises(UserError, match=r"m\.tif: the mask holds fractions"):
        MaskFile(tmp_path / "m.tif", NUMBERS).pixels()


@settings(max_examples=50, deadline=None)
@given(arrays.arrays(np.int32, st.tuples(st.integers(1, 6), st.integers(1, 6)), elements=st.integers(0, 1 << 24)))
def test_counting_runs_is_counting_pixels(values: np.ndarray) -> None:
    different, counts = np.unique(values, return_counts=True)
    assert count_values(values) == dict(zip(different.tolist(), counts.tolist(), strict=True))
    assert count_values(values.astype(np.uint8)) == dict(
        zip(*(part.tolist() for part in np.unique(values.astype(np.uint8), return_counts=True)), strict=True)
    )


def test_pixels_are_counted_without_the_ignored_over_masks_spread_over_the_set(tmp_path: Path) -> None:
    records = []
    for i in range(10):
        path = save(tmp_path / f"{i}.png", stripes([0, 1, 255] if i < 9 else [7, 255]))
        records.append(Record(str(i), path, "train", mask=MaskFile(path, NUMBERS)))
    assert pixel_counts(records, 3) == [9 * 7 * 16, 9 * 7 * 16, 160]
    assert pixel_counts(records, 3, limit=2) == [7 * 16, 7 * 16, 160]  # the first and the last
    assert pixel_counts([], 3) == [0, 0, 0]
    assert spread(range(10), 4) == [0, 3, 6, 9]
