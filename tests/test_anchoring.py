"""Anchors from data: their levels, and that they reach what they are fitted to."""

import numpy as np
import pytest
from PIL import Image

from olhar.anchoring import anchors_for, boxes_on, check_given, levels_of, model_args, recall
from olhar.data.sample import Record
from olhar.errors import UserError


@pytest.fixture(scope="module")
def records(tmp_path_factory: pytest.TempPathFactory) -> list[Record]:
    """Images of 200 x 100 with a few objects of 20 to 60 px each."""
    folder, draw, made = tmp_path_factory.mktemp("images"), np.random.default_rng(0), []
    for i in range(40):
        Image.new("RGB", (200, 100)).save(folder / f"{i}.png")
        sides = draw.uniform(20, 60, (3, 2))
        corner = draw.uniform(0, 1, (3, 2)) * ([200, 100] - sides)
        boxes = tuple(
            (float(x), float(y), float(x + w), float(y + h)) for (x, y), (w, h) in zip(corner, sides, strict=True)
        )
        made.append(Record(str(i), folder / f"{i}.png", "train", boxes=boxes, box_labels=(0, 0, 0)))
    return made


def test_boxes_lie_on_the_canvas(records: list[Record]):
    boxes = boxes_on(records, (100, 100))  # half the size, 25 px of margin above
    first = np.array(records[0].boxes[0])  # type: ignore[index]
    np.testing.assert_allclose(boxes[0], first / 2 + [0, 25, 0, 25])
    assert len(boxes) == 120


def test_fitted_anchors_reach_nearly_all(records: list[Record]):
    anchors = anchors_for(records, (100, 200), (2, 4, 8, 16), {})
    assert anchors.strides == (8, 16), "the objects are twice 8 px and more"
    assert len(anchors.sizes) == 2
    assert max(anchors.sizes[0]) < min(anchors.sizes[1]), "the small ones on the fine level"
    assert anchors.recall[0] > 0.97
    far = recall(boxes_on(records, (100, 200)), (100, 200), (8, 16), [[3.0], [4.0]], [1.0])
    assert far[0] == 0
    assert model_args(anchors, {}) == {"anchors": 9, "strides": [8, 16], "width": 128, "top_down": True}
    small = anchors_for(records, (50, 100), (2, 4, 8, 16), {})
    assert small.strides == (4, 8, 16)


def test_what_is_given_is_taken(records: list[Record]):
    given = {"sizes": "40,20", "proportions": "1", "strides": "16", "width": 32, "top_down": "false"}
    check_given(given)
    anchors = anchors_for(records, (100, 200), (2, 4, 8, 16), given)
    assert (anchors.sizes, anchors.proportions, anchors.strides) == (((20.0, 40.0),), (1.0,), (16,))
    assert model_args(anchors, given) == {"anchors": 2, "strides": [16], "width": 32, "top_down": False}
    assert anchors_for(records, (100, 200), (8, 16), {"strides": "16,32"}).strides == (16, 32)


def test_levels_of_bodies_that_are_coarse():
    assert levels_of((2, 4, 8, 8, 16), 8) == (8, 16)
    assert levels_of((2, 4), 8) == (4,)


@pytest.mark.parametrize(
    ("given", "message"),
    [({"strides": "8,24"}, "no level of stride 24"), ({"sizes": "1,2,3", "strides": "8,16"}, "shared evenly")],
)
def test_what_cannot_be_meant(given: dict, message: str, records: list[Record]):
    with pytest.raises(UserError, match=message):
        anchors_for(records, (100, 200), (8, 16), given)


def test_no_box_at_all(records: list[Record]):
    empty = [Record(r.id, r.image, "train", boxes=(), box_labels=()) for r in records]
    with pytest.raises(UserError, match="not one box"):
        anchors_for(empty, (100, 200), (8, 16), {})
