"""Interpolation and transposed convolution against numbers worked by hand (section 2.4)."""

import pytest
import torch
from torch.nn import functional as F

from olhar.ops.resize import resize


def line(*values):
    return torch.tensor(values)[None, None, None]  # [1, 1, 1, W]


def test_nearest_repeats():
    assert resize(line(1.0, 4.0, 2.0), (1, 6), "nearest").flatten().tolist() == [1, 1, 4, 4, 2, 2]
    assert resize(line(1.0, 4.0, 2.0), (1, 5), "nearest").flatten().tolist() == [1, 1, 4, 4, 2]


def test_bilinear_weighs_the_two_nearest_centres():
    # A pixel's centre is at a half: output i is at (i + 1/2) / 2 - 1/2 of the input, a quarter off a pixel.
    expected = [1.0, 0.75 * 1 + 0.25 * 5, 0.25 * 1 + 0.75 * 5, 0.75 * 5 + 0.25 * 3, 0.25 * 5 + 0.75 * 3, 3.0]
    assert resize(line(1.0, 5.0, 3.0), (1, 6)).flatten().tolist() == pytest.approx(expected)


def test_two_axes_are_one_after_the_other():
    torch.manual_seed(0)
    x = torch.randn(2, 3, 4, 5)
    both = resize(resize(x, (7, 5)), (7, 9))
    torch.testing.assert_close(resize(x, (7, 9)), both)


def test_the_same_size_is_the_same_tensor():
    x = torch.randn(1, 2, 3, 4)
    assert resize(x, x.shape[2:]) is x


@pytest.mark.parametrize(("stride", "padding", "dilation"), [(1, 0, 1), (2, 1, 1), (3, 2, 2)])
def test_transposed_convolution_is_the_transpose_of_the_convolution_s_matrix(stride, padding, dilation):
    torch.manual_seed(0)
    weight = torch.randn(3, 2, 3, 3, dtype=torch.float64)  # 2 channels to 3

    def convolve(x):
        return F.conv2d(x, weight, stride=stride, padding=padding, dilation=dilation)

    pixels = torch.eye(2 * 7 * 7, dtype=torch.float64).view(-1, 2, 7, 7)  # one image a pixel: the columns
    columns = convolve(pixels)
    matrix = columns.flatten(1).T  # W of y = W x
    y = torch.randn(1, *columns.shape[1:], dtype=torch.float64)
    back = F.conv_transpose2d(y, weight, stride=stride, padding=padding, dilation=dilation)
    expected = (matrix.T @ y.flatten()).view(2, 7, 7)
    height, width = back.shape[2:]  # where the stride does not divide, the last rows of x are never seen
    torch.testing.assert_close(back[0], expected[:, :height, :width])
    assert not expected[:, height:].any()
    assert not expected[:, :, width:].any()
