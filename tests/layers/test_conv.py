"""The repeated step of convolutional networks."""

import pytest
import torch
from torch.nn import functional as F

from olhar.layers.conv import ConvBlock


@pytest.mark.parametrize("pool", [False, True])
@pytest.mark.parametrize("stride", [1, 2])
def test_convolve_normalise_rectify(pool, stride):
    torch.manual_seed(0)
    block = ConvBlock(3, 4, stride=stride, pool=pool)
    x = torch.randn(2, 3, 7, 5)
    expected = F.conv2d(x, block.conv.weight, stride=stride, padding=1)
    if pool:
        expected = F.max_pool2d(expected, 2, ceil_mode=True)
    mean, variance = expected.mean((0, 2, 3), keepdim=True), expected.var((0, 2, 3), correction=0, keepdim=True)
    expected = ((expected - mean) / (variance + 1e-5).sqrt()).clamp(min=0)
    torch.testing.assert_close(block(x), expected)


def test_pooling_before_the_norm_changes_only_the_statistics():
    # In evaluation the norm is an increasing map of each channel, and the maximum passes through it.
    torch.manual_seed(0)
    early, late = ConvBlock(3, 4, pool=True).eval(), ConvBlock(3, 4).eval()
    late.load_state_dict(early.state_dict())
    x = torch.randn(2, 3, 8, 8)
    torch.testing.assert_close(early(x), F.max_pool2d(late(x), 2))
