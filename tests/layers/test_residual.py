"""Residual blocks with group norm."""

import pytest
import torch
from torch.nn import functional as F

from olhar.layers.residual import ResidualBlock, group_norm


@pytest.mark.parametrize("out_channels", [32, 16])
def test_normalise_activate_convolve_twice_and_add(out_channels):
    torch.manual_seed(0)
    block = ResidualBlock(32, out_channels)
    x = torch.randn(2, 32, 5, 4)

    def normalised(x):
        groups = x.reshape(2, x.shape[1] // 16, -1)
        scaled = (groups - groups.mean(2, keepdim=True)) / (groups.var(2, correction=0, keepdim=True) + 1e-5).sqrt()
        return F.silu(scaled.reshape(x.shape))

    expected = block.conv2(normalised(block.conv1(normalised(x))))
    expected = expected + (x if out_channels == 32 else block.shortcut(x))
    torch.testing.assert_close(block(x), expected)


def test_channels_that_sixteen_do_not_divide_are_one_group():
    assert [group_norm(channels).num_groups for channels in (16, 64, 24, 3)] == [1, 4, 1, 1]
