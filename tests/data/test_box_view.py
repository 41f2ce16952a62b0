"""Boxes go where their objects go: a painted rectangle and its box stay one, whatever is done to the image."""

from pathlib import Path

import pytest
import torch
from changes import changed
from PIL import Image
from torch import Tensor

from olhar.data.box_view import Placed, back, cut, forth, in_image, letterboxed, shift, views
from olhar.data.paired import Paired, PairedSmall
from olhar.data.reading import Letterbox, Reader
from olhar.data.sample import Record

COLOURS = ((255, 0, 0), (0, 255, 0), (0, 0, 255))


def painted(size: tuple[int, int], boxes: list[tuple[float, float, float, float]]) -> Tensor:
    """Rectangles on white, uint8 [3, H, W]."""
    image = torch.full((3, *size), 255, dtype=torch.uint8)
    for (x0, y0, x1, y1), colour in zip(boxes, COLOURS, strict=False):
        image[:, int(y0) : int(y1), int(x0) : int(x1)] = torch.tensor(colour, dtype=torch.uint8)[:, None, None]
    return image


def extent(image: Tensor, k: int) -> Tensor:
    """x0 y0 x1 y1 of what is more of colour k than of the others."""
    others = [c for c in range(3) if c != k]
    own = (image[k].int() - image[others].amax(0).int()) > 127
    rows, columns = own.any(1).nonzero(), own.any(0).nonzero()
    return torch.tensor([columns.min(), rows.min(), columns.max() + 1, rows.max() + 1], dtype=torch.float32)


def record_of(folder: Path, size: tuple[int, int], boxes: list[tuple[float, float, float, float]]) -> Record:
    Image.fromarray(painted(size, boxes).permute(1, 2, 0).numpy()).save(folder / "a.png")
    return Record("a", folder / "a.png", "train", boxes=tuple(boxes), box_labels=tuple(range(len(boxes))))


BOXES = [(10.0, 8.0, 40.0, 30.0), (50.0, 40.0, 90.0, 56.0), (2.0, 44.0, 22.0, 58.0)]


@pytest.mark.parametrize("canvas", [(60, 96), (48, 48), (30, 64), (90, 60)])
def test_boxes_lie_on_the_canvas_where_their_rectangles_are(canvas: tuple[int, int], tmp_path: Path):
    read = Reader(Letterbox(*canvas), truth="boxes")
    record = record_of(tmp_path, (60, 96), BOXES)
    sample = read(record)
    for k, box in enumerate(sample["boxes"]):
        assert (box - extent(sample["image"], k)).abs().max() <= 1
    at = letterboxed((60, 96), canvas)
    torch.testing.assert_close(back(sample["boxes"], at), torch.tensor(BOXES), atol=1e-4, rtol=0)
    batch = {"image": sample["image"][None], "size": sample["size"][None]}
    assert views(batch) == [at]  # type: ignore[arg-type]


def test_boxes_of_images_that_are_decoded_at_a_fraction(tmp_path: Path):
    """The place on the canvas follows from the size of the file, not from that of the pixels that were decoded."""
    boxes = [(80.0, 64.0, 320.0, 240.0), (400.0, 320.0, 720.0, 448.0)]
    image = Image.fromarray(painted((483, 771), boxes).permute(1, 2, 0).numpy())
    image.save(tmp_path / "b.jpg", quality=95)
    record = Record("b", tmp_path / "b.jpg", "train", boxes=tuple(boxes), box_labels=(0, 1))
    sample = Reader(Letterbox(64, 100), truth="boxes")(record)
    assert sample["size"].tolist() == [483, 771]
    for k, box in enumerate(sample["boxes"]):
        assert (box - extent(sample["image"], k)).abs().max() <= 1.01


@pytest.mark.parametrize("index", range(12))
def test_boxes_follow_zoom_crop_stretch_and_mirror(index: int, tmp_path: Path):
    read = Reader(Letterbox(90, 144), truth="boxes")
    augment = Paired(60, True, 3, (60, 96), detail=1.5, zoom=(0.7, 1.4), recolour=False)
    sample = read(record_of(tmp_path, (60, 96), BOXES))
    shown = changed(augment, sample, index, epoch=index)
    assert shown["image"].shape == (3, 60, 96)
    assert len(shown["boxes"]) == len(shown["box_labels"]) == len(shown["box_ignored"])
    for box, k in zip(shown["boxes"], shown["box_labels"].tolist(), strict=True):
        assert (box - extent(shown["image"], k)).abs().max() <= 1.5


@pytest.mark.parametrize("index", range(6))
def test_boxes_follow_small_images_that_are_moved(index: int):
    boxes = [(4.0, 3.0, 14.0, 12.0), (18.0, 16.0, 30.0, 26.0)]
    batch = {
        "image": painted((32, 40), boxes)[None],
        "boxes": [torch.tensor(boxes)],
        "box_labels": [torch.tensor([0, 1])],
        "box_ignored": [torch.tensor([False, True])],
    }
    changed = PairedSmall(32, True, 5, move=1 / 10).together(batch, [index], epoch=index)  # type: ignore[arg-type]
    assert len(changed["boxes"][0]) == 2
    for k, box in enumerate(changed["boxes"][0]):
        assert torch.equal(box, extent(changed["image"][0], k))


def test_what_is_hardly_seen_any_more_is_not_asked_for():
    boxes = torch.tensor([[0.0, 0, 10, 10], [30, 0, 50, 10], [90, 0, 100, 10]])
    part = Placed(top=0, left=7, bottom=20, right=47, y=0, x=0, height=20, width=40)
    shown, kept = cut(boxes, part)
    assert kept.tolist() == [True, True, False]  # 30 of 100 px, all but 3 columns, nothing
    assert shown[0].tolist() == [0, 0, 3, 10]
    assert cut(boxes, part._replace(left=8, right=48))[1].tolist() == [False, True, False]
    assert shift(boxes, 0, -8, (20, 100))[1].tolist() == [False, True, True]


def test_back_is_the_inverse_of_forth_and_answers_stay_inside():
    at = Placed(3, 5, 63, 105, 7, 2, 40, 55)
    boxes = torch.rand(20, 4, generator=torch.Generator().manual_seed(0)) * 60
    torch.testing.assert_close(back(forth(boxes, at), at), boxes, atol=1e-4, rtol=0)
    whole = letterboxed((30, 40), (60, 60))
    assert in_image(torch.tensor([[-9.0, 0, 99, 99]]), whole).tolist() == [[0, 0, 40, 30]]
