"""The batch operations against the same thing done to one image at a time."""

import math

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as F
from torchvision.transforms import InterpolationMode

from olhar.ops.image import affine, cutout, flip_shift, recolour, reflect, take


@pytest.fixture
def images() -> torch.Tensor:
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (6, 7, 9, 3), dtype=torch.uint8, generator=generator)
    return noise.permute(0, 3, 1, 2)


@pytest.mark.parametrize("size", [1, 2, 5])
def test_reflect_is_numpys(size):
    padded = np.pad(np.arange(size), 7, mode="reflect") if size > 1 else np.zeros(15, np.int64)
    assert reflect(torch.arange(-7, size + 7), size).tolist() == padded.tolist()


def test_take_picks_rows_and_columns_of_each_image(images):
    rows, columns = torch.randint(0, 7, (6, 4)), torch.randint(0, 9, (6, 5))
    taken = take(images, rows, columns)
    expected = torch.stack([images[n][:, rows[n]][:, :, columns[n]] for n in range(6)])
    assert torch.equal(taken, expected)
    assert taken.is_contiguous(memory_format=torch.channels_last)


def test_flip_shift_moves_each_image_over_its_reflection(images):
    flipped = torch.tensor([True, False] * 3)
    down, right = torch.tensor([0, 1, -2, 3, -3, 0]), torch.tensor([0, 0, 2, -1, -4, 4])
    moved = flip_shift(images, flipped, down, right)
    for n in range(6):
        one = images[n].flip(2) if flipped[n] else images[n]
        padded = np.pad(one.numpy(), ((0, 0), (4, 4), (4, 4)), mode="reflect")
        y, x = 4 - int(down[n]), 4 - int(right[n])
        assert np.array_equal(moved[n].numpy(), padded[:, y : y + 7, x : x + 9])


def test_cutout_fills_the_part_inside(images):
    top, left = torch.tensor([0, -2, 5, 3, 6, -3]), torch.tensor([0, -3, 7, 2, 8, 4])
    cut = cutout(images, top, left, 4, fill=128)
    for n in range(6):
        expected = images[n].clone()
        y, x = int(top[n]), int(left[n])
        expected[:, max(0, y) : max(0, y + 4), max(0, x) : max(0, x + 4)] = 128
        assert torch.equal(cut[n], expected)
    assert cut.dtype == torch.uint8


def test_affine_without_change_is_the_identity(images):
    zero = torch.zeros(6)
    assert torch.equal(affine(images, zero, zero + 1, zero, zero), images)


def test_affine_by_whole_pixels_is_a_shift(images):
    zero = torch.zeros(6)
    moved = affine(images, zero, zero + 1, zero + 2, zero - 3)
    assert torch.equal(moved[:, :, 2:, :-3], images[:, :, :-2, 3:])
    assert torch.equal(moved[:, :, :2], moved[:, :, 2:3].expand(-1, -1, 2, -1)), "the edge goes on outside"


def test_affine_turns_a_square_by_a_quarter_clockwise():
    image = torch.rand(1, 1, 8, 8)
    quarter = affine(image, torch.tensor([math.pi / 2]), torch.ones(1), torch.zeros(1), torch.zeros(1))
    torch.testing.assert_close(quarter, image.rot90(-1, (2, 3)), atol=1e-5, rtol=0)


def test_affine_is_torchvisions_inside_the_image():
    y, x = torch.meshgrid(torch.arange(24.0), torch.arange(40.0), indexing="ij")
    image = (torch.sin(x / 4) * torch.cos(y / 5))[None, None]  # not square: angles must not be stretched
    ours = affine(image, torch.tensor([0.3]), torch.tensor([1.2]), torch.tensor([1.5]), torch.tensor([-2.0]))
    theirs = F.affine(image, math.degrees(0.3), [-2.0, 1.5], 1.2, [0.0, 0.0], interpolation=InterpolationMode.BILINEAR)
    inside = (slice(None), slice(None), slice(8, 16), slice(10, 30))
    torch.testing.assert_close(ours[inside], theirs[inside], atol=1e-3, rtol=0)


@pytest.mark.parametrize("channels", [1, 3])
def test_recolour_is_torchvisions_three_steps(channels):
    """Where no value is cut on the way, which they do at each step."""
    image = torch.randint(60, 140, (4, channels, 9, 7), dtype=torch.uint8)
    b, c, s = torch.tensor([[1.3, 1.0, 0.8, 1.0], [1.0, 0.7, 1.1, 1.0], [1.0, 1.2, 0.6, 1.0]])
    ours = recolour(image, b, c, s)
    for n in range(4):
        theirs = F.adjust_contrast(F.adjust_brightness(image[n].float() / 255, float(b[n])), float(c[n]))
        theirs = F.adjust_saturation(theirs, float(s[n])) if channels == 3 else theirs
        assert (ours[n] - theirs * 255).abs().max() <= 0.55
    assert torch.equal(ours[3], image[3])
    loud = recolour(image, b + 3, c, s)
    assert loud.max() == 255, "values are cut and do not wrap around"
