"""What belongs together stays together: image, mask and clean picture, on one canvas."""

from dataclasses import asdict, dataclass
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import Tensor

from olhar.data.reading import GREY, Frame, Letterbox, Preprocess, Reader
from olhar.data.sample import IGNORE, Record
from olhar.errors import UserError


@dataclass(frozen=True)
class Halves:
    """A mask: class 0 on the left, 1 on the right, and the last row unknown."""

    height: int
    width: int

    def render(self) -> Tensor:
        mask = torch.zeros(self.height, self.width, dtype=torch.uint8)
        mask[:, self.width // 2 :] = 1
        mask[-1] = IGNORE
        return mask


@dataclass(frozen=True)
class Picture:
    """An image that is light where the mask of the same size says 1."""

    height: int
    width: int

    def render(self) -> Tensor:
        light = (Halves(self.height, self.width).render() == 1)[None].expand(3, -1, -1)
        return light.to(torch.uint8) * 200


def record(height: int, width: int, **beside: object) -> Record:
    return Record(id="a", image=Picture(height, width), split="train", **beside)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("size", "place"),
    [((30, 40), (0, 0, 30, 40)), ((60, 40), (0, 10, 30, 20)), ((10, 40), (10, 0, 10, 40)), ((1, 900), (14, 0, 1, 40))],
)
def test_a_letterbox_keeps_proportions_in_the_middle(size, place):
    assert Letterbox(30, 40).place(*size) == place
    box = Letterbox(30, 40)(torch.zeros(3, *size, dtype=torch.uint8))
    top, left, h, w = place
    assert not box[:, top : top + h, left : left + w].any()
    assert int((box == GREY).sum()) == 3 * (30 * 40 - h * w)
    mask = Letterbox(30, 40).mask(torch.zeros(*size, dtype=torch.uint8))
    assert int((mask == IGNORE).sum()) == 30 * 40 - h * w


@pytest.mark.parametrize("size", [(30, 40), (61, 83), (45, 40), (300, 401)])
def test_image_and_mask_stay_aligned(size):
    read = Reader(Letterbox(30, 40), truth="mask")
    sample = read(record(*size, mask=Halves(*size)))
    image, mask = sample["image"], sample["mask"]
    assert image.shape[1:] == mask.shape == (30, 40)
    light, known = image[0].float() > 100, (mask != IGNORE) & (image[0] != GREY)
    inner = known.clone()
    for shift in (-1, 1):  # one pixel along an edge may be blurred
        inner &= torch.roll(mask, shift, 1) == mask
        inner &= torch.roll(mask, shift, 0) == mask
    assert inner.any()
    assert torch.equal(light[inner], mask[inner] == 1)
    assert set(mask.unique().tolist()) <= {0, 1, IGNORE}


def test_planes_are_kept_as_one_and_taken_apart_again():
    read = Reader(Letterbox(6, 8), truth="mask")
    one = record(6, 8, mask=Halves(6, 8))
    planes = read.planes(one)
    assert tuple(planes.shape) == (4, 6, 8)
    assert read.shape == (6, 8, 4)
    assert torch.equal(read(one)["mask"], read(one, planes)["mask"])
    many = read.split(torch.stack([planes, planes]))
    assert many["image"].shape == (2, 3, 6, 8)
    assert many["mask"].shape == (2, 6, 8)
    pair = Reader(Letterbox(6, 8, channels=1), truth="clean").planes(record(6, 8, clean=Picture(12, 16)))
    assert tuple(pair.shape) == (2, 6, 8)


def test_a_mask_of_another_size_is_named():
    with pytest.raises(UserError, match=r"a has 8 x 6 pixels and its mask 8 x 7: replace one of them"):
        Reader(Letterbox(6, 8), truth="mask").planes(record(6, 8, mask=Halves(7, 8)))


def test_a_photograph_decoded_at_a_fraction_still_fits_its_mask(tmp_path: Path):
    Image.new("RGB", (801, 603), (9, 99, 9)).save(tmp_path / "a.jpg")
    one = Record(id="a", image=tmp_path / "a.jpg", split="train", mask=Halves(603, 801))
    planes = Reader(Letterbox(60, 80), truth="mask").planes(one)
    assert tuple(planes.shape) == (4, 60, 80)


def test_a_frame_survives_json():
    frame = Frame((30, 40), (60, 80), 0.5, False, 1.5, "mask")
    assert Frame.from_facts({**asdict(frame), "canvas": [30, 40], "whole": [60, 80]}) == frame
    preprocess = Preprocess(30, frame=frame)
    assert preprocess.read.resize == Letterbox(60, 80)
    assert preprocess.train_read.resize == Letterbox(90, 120)
