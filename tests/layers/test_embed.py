"""Patches and codes of position: the figure's shapes, closed forms, and timm's interpolation."""

import math

import pytest
import torch
from timm.layers import resample_abs_pos_embed

from olhar.layers.embed import (
    LearnedPositions,
    PatchEmbed,
    resample_positions,
    sinusoidal,
    sinusoidal_grid,
    to_map,
)


def test_an_image_becomes_the_tokens_of_the_figure():
    """Figure 3.1: 16 regions of 16 x 16 px, 128 values each, row by row."""
    torch.manual_seed(0)
    embed = PatchEmbed(3, 128, 16)
    assert sum(p.numel() for p in embed.parameters()) == 98_432
    image = torch.randn(2, 3, 64, 64)
    tokens = embed(image)
    assert embed.proj(image).shape == (2, 128, 4, 4)
    assert tokens.shape == (2, 16, 128)
    # the token of row 1, column 2 is a linear function of that patch alone
    patch = image[:, :, 16:32, 32:48].flatten(1)
    expected = patch @ embed.proj.weight.flatten(1).T + embed.proj.bias
    torch.testing.assert_close(tokens[:, 1 * 4 + 2], expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(to_map(tokens, (4, 4)), embed.proj(image))


def test_sides_that_are_no_multiple_lose_nothing():
    embed = PatchEmbed(1, 4, 8)
    image = torch.randn(1, 1, 17, 8)
    assert embed.grid((17, 8)) == (3, 1)
    tokens = embed(image)
    assert tokens.shape == (1, 3, 4)
    padded = torch.zeros(1, 1, 24, 8)
    padded[:, :, :17] = image
    torch.testing.assert_close(tokens, embed(padded))
    image[..., 16, :] += 1
    assert not torch.allclose(embed(image)[:, 2], tokens[:, 2])


def test_sines_and_cosines_are_those_of_the_paper():
    codes = sinusoidal(50, 16)
    for position, k in ((0, 0), (7, 3), (49, 7)):
        angle = position / 10_000 ** (2 * k / 16)
        found = codes[position, 2 * k : 2 * k + 2].tolist()
        assert found == pytest.approx([math.sin(angle), math.cos(angle)], abs=1e-5)
    # the product of two codes depends on their distance alone
    products = codes @ codes.T
    torch.testing.assert_close(products[3, 8], products[30, 35], rtol=1e-4, atol=1e-4)
    with pytest.raises(AssertionError, match="cannot share 7"):
        sinusoidal(4, 7)


def test_a_grid_has_the_code_of_its_row_and_of_its_column():
    codes = to_map(sinusoidal_grid((3, 5), 16)[None], (3, 5))[0]
    assert codes.shape == (16, 3, 5)
    torch.testing.assert_close(codes[:8, :, 4], sinusoidal(3, 8).T)
    torch.testing.assert_close(codes[8:, 2], sinusoidal(5, 8).T)


@pytest.mark.parametrize("new", [(7, 7), (3, 5), (14, 9)])
def test_positions_are_interpolated_as_timm_does(new):
    torch.manual_seed(0)
    codes = torch.randn(49, 8)
    theirs = resample_abs_pos_embed(codes[None], list(new), [7, 7], num_prefix_tokens=0)[0]
    torch.testing.assert_close(resample_positions(codes, (7, 7), new), theirs)


def test_learned_positions_serve_other_grids_and_are_trained_through_them():
    torch.manual_seed(0)
    positions = LearnedPositions((4, 4), 6)
    assert torch.equal(positions((4, 4)), positions.codes)
    wide = positions((4, 8))
    assert wide.shape == (32, 6)
    # twice as wide: the mean of two neighbours is about the code they come from
    means = wide.view(4, 4, 2, 6).mean(2)
    assert torch.corrcoef(torch.stack([means.flatten(), positions.codes.flatten()]))[0, 1] > 0.95
    wide.sum().backward()
    assert positions.codes.grad.abs().min() > 0
