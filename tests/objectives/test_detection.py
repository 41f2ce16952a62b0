"""The three parts of detection's likelihood beside closed forms, torch's losses and torchvision's."""

import math

import pytest
import torch
import torch.nn.functional as F
import torchvision.ops as tv

from olhar.objectives.detection import DEVIATION, HARD_RATIO, Detection, focal_weight
from olhar.ops.anchors import Grid, shapes
from olhar.ops.matching import BACKGROUND, IGNORED, Objects, Targets, assign, decode, targets

GRID = Grid.over((64, 64), [16], [shapes((16, 24, 36), (0.6, 1, 1.6))])
CLASSES = 3


@pytest.fixture
def wanted() -> Targets:
    boxes = [torch.tensor([[8.0, 8, 40, 30], [30, 30, 50, 62]]), torch.zeros(0, 4), torch.tensor([[2.0, 2, 20, 20]])]
    labels = [torch.tensor([0, 2]), torch.zeros(0, dtype=torch.int64), torch.tensor([1])]
    objects = Objects.of(boxes, labels)
    return targets(GRID, objects, assign(GRID, objects, 0.5, 0.35), CLASSES)


@pytest.fixture
def outputs() -> torch.Tensor:
    return torch.randn(3, len(GRID), 5 + CLASSES, generator=torch.Generator().manual_seed(0))


def test_the_parts_are_binary_cross_entropies_and_squared_differences(outputs, wanted):
    parts = Detection(outputs, GRID.boxes).parts(wanted)
    dense = wanted.dense()
    for image in range(3):
        asked = ~dense[image, :, 0].isnan()
        logits = outputs[image, asked, 0]
        expected = F.binary_cross_entropy_with_logits(logits, dense[image, asked, 0], reduction="sum")
        torch.testing.assert_close(parts["object"][image], expected)
        has = dense[image, :, 0] == 1
        classes = F.binary_cross_entropy_with_logits(outputs[image, has, 5:], dense[image, has, 5:], reduction="sum")
        torch.testing.assert_close(parts["classes"][image], classes)
        difference = outputs[image, has, 1:5] - dense[image, has, 1:5] / torch.tensor(DEVIATION)
        constant = 4 * 0.5 * math.log(2 * math.pi) * int(has.sum())
        torch.testing.assert_close(parts["offsets"][image], 0.5 * difference.square().sum() + constant)
    assert parts["offsets"][1] == parts["classes"][1] == 0  # no object: only the first value counts
    torch.testing.assert_close(Detection(outputs, GRID.boxes).nll(wanted), sum(parts.values()))


def test_where_no_object_is_the_other_values_change_nothing_and_get_no_gradient(outputs, wanted):
    outputs = outputs.requires_grad_()
    Detection(outputs, GRID.boxes).nll(wanted).sum().backward()
    gradient = outputs.grad
    assert not gradient[wanted.owner < 0][:, 1:].any()
    assert not gradient[wanted.owner == IGNORED].any()
    assert gradient[wanted.owner == BACKGROUND][:, 0].ne(0).all()
    assert gradient[wanted.owner >= 0].ne(0).all()


def test_the_likeliest_outputs_decode_to_the_truth(wanted):
    outputs = torch.full((3, len(GRID), 5 + CLASSES), -20.0)
    outputs[wanted.image, wanted.anchor, 0] = 20
    outputs[wanted.image, wanted.anchor, 1:5] = wanted.offsets / torch.tensor(DEVIATION)
    outputs[wanted.image, wanted.anchor, 5:] = 40 * wanted.classes - 20
    found = Detection(outputs, GRID.boxes)
    torch.testing.assert_close(found.mode()[wanted.image, wanted.anchor], wanted.boxes)
    torch.testing.assert_close(found.scores[wanted.image, wanted.anchor], wanted.classes, atol=1e-6, rtol=0)
    assert found.scores.sum().item() == pytest.approx(float(wanted.classes.sum()), abs=1e-3)
    losses = found.losses(wanted, "none")
    assert sum(losses.values()).item() == pytest.approx(0, abs=1e-4)


def test_scores_are_the_product_of_independent_probabilities(outputs):
    scores = Detection(outputs, GRID.boxes).scores
    expected = outputs[..., :1].sigmoid() * outputs[..., 5:].sigmoid()
    torch.testing.assert_close(scores, expected)


def test_unbalanced_losses_are_the_likelihood_of_each_object(outputs, wanted):
    found = Detection(outputs, GRID.boxes)
    count = len(wanted.image)
    losses, parts = found.losses(wanted, "none"), found.parts(wanted)
    for name in ("object", "classes"):
        torch.testing.assert_close(losses[name], parts[name].sum() / count)
    constant = 2 * math.log(2 * math.pi)
    torch.testing.assert_close(losses["offsets"], parts["offsets"].sum() / count - constant)


def test_focal_loss_is_torchvisions(outputs, wanted):
    asked = wanted.owner != IGNORED
    logits, truth = outputs[..., 0][asked], (wanted.owner >= 0).float()[asked]
    expected = tv.sigmoid_focal_loss(logits, truth, alpha=0.25, gamma=2, reduction="sum") / len(wanted.image)
    torch.testing.assert_close(Detection(outputs, GRID.boxes).losses(wanted, "focal")["object"], expected)
    weight = focal_weight(torch.zeros(3, len(GRID)), wanted)
    assert set(weight.flatten().tolist()) == {0.25 * 0.25, 0.75 * 0.25}


def test_hard_negatives_are_the_most_wrong_of_each_image(outputs, wanted):
    expected = 0.0
    for image in range(3):
        z, owner = outputs[image, :, 0], wanted.owner[image]
        count = int((owner >= 0).sum())
        others = F.softplus(z[owner == BACKGROUND]).sort(descending=True).values
        expected += F.softplus(-z[owner >= 0]).sum() + others[: HARD_RATIO * max(1, count)].sum()
    found = Detection(outputs, GRID.boxes).losses(wanted, "hard")["object"]
    torch.testing.assert_close(found, expected / len(wanted.image))


def test_other_losses_of_boxes_are_torchvisions(outputs, wanted):
    found, count = Detection(outputs, GRID.boxes), len(wanted.image)
    mean = outputs[wanted.image, wanted.anchor, 1:5]
    smooth = F.smooth_l1_loss(mean, wanted.offsets / torch.tensor(DEVIATION), reduction="sum") / count
    torch.testing.assert_close(found.losses(wanted, box_loss="smooth-l1")["offsets"], smooth)
    boxes = decode(mean * torch.tensor(DEVIATION), GRID.boxes[wanted.anchor])
    expected = tv.generalized_box_iou_loss(boxes, wanted.boxes, reduction="sum") / count
    torch.testing.assert_close(found.losses(wanted, box_loss="giou")["offsets"], expected)


@pytest.mark.parametrize("balance", ["none", "focal", "hard"])
@pytest.mark.parametrize("box_loss", ["gaussian", "smooth-l1", "giou"])
def test_a_batch_without_objects_has_a_loss_and_a_gradient(outputs, balance, box_loss):
    empty = Objects.of([torch.zeros(0, 4)] * 3, [torch.zeros(0, dtype=torch.int64)] * 3)
    wanted = targets(GRID, empty, assign(GRID, empty, 0.5), CLASSES)
    outputs = outputs.bfloat16().requires_grad_()
    losses = Detection(outputs, GRID.boxes).losses(wanted, balance, box_loss)
    assert losses["offsets"] == losses["classes"] == 0
    sum(losses.values()).backward()
    assert outputs.grad.isfinite().all()
    assert outputs.grad[..., 0].any()
