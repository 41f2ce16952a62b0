"""Areas and overlaps beside torchvision's, and by hand."""

import pytest
import torch
import torchvision.ops as tv
from torch import Tensor

from olhar.ops.boxes import (
    area,
    clip,
    from_centre,
    from_corner,
    generalised_iou,
    iou,
    removed_by,
    suppress,
    to_centre,
    to_corner,
)


def some(count: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    low = torch.rand(count, 2, generator=generator) * 80
    return torch.cat([low, low + 1 + torch.rand(count, 2, generator=generator) * 60], 1)


def test_areas_and_overlaps_are_those_of_torchvision():
    a, b = some(30), some(20, 1)
    torch.testing.assert_close(area(a), tv.box_area(a))
    torch.testing.assert_close(iou(a[:, None], b), tv.box_iou(a, b))
    torch.testing.assert_close(generalised_iou(a[:, None], b), tv.generalized_box_iou(a, b))
    torch.testing.assert_close(iou(a[:20], b), tv.box_iou(a[:20], b).diagonal())


def test_overlaps_by_hand():
    a = torch.tensor([0.0, 0, 10, 10])
    half, apart = torch.tensor([5.0, 0, 15, 10]), torch.tensor([20.0, 0, 30, 10])
    assert iou(a, half).item() == pytest.approx(50 / 150)
    assert iou(a, apart).item() == 0
    assert generalised_iou(a, a).item() == pytest.approx(1)
    assert generalised_iou(a, half).item() == pytest.approx(50 / 150)  # the box around both is full
    assert generalised_iou(a, apart).item() == pytest.approx(0 - 100 / 300)


def test_boxes_without_area_have_nothing_in_common():
    point = torch.tensor([3.0, 3, 3, 3])
    assert iou(point, point).item() == 0
    assert iou(point, torch.tensor([0.0, 0, 9, 9])).item() == 0


def test_generalised_iou_draws_boxes_that_do_not_meet_together():
    moved = torch.tensor([40.0, 0, 50, 10], requires_grad=True)
    target = torch.tensor([0.0, 0, 10, 10])
    generalised_iou(moved, target).backward()
    assert moved.grad is not None
    assert moved.grad[0] < 0  # it grows as the box comes nearer
    still = moved.detach().requires_grad_()
    iou(still, target).backward()
    assert still.grad is not None
    assert not still.grad.any()


def test_clipping_is_torchvisions():
    boxes = some(40) * 2 - 60
    torch.testing.assert_close(clip(boxes, (50, 70)), tv.clip_boxes_to_image(boxes, (50, 70)))
    assert area(clip(torch.tensor([[80.0, 0, 90, 10]]), (50, 70))).item() == 0


@pytest.mark.parametrize(
    ("there", "back", "name"), [(to_centre, from_centre, "cxcywh"), (to_corner, from_corner, "xywh")]
)
def test_conversions_are_torchvisions_and_inverse(there, back, name):
    boxes = some(20)
    torch.testing.assert_close(there(boxes), tv.box_convert(boxes, "xyxy", name))
    torch.testing.assert_close(back(there(boxes)), boxes)


def test_suppression_keeps_each_class_apart_and_says_who_removed_whom():
    boxes = torch.tensor([[0.0, 0, 10, 10], [1, 0, 11, 10], [0, 1, 10, 11], [50, 50, 60, 60], [1, 1, 11, 11]])
    scores = torch.tensor([0.6, 0.9, 0.8, 0.1, 0.7])
    classes = torch.tensor([0, 0, 1, 0, 1])
    kept = suppress(boxes, scores, classes, 0.5)
    assert kept.tolist() == [1, 2, 3]
    assert removed_by(boxes, classes, kept, 0.5).tolist() == [1, 1, 2, 3, 2]
