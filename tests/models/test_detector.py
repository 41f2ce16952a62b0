"""Body, neck and head: shapes, counts and order of the outputs, and that one batch can be learnt by heart."""

import pytest
import torch

from olhar.models import encoder
from olhar.models.detector import PRIOR, Detector
from olhar.objectives.detection import Detection
from olhar.ops.anchors import Grid, shapes
from olhar.ops.boxes import iou, suppress
from olhar.ops.matching import Objects, assign, targets

SIZE = (33, 50)  # odd, and not square


def test_63_numbers_a_position_and_1008_for_the_map_of_the_notes():
    model = Detector(encoder("cnn-tiny", 3, (64, 64)), num_classes=2, anchors=9, strides=(16,), width=8).eval()
    assert model.heads[0].out.out_channels == 63
    outputs = model(torch.zeros(1, 3, 64, 64))
    assert outputs.shape == (1, 16 * 9, 1 + 4 + 2)
    assert outputs.numel() == 1008


@pytest.mark.parametrize("name", ["cnn-tiny", "resnet9-slim", "resnet18", "cnn-fast"])
@pytest.mark.parametrize("strides", [(8,), (8, 16), (8, 16, 32, 64), (32, 64)])
@pytest.mark.parametrize("top_down", [True, False])
def test_every_body_gives_the_grid_asked_for_and_every_parameter_learns(name, strides, top_down):
    args = {"resnet18": {"width": 8}, "resnet9-slim": {"widths": "8,8,8,8"}}.get(name, {})
    body = encoder(name, 3, SIZE, **args)
    if name == "cnn-tiny":
        strides = tuple(s for s in strides if s <= 16 or s > body.strides[-1])
    model = Detector(body, 2, 4, strides, width=8, top_down=top_down).train()
    grid = Grid.over(SIZE, strides, [shapes((10, 20), (0.5, 2))] * len(strides))
    outputs = model(torch.randn(2, 3, *SIZE))
    assert outputs.shape == (2, len(grid), 7)
    outputs.square().sum().backward()
    used = [(n, p) for n, p in model.named_parameters() if not n.startswith("encoder.")]
    assert [n for n, p in used if p.grad is None or not p.grad.isfinite().all()] == []
    assert [n for n, p in used if p.ndim > 1 and not p.grad.any()] == []


def test_a_stride_that_the_body_cannot_give():
    with pytest.raises(AssertionError, match=r"has strides .* not \[1\]"):
        Detector(encoder("resnet18", 3, SIZE, width=8), 2, strides=(1, 16))


def test_the_untrained_head_expects_no_object():
    model = Detector(encoder("cnn-tiny", 3, SIZE), 2, strides=(8,), width=8).eval()
    p = torch.sigmoid(model(torch.rand(1, 3, *SIZE))[..., 0])
    assert p.mean().item() == pytest.approx(PRIOR, rel=0.2)


def test_each_output_belongs_to_the_anchor_of_its_number():
    """A bright spot changes the outputs of the anchors around it."""
    torch.manual_seed(0)
    model = Detector(encoder("cnn-fast", 1, (192, 256), widths="8,8,8"), 2, 9, (8, 16), width=8).eval()
    grid = Grid.over((192, 256), (8, 16), [shapes((8, 12, 16), (0.5, 1, 2))] * 2)
    spot = torch.zeros(1, 1, 192, 256)
    spot[..., 100, 156] = 1
    with torch.no_grad():
        change = (model(spot) - model(torch.zeros_like(spot)))[0].abs().sum(1)
    centres = (grid.boxes[:, :2] + grid.boxes[:, 2:]) / 2
    for start, end, stride in ((0, grid.starts[1], 8), (grid.starts[1], len(grid), 16)):
        share = change[start:end, None] / change[start:end].sum()
        middle = (share * centres[start:end]).sum(0)
        assert (middle - torch.tensor([156.5, 100.5])).abs().max() <= stride


def test_the_memory_format_changes_nothing():
    torch.manual_seed(0)
    model = Detector(encoder("resnet18", 3, SIZE, width=8), 2, 9, (8, 16), width=8).eval()
    image = torch.randn(2, 3, *SIZE)
    with torch.no_grad():
        expected = model(image)
        last = model.to(memory_format=torch.channels_last)(image.to(memory_format=torch.channels_last))
    torch.testing.assert_close(last, expected)


def test_two_images_can_be_learnt_by_heart():
    """Model, grid, assignment, objective and decoding agree with each other, or this would not end well."""
    torch.manual_seed(0)
    boxes = [torch.tensor([[4.0, 6, 24, 30], [30, 30, 60, 50]]), torch.tensor([[20.0, 10, 44, 34]])]
    image = torch.zeros(2, 3, 64, 64)
    for i, own in enumerate(boxes):
        for k, (x0, y0, x1, y1) in enumerate(own.int().tolist()):
            image[i, k, y0:y1, x0:x1] = 1
    objects = Objects.of(boxes, [torch.tensor([0, 1]), torch.tensor([0])])
    model = Detector(encoder("cnn-fast", 3, (64, 64), widths="8,16,16"), 2, 9, (8,), width=16)
    grid = Grid.over((64, 64), (8,), [shapes((18, 24, 30), (0.7, 1, 1.4))])
    wanted = targets(grid, objects, assign(grid, objects, 0.5), 2)
    optimizer = torch.optim.Adam(model.parameters(), 3e-3)
    for _ in range(120):
        loss = sum(Detection(model(image), grid.boxes).losses(wanted).values())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():
        found = Detection(model.train()(image), grid.boxes)
    scores, labels = found.scores.max(-1)
    for i, own in enumerate(boxes):
        surest = suppress(found.mode()[i], scores[i], labels[i], 0.5)[: len(own)]
        best = iou(found.mode()[i, surest][:, None], own).max(1)
        assert best.values.min() > 0.8
        assert torch.equal(labels[i, surest], objects.labels[i, best.indices])
        assert set(best.indices.tolist()) == set(range(len(own)))
