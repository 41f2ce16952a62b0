"""What instruments say of a detector, beside what can be computed from anchors and boxes alone."""

from collections.abc import Iterator

import pytest
import torch
from torchvision.ops import batched_nms, box_iou

from olhar.data.sample import Batch
from olhar.errors import UserError
from olhar.inspection.detection import assignments, at_position, objectness, suppressed
from olhar.inspection.instrument import Subject
from olhar.inspection.instruments import INSTRUMENTS
from olhar.models import detector, encoder
from olhar.objectives.detection import Detection
from olhar.ops.answers import select
from olhar.ops.boxes import to_centre
from olhar.tasks.detect import MOST, NEGATIVE, POSITIVE, Detect

CANVAS = (48, 64)
NAMES = ("disc", "bar")
DETECTOR = ("anchors", "assignment", "objectness", "suppression")


@pytest.fixture(scope="module")
def task() -> Detect:
    torch.manual_seed(0)
    body = encoder("resnet9-slim", 3, CANVAS, widths="4,8,8,8")
    model = detector(body, len(NAMES), anchors=6, strides=(8, 16), width=8)
    return Detect(model, (0.5,) * 3, (0.2,) * 3, NAMES, ((9, 13, 18), (25, 32, 40)), (0.7, 1.4), threshold=0.2).eval()


@pytest.fixture(scope="module")
def batch() -> Batch:
    image = torch.randint(256, (3, 3, *CANVAS), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    boxes = [[[3, 4, 17, 19], [30, 8, 60, 40], [20, 30, 29, 44]], [], [[10, 10, 50, 38]]]
    return {
        "id": ["a", "b", "c"],
        "image": image,
        "boxes": [torch.tensor(own, dtype=torch.float32).view(-1, 4) for own in boxes],
        "box_labels": [torch.tensor([0, 1, 0]), torch.zeros(0, dtype=torch.int64), torch.tensor([1])],
        "box_ignored": [torch.zeros(len(own), dtype=torch.bool) for own in boxes],
        "size": torch.tensor([CANVAS] * 3),
    }


@pytest.fixture(scope="module")
def output(task: Detect, batch: Batch) -> Detection:
    """A network that is sure of much: about a sixth of all anchors."""
    anchors = task.grid(batch).boxes
    draw = torch.Generator().manual_seed(4)
    outputs = torch.randn(3, len(anchors), 5 + len(NAMES), generator=draw)
    outputs[..., 1:5] *= 0.3
    return Detection(outputs, anchors)


def test_the_anchors_of_a_position_stand_around_it(task: Detect, batch: Batch):
    for level, boxes in zip(task.grid(batch).levels, at_position(task.grid(batch), 0.3, 0.9), strict=True):
        row, column = int(0.3 * level.height), int(0.9 * level.width)
        centre = torch.tensor([(column + 0.5) * level.stride, (row + 0.5) * level.stride])
        placed = to_centre(boxes)
        torch.testing.assert_close(placed[:, :2], centre.expand(len(level.shapes), 2))
        torch.testing.assert_close(placed[:, 2:], torch.tensor(level.shapes))


def test_the_assignment_is_what_overlaps_say(task: Detect, batch: Batch):
    grid, found = task.grid(batch), assignments(task, batch)
    assert [len(one.boxes) for one in found] == [3, 0, 1]
    for one in found:
        if not len(one.boxes):
            assert (len(one.anchors), one.ignored) == (0, 0)
            continue
        iou = box_iou(grid.boxes, one.boxes)
        torch.testing.assert_close(one.iou, box_iou(one.anchors, one.boxes)[range(len(one.anchors)), one.object])
        assert set(one.object.tolist()) == set(range(len(one.boxes))), "every object has an anchor"
        assert int((iou.amax(1) >= POSITIVE).sum()) <= len(one.anchors)
        assert one.ignored == int(((iou.amax(1) >= NEGATIVE) & (iou.amax(1) < POSITIVE)).sum()) - int(
            (one.iou < POSITIVE).sum() - (one.iou < NEGATIVE).sum()
        )
        large = (one.anchors[:, 2:] - one.anchors[:, :2]).prod(1).sqrt() > 20
        assert torch.equal(one.level == 1, large)


def test_the_map_of_objectness_is_the_surest_anchor_of_each_position(task: Detect, batch: Batch, output: Detection):
    grid = task.grid(batch)
    centre = to_centre(grid.boxes)[:, :2]
    p = torch.sigmoid(output.outputs[..., 0])
    for k, (level, own) in enumerate(zip(grid.levels, objectness(output, grid), strict=True)):
        assert own.shape == (3, level.height, level.width)
        here = torch.arange(len(grid)) >= grid.starts[k]
        here &= torch.arange(len(grid)) < grid.starts[k + 1]
        at = here & (centre == torch.tensor([2.5 * level.stride, 1.5 * level.stride])).all(1)
        assert int(at.sum()) == len(level.shapes)
        torch.testing.assert_close(own[:, 1, 2], p[:, at].amax(1))


def test_what_was_removed_lies_on_what_it_was_removed_for(task: Detect, batch: Batch, output: Detection):
    for i, one in enumerate(suppressed(task, output, batch)):
        kept = one.kept
        assert 0 < kept < len(one.boxes)
        again = batched_nms(one.boxes, one.scores, one.labels, task.overlap)
        assert sorted(again.tolist()) == list(range(kept))
        answers = select(output.mode()[i], output.scores[i], task.threshold, task.overlap, MOST)
        torch.testing.assert_close(one.boxes[:kept], answers.boxes)
        removed, owner = torch.arange(kept, len(one.boxes)), one.owner[kept:]
        assert (owner < kept).all()
        assert (one.labels[removed] == one.labels[owner]).all()
        assert (one.scores[removed] <= one.scores[owner]).all()
        overlap = box_iou(one.boxes, one.boxes)[removed, owner]
        torch.testing.assert_close(one.iou[kept:], overlap)
        assert (overlap > task.overlap).all()


def test_nothing_above_the_threshold_is_nothing_removed(task: Detect, batch: Batch):
    silent = Detection(torch.full((3, len(task.grid(batch)), 5 + len(NAMES)), -9.0), task.grid(batch).boxes)
    assert [one.kept for one in suppressed(task, silent, batch)] == [0, 0, 0]


def subject(task: Detect, batch: Batch) -> Subject:
    def batches() -> Iterator[Batch]:
        yield batch

    return Subject(task, (3, *CANVAS), batches)


@pytest.mark.parametrize("name", DETECTOR)
def test_every_instrument_has_a_table_and_a_figure(name: str, task: Detect, batch: Batch):
    instrument, seen = INSTRUMENTS[name], subject(task, batch)
    assert instrument.fits(seen) is None
    values = instrument.look(seen)
    columns, rows = values.table()
    assert all(len(row) == len(columns) for row in rows)
    for dark in (False, True):
        figure = instrument.figure(values, dark)
        assert any(axes.images for axes in figure.axes)
    assert instrument.reading.count("\n") == 1, "two lines"
    if name == "anchors":
        assert sum(row[5] for row in rows) == sum(len(one.anchors) for one in values.matched)
        assert sum(row[4] for row in rows) == len(task.grid(batch))
    if name == "assignment":
        assert [row[2] for row in rows] == ["disc", "bar", "disc"], "of the first two images"
        assert sum(row[5] for row in rows) == sum(len(one.anchors) for one in values.images)


def test_new_images_have_anchors_but_no_assignment(task: Detect, batch: Batch):
    new: Batch = {"id": batch["id"], "image": batch["image"], "size": batch["size"]}
    values = INSTRUMENTS["anchors"].look(subject(task, new))
    assert len(INSTRUMENTS["anchors"].figure(values).axes) == 2
    with pytest.raises(UserError, match="leave --image out"):
        INSTRUMENTS["assignment"].look(subject(task, new))
