"""The grid beside torchvision's, and anchors fitted to boxes whose sizes are known."""

import numpy as np
import pytest
import torch
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.models.detection.image_list import ImageList
from torchvision.ops import box_iou

from olhar.ops.anchor_fit import fit, make, reached, shape_iou
from olhar.ops.anchors import Grid, shapes


def test_nine_a_position_and_144_on_the_map_of_the_notes():
    grid = Grid.over((64, 64), [16], [shapes((16, 32, 64), (0.5, 1, 2))])
    assert len(grid.levels[0].shapes) == 9
    assert len(grid) == 16 * 9 == len(grid.boxes)  # Figure 2.12: 4 x 4 positions


def test_the_grid_is_torchvisions():
    # sizes and proportions whose sides are even numbers: theirs are rounded
    sizes, ratios = ((32.0, 64.0), (128.0,)), (0.25, 1.0, 4.0)
    theirs = AnchorGenerator(sizes, (ratios, ratios))
    image = torch.zeros(1, 3, 96, 64)
    maps = [torch.zeros(1, 1, 12, 8), torch.zeros(1, 1, 6, 4)]
    expected = theirs(ImageList(image, [(96, 64)]), maps)[0]
    grid = Grid.over((96, 64), [8, 16], [shapes(s, ratios) for s in sizes], offset=0)
    assert torch.equal(grid.boxes, expected)
    middle = Grid.over((96, 64), [8, 16], [shapes(s, ratios) for s in sizes])
    torch.testing.assert_close(middle.boxes[: 12 * 8 * 6] - 4, expected[: 12 * 8 * 6])
    torch.testing.assert_close(middle.boxes[12 * 8 * 6 :] - 8, expected[12 * 8 * 6 :])


def test_a_mirrored_image_has_mirrored_anchors():
    boxes = Grid.over((32, 64), [16], [shapes((20,), (0.5, 1))]).boxes
    mirrored = torch.stack([64 - boxes[:, 2], boxes[:, 1], 64 - boxes[:, 0], boxes[:, 3]], 1)
    assert {tuple(b) for b in boxes.tolist()} == {tuple(b) for b in mirrored.tolist()}


def test_maps_of_sizes_that_are_no_multiple_of_the_stride():
    grid = Grid.over((33, 18), [8, 16], [shapes((9,), (1,))] * 2)
    assert [(level.height, level.width) for level in grid.levels] == [(5, 3), (3, 2)]
    assert grid.starts == [0, 15, 21]


def test_shapes_have_the_area_and_the_proportion_asked_for():
    found = shapes((10, 20, 40), (0.5, 1, 2))
    assert [w * h for w, h in found[:3]] == pytest.approx([100, 400, 1600])
    assert [h / w for w, h in found[::3]] == pytest.approx([0.5, 1, 2])
    assert np.allclose(make(np.array([10.0, 20, 40]), np.array([0.5, 1, 2])), found)


def test_overlap_of_shapes_is_that_of_boxes_on_one_centre():
    draw = np.random.default_rng(0)
    a, b = draw.uniform(4, 90, (7, 2)), draw.uniform(4, 90, (5, 2))
    boxes = [torch.tensor(np.concatenate([-s / 2, s / 2], 1)) for s in (a, b)]
    assert np.allclose(shape_iou(a, b), box_iou(*boxes).numpy())


def test_the_fit_finds_the_sizes_and_proportions_that_boxes_were_made_of():
    sizes, ratios = np.array([12.0, 40, 130]), np.array([0.4, 1, 2.5])
    draw = np.random.default_rng(0)
    objects = make(sizes, ratios)[draw.integers(0, 9, 2000)] * draw.normal(1, 0.05, (2000, 2))
    found = fit(objects)
    assert found.sizes == pytest.approx(sizes, rel=0.03)
    assert found.proportions == pytest.approx(ratios, rel=0.03)
    assert found.mean_iou > 0.9
    ordinary = shape_iou(objects, make(np.array([32.0, 64, 128]), np.array([0.5, 1, 2]))).max(1).mean()
    assert found.mean_iou > ordinary + 0.1


def test_objects_that_are_all_alike_still_get_nine_different_anchors():
    found = fit(np.full((1, 2), 30.0))
    assert len({(round(w, 3), round(h, 3)) for w, h in make(np.array(found.sizes), np.array(found.proportions))}) == 9
    assert found.sizes[1] == pytest.approx(30)
    assert found.proportions[1] == pytest.approx(1)


def test_a_fit_is_never_worse_than_its_start():
    draw = np.random.default_rng(1)
    for seed in range(5):
        objects = np.exp(draw.normal(3.5, 1, (300 + seed, 2)))
        found = fit(objects)
        start = make(np.quantile(np.sqrt(objects.prod(1)), [1 / 6, 1 / 2, 5 / 6]), np.ones(1))
        assert found.mean_iou > shape_iou(objects, start).max(1).mean()


def test_reached_agrees_with_all_pairs():
    draw = np.random.default_rng(0)
    corner = draw.uniform(-5, 90, (300, 2))
    boxes = np.concatenate([corner, corner + draw.uniform(3, 60, (300, 2))], 1)
    own = [make(np.array(sizes), np.array([0.6, 1.4])) for sizes in ([10.0, 16], [30.0, 50])]
    grid = Grid.over((96, 80), [8, 16], [[tuple(s) for s in level.tolist()] for level in own])
    expected = box_iou(torch.tensor(boxes).float(), grid.boxes).amax(1).numpy() >= 0.5
    found = reached(boxes, (96, 80), [8, 16], own)
    assert 0.2 < expected.mean() < 0.9
    assert (found == expected).all()
