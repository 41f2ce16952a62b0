"""Segmentation: what nobody labelled counts nowhere, and figures are of the whole set."""

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchmetrics.classification import MulticlassJaccardIndex

from olhar.data.sample import IGNORE, Batch
from olhar.metrics import SegmentationScores, results
from olhar.objectives.overlap import dice_loss
from olhar.ops.image import GREY, overlay
from olhar.ops.masks import shares
from olhar.tasks.segment import MaskPrediction, Segment

NAMES = ["sky", "tree", "road"]


class Fixed(nn.Module):
    """Gives the same scores whatever it sees."""

    def __init__(self, logits: Tensor):
        super().__init__()
        self.logits = nn.Parameter(logits)

    def forward(self, image: Tensor) -> Tensor:
        return self.logits


def setting(**options: object) -> tuple[Segment, Batch]:
    draw = torch.Generator().manual_seed(0)
    logits = torch.randn(2, 3, 7, 5, generator=draw) * 2
    mask = torch.randint(0, 3, (2, 7, 5), generator=draw, dtype=torch.uint8)
    mask[:, 2:4] = IGNORE
    task = Segment(Fixed(logits), [0.5] * 3, [0.2] * 3, NAMES, [(0, 0, 0), (1, 2, 3), (4, 5, 6)], **options)  # type: ignore[arg-type]
    image = torch.randint(0, 256, (2, 3, 7, 5), generator=draw, dtype=torch.uint8)
    return task, {"id": ["a", "b"], "image": image, "mask": mask}


def test_the_loss_is_torchs_over_the_labelled_pixels():
    task, batch = setting()
    target = batch["mask"].long()
    expected = F.cross_entropy(task.model.logits, target, ignore_index=IGNORE)
    torch.testing.assert_close(task(batch)["loss"], expected)
    each = F.cross_entropy(task.model.logits, target, ignore_index=IGNORE, reduction="none").flatten(1).sum(1)
    torch.testing.assert_close(task.nll(task.output(batch), batch), each / 25)  # 25 of 35 pixels are labelled


def test_unlabelled_pixels_get_no_gradient():
    task, batch = setting(dice=1.0)
    task(batch)["loss"].backward()
    gradient = task.model.logits.grad
    assert not gradient[:, :, 2:4].any()
    assert gradient[:, :, :2].any()


def test_weights_weigh_each_pixel_by_its_class():
    weights = [0.5, 1.0, 2.0]
    task, batch = setting(class_weights=weights)
    target = batch["mask"].long()
    total = F.cross_entropy(task.model.logits, target, torch.tensor(weights), ignore_index=IGNORE, reduction="sum")
    torch.testing.assert_close(task(batch)["loss"], total / 50)


def test_a_set_without_one_label_costs_nothing():
    task, batch = setting()
    batch["mask"].fill_(IGNORE)
    assert task(batch)["loss"] == 0


def test_dice_is_one_minus_twice_the_overlap():
    """Two classes, certain answers: 3 of class 1's 4 pixels are found and 1 of class 0's is taken for it."""
    target = torch.tensor([[[1, 1, 1, 1, 0, 0]]])
    said = torch.tensor([[[1, 1, 1, 0, 1, 0]]])
    p = F.one_hot(said, 2).permute(0, 3, 1, 2).double()
    known = torch.ones_like(target, dtype=torch.bool)
    expected = 1 - (2 * 3 / (4 + 4) + 2 * 1 / (2 + 2)) / 2
    assert dice_loss(p, target, known).item() == pytest.approx(expected)
    known[..., 5] = False  # then class 0 has one pixel, which was missed
    expected = 1 - (2 * 3 / (4 + 4) + 0) / 2
    assert dice_loss(p, target, known).item() == pytest.approx(expected)
    exact = F.one_hot(target, 2).permute(0, 3, 1, 2).double()
    assert dice_loss(exact, target, torch.ones_like(known)).item() == pytest.approx(0)


def test_mean_iou_is_of_the_whole_set_and_not_of_batches():
    draw = torch.Generator().manual_seed(1)
    said = torch.randint(0, 3, (9, 4, 4), generator=draw)
    truth = torch.randint(0, 3, (9, 4, 4), generator=draw)
    truth[:, 0] = IGNORE
    truth[:4][truth[:4] == 2] = 0  # the first batches lack a class
    scores, library = SegmentationScores(3), MulticlassJaccardIndex(3, ignore_index=IGNORE)
    for part in (slice(0, 2), slice(2, 4), slice(4, 9)):
        scores.update(said[part], truth[part])
    found = results({"miou": scores})
    assert found["miou"] == pytest.approx(float(library(said, truth)))
    known = truth != IGNORE
    assert found["pixel_accuracy"] == pytest.approx(float((said == truth)[known].float().mean()))


def test_a_class_that_is_nowhere_is_left_out_of_the_mean():
    scores = SegmentationScores(4)
    scores.update(torch.tensor([[[0, 0, 1, 1]]]), torch.tensor([[[0, 1, 1, 1]]]))
    found = results({"miou": scores})
    assert found["miou"] == pytest.approx((1 / 2 + 2 / 3) / 2)
    assert found["mean_recall"] == pytest.approx((1 + 2 / 3) / 2)
    assert found["mean_precision"] == pytest.approx((1 / 2 + 1) / 2)


def test_rows_tell_the_confusion_of_each_image():
    task, batch = setting()
    output = task.output(batch)
    total = torch.zeros(3, 3, dtype=torch.long)
    for row, truth in zip(task.details(output, batch), batch["mask"], strict=True):
        assert sum(n for _, _, n in row["confusion"]) == (truth != IGNORE).sum()
        for i, j, n in row["confusion"]:
            total[i, j] += n
    scores = SegmentationScores(3)
    scores.update(output.mode(), batch["mask"].long())
    assert torch.equal(total, scores.confmat)


def test_areas_are_shares_of_what_is_known():
    mask = torch.tensor([[0, 0, 2, IGNORE], [0, 2, 2, IGNORE]], dtype=torch.uint8)
    assert shares(mask, NAMES) == {"sky": 0.5, "road": 0.5}
    prediction = MaskPrediction("a", torch.tensor([[1, 1, 1, 0]], dtype=torch.uint8), tuple(NAMES), ())
    assert prediction.row() == {"id": "a", "areas": {"tree": 0.75, "sky": 0.25}}


def test_an_overlay_keeps_light_and_takes_the_colour_of_the_class():
    image = torch.full((3, 1, 3), 200, dtype=torch.uint8)
    image[:, 0, 1] = torch.tensor([10, 20, 30], dtype=torch.uint8)
    mask = torch.tensor([[0, 1, IGNORE]], dtype=torch.uint8)
    shown = overlay(image, mask, [(0, 0, 0), (100, 0, 50)])
    assert shown[:, 0, 0].tolist() == [200] * 3, "black in the palette leaves the image as it is"
    assert shown[:, 0, 2].tolist() == [200] * 3, "so does what nobody labelled"
    light = 0.4 * sum(w * v for w, v in zip(GREY, (10, 20, 30), strict=True))
    assert shown[:, 0, 1].tolist() == [round(light + 60), round(light), round(light + 30)]
