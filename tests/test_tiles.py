"""Answers for images of any size: tiles blend without seams, and nothing depends on how an image was cut."""

from itertools import pairwise

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from olhar.data.reading import Frame
from olhar.tasks.segment import Segment
from olhar.tiles import View, blended, enlarged, mirrored, starts


def view(frame: Frame, **options: bool) -> View:
    task = Segment(nn.Identity(), [0.5] * 3, [0.2] * 3, ["a", "b", "c"], [(0, 0, 0), (1, 2, 3), (4, 5, 6)])
    return View(task, frame, **options)


def pointwise(image: Tensor) -> Tensor:
    """An answer that depends on each pixel alone: cutting cannot change it."""
    return image.float() / 255


def noise(*shape: int) -> Tensor:
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("size", [(64, 64), (65, 130), (200, 90), (10, 300), (64, 65), (5, 5)])
def test_tiles_of_a_pointwise_answer_give_that_answer(size):
    image = noise(3, *size)
    joined = torch.cat(list(blended(image, (64, 64), pointwise)), 1)
    torch.testing.assert_close(joined, image.float() / 255)


def test_no_seam_shows_where_tiles_disagree():
    """Each tile answers its own constant: what is joined may change only slowly."""
    count = iter(range(1000))
    constant = lambda image: torch.stack([torch.full((1, *image.shape[2:]), float(next(count) % 2)) for _ in image])  # noqa: E731
    joined = torch.cat(list(blended(noise(3, 150, 200), (64, 64), constant)), 1)[0]
    for steps in (joined.diff(dim=0), joined.diff(dim=1)):
        assert steps.abs().max() < 0.13  # an overlap of 16 px or more takes at least 8 to go from one to the other


@pytest.mark.parametrize(("length", "tile"), [(64, 64), (65, 64), (1000, 64), (3000, 180), (7, 64)])
def test_tiles_cover_everything_and_overlap(length, tile):
    found = starts(length, tile)
    assert found[0] == 0
    assert found[-1] + tile >= length
    assert all(0 < b - a <= tile - tile // 4 for a, b in pairwise(found))
    assert found[-1] <= max(0, length - tile)


@pytest.mark.parametrize("size", [(40, 60), (97, 33), (20, 30), (200, 301)])
def test_enlarging_band_by_band_is_enlarging_at_once(size):
    values = torch.rand(3, 20, 30, generator=torch.Generator().manual_seed(1))
    bands = iter(values.split([3, 8, 1, 8], 1))
    made = enlarged(bands, (20, 30), size, lambda rows: (rows * 255).round().to(torch.uint8))
    once = F.interpolate(values[None], size, mode="bilinear", align_corners=False)[0]
    assert (made.float() - once * 255).abs().max() <= 0.51


def test_one_glance_where_the_image_is_like_those_learnt_from():
    asked: list[tuple[int, ...]] = []

    def answer(image: Tensor) -> Tensor:
        asked.append(tuple(image.shape))
        return pointwise(image)

    frame = Frame((36, 48), (36, 48), scale=0.5)
    assert view(frame).settled(noise(3, 72, 96), answer).shape == (1, 72, 96)
    assert view(frame).settled(noise(3, 80, 60), answer).shape == (1, 80, 60)
    assert asked == [(1, 3, 36, 48)] * 2
    asked.clear()
    assert view(frame).settled(noise(3, 300, 400), answer).shape == (1, 300, 400)
    assert asked == [(1, 3, 36, 48)], "what has learnt from whole images sees large ones whole"
    asked.clear()
    assert view(frame, tiles=True).settled(noise(3, 300, 400), answer).shape == (1, 300, 400)
    assert sum(shape[0] for shape in asked) > 10
    assert {shape[1:] for shape in asked} == {(3, 36, 48)}
    asked.clear()
    assert view(Frame((16, 16), (90, 90), fit=False)).settled(noise(3, 50, 70), answer).shape == (1, 50, 70)
    assert asked == [(1, 3, 256, 256)]


def test_flips_are_averaged():
    lopsided = lambda image: image.float() * torch.arange(8.0)  # noqa: E731
    image = noise(1, 3, 4, 8)
    expected = image.float() * 3.5
    torch.testing.assert_close(mirrored(lopsided)(image), expected)
