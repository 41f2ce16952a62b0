"""Which anchor answers for which object, beside torchvision's matcher and coder and beside all pairs of IoU."""

import math

import pytest
import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.ops import box_iou

from olhar.ops.anchors import Grid, shapes
from olhar.ops.boxes import area
from olhar.ops.matching import (
    BACKGROUND,
    IGNORED,
    LARGEST_GROWTH,
    Objects,
    assign,
    common_share,
    decode,
    encode,
    targets,
    to_share,
)

GRID = Grid.over((96, 128), [8, 16], [shapes((14, 20, 28), (0.6, 1, 1.6)), shapes((40, 56), (0.6, 1, 1.6))])


def some(*counts: int, seed: int = 0) -> Objects:
    generator = torch.Generator().manual_seed(seed)
    boxes, labels = [], []
    for count in counts:
        centre = torch.rand(count, 2, generator=generator) * torch.tensor([128, 96])
        half = 5 + torch.rand(count, 2, generator=generator) * 25
        boxes.append(torch.cat([centre - half, centre + half], 1))
        labels.append(torch.randint(3, (count,), generator=generator))
    return Objects.of(boxes, labels)


def real(objects: Objects, image: int) -> Tensor:
    return objects.boxes[image][objects.present[image]]


def test_overlaps_are_those_of_all_pairs():
    objects = some(6, 1, 0, 3)
    share = common_share(GRID, objects.boxes)
    for image in range(4):
        expected = box_iou(objects.boxes[image], GRID.boxes)
        torch.testing.assert_close(share[image] / (1 - share[image]), expected)
    assert to_share(1.0) == 0.5


def test_all_above_a_threshold_is_torchvisions_matcher():
    objects = some(9, 1, 0, 25)
    found = assign(GRID, objects, positive=0.5, negative=0.4, best=False)
    matcher = Matcher(0.5, 0.4, allow_low_quality_matches=False)
    for image in (0, 1, 3):
        assert torch.equal(found[image], matcher(box_iou(real(objects, image), GRID.boxes)))
    assert (found[2] == BACKGROUND).all()
    assert {BACKGROUND, IGNORED} < set(found[0].tolist())  # the grey zone is not empty


def test_the_best_anchor_for_each_object():
    objects = some(5, 2, 0)
    found = assign(GRID, objects, negative=0.4)
    for image in range(3):
        overlap = box_iou(real(objects, image), GRID.boxes)
        best = overlap.argmax(1).tolist()
        assert len(set(best)) == len(best)  # these do not compete
        expected = torch.full((len(GRID),), BACKGROUND)
        if len(best):
            expected[overlap.amax(0) >= 0.4] = IGNORED
        for number, anchor in enumerate(best):
            expected[anchor] = number
        assert torch.equal(found[image], expected)


def test_an_object_that_no_anchor_reaches_gets_the_best_one_that_is_free():
    thin = torch.tensor([[20.0, 30, 110, 36]])  # like no anchor
    objects = Objects.of([thin], [torch.tensor([0])])
    assert (assign(GRID, objects, positive=0.5, best=False) < 0).all()
    found = assign(GRID, objects, positive=0.5)
    assert (found >= 0).nonzero().tolist() == [[0, int(box_iou(thin, GRID.boxes).argmax())]]
    # the best anchor of the thin one belongs to another: it gets the best of the rest
    anchor = int(box_iou(thin, GRID.boxes).argmax())
    pair = Objects.of([torch.cat([thin, GRID.boxes[anchor, None]])], [torch.tensor([0, 1])])
    both = assign(GRID, pair, positive=0.5)[0]
    assert both[anchor] == 1
    overlap = box_iou(thin, GRID.boxes)[0].masked_fill(both == 1, 0)
    assert (both == 0).nonzero().tolist() == [[int(overlap.argmax())]]


def test_the_sure_one_of_two_has_an_anchor_that_is_best_for_both():
    grid = Grid.over((16, 16), [16], [((10.0, 10.0),)])  # one anchor: 3 3 13 13
    boxes = torch.tensor([[4.0, 4, 12, 12], [3, 3, 12, 13], [5, 5, 9, 9]])
    for order in ([0, 1, 2], [1, 0, 2], [2, 1, 0], [2, 0, 1]):
        found = assign(grid, Objects.of([boxes[order]], [torch.tensor(order)]))
        assert found.tolist() == [[order.index(1)]]


def test_an_image_without_objects_and_an_object_outside_of_it():
    empty = Objects.of([torch.zeros(0, 4)], [torch.zeros(0, dtype=torch.int64)])
    for positive in (None, 0.5):
        assert (assign(GRID, empty, positive) == BACKGROUND).all()
        outside = Objects.of([torch.tensor([[900.0, 900, 950, 950]])], [torch.tensor([0])])
        assert (assign(GRID, outside, positive) == BACKGROUND).all()


def test_ignored_objects_are_neither_found_nor_background():
    objects = some(4)
    wanted = assign(GRID, objects, 0.5, 0.4)
    crowd = torch.zeros(1, 4, dtype=torch.bool)
    crowd[0, 2] = True
    found = assign(GRID, Objects(objects.boxes, objects.labels, crowd), 0.5, 0.4)
    assert (found != 2).all()
    assert (found[wanted == 2] == IGNORED).all()
    assert (found[(wanted >= 0) & (wanted != 2)] == wanted[(wanted >= 0) & (wanted != 2)]).all()
    # an anchor in the middle of a crowd is not background, however small beside it
    whole = Objects(torch.tensor([[[0.0, 0, 128, 96]]]), torch.zeros(1, 1, dtype=torch.int64), torch.ones(1, 1).bool())
    inside = (GRID.boxes[:, :2] >= 0).all(1) & (GRID.boxes[:, 2:] <= torch.tensor([128.0, 96])).all(1)
    assert (assign(GRID, whole, 0.5, 0.4)[0][inside] == IGNORED).all()


def test_encoding_is_torchvisions_and_decoding_its_inverse():
    objects = some(40, seed=3)
    boxes, anchors = objects.boxes[0], GRID.boxes[::30][:40]
    offsets = encode(boxes, anchors)
    torch.testing.assert_close(offsets, BoxCoder((1, 1, 1, 1)).encode_single(boxes, anchors))
    torch.testing.assert_close(decode(offsets, anchors), boxes)
    torch.testing.assert_close(encode(decode(offsets, anchors), anchors), offsets, rtol=1e-4, atol=1e-5)
    assert (encode(anchors, anchors) == 0).all()
    huge = decode(torch.tensor([[0.0, 0, 1e4, 1e4]]), anchors[:1])
    assert area(huge).item() == pytest.approx(area(anchors[0]).item() * math.exp(2 * LARGEST_GROWTH), rel=1e-4)


def test_offsets_by_hand():
    anchor, box = torch.tensor([0.0, 0, 10, 20]), torch.tensor([2.0, 5, 22, 15])
    # centres (5, 10) and (12, 10); sides 10 x 20 and 20 x 10
    assert encode(box, anchor).tolist() == pytest.approx([0.7, 0.0, math.log(2), -math.log(2)])


def test_the_target_is_1_and_4_and_c_values_and_where_nothing_is_only_the_first_counts():
    objects = some(5, 0, 2)
    owner = assign(GRID, objects, 0.5, 0.4)
    found = targets(GRID, objects, owner, num_classes=3)
    dense = found.dense()
    assert dense.shape == (3, len(GRID), 1 + 4 + 3)
    assert dense[owner == BACKGROUND][:, 0].eq(0).all()
    assert dense[owner == BACKGROUND][:, 1:].isnan().all()
    assert dense[owner == IGNORED].isnan().all()
    assert not dense[owner >= 0].isnan().any()
    image, anchor = (owner >= 0).nonzero(as_tuple=True)
    number = owner[image, anchor]
    values = dense[image, anchor]
    assert values[:, 0].eq(1).all()
    torch.testing.assert_close(decode(values[:, 1:5], GRID.boxes[anchor]), objects.boxes[image, number])
    assert torch.equal(values[:, 5:].argmax(1), objects.labels[image, number])
    assert values[:, 5:].sum(1).eq(1).all()


def test_two_classes_on_one_box_are_one_object_of_both():
    box = torch.tensor([[30.0, 30, 50, 50]])
    objects = Objects.of([torch.cat([box, box])], [torch.tensor([0, 2])])
    found = targets(GRID, objects, assign(GRID, objects), num_classes=3)
    assert found.classes.tolist() == [[1.0, 0.0, 1.0]]
