import pytest
import torch

from olhar.data.scene_reader import SeenThing, marks, mean_marks, read_scene
from olhar.data.scene_words import read_caption
from olhar.data.scenes import COLOR_NAMES, SHAPES, scene

SCENES = [scene(index, objects=2, seed=7) for index in range(40)]


def test_true_pictures_show_what_their_captions_say():
    captions, seen_in = [s.caption() for s in SCENES], [read_scene(s.render()) for s in SCENES]
    seen = mean_marks(captions, seen_in)
    assert seen["colors"] >= 0.99
    assert seen["shapes"] >= 0.97
    assert seen["relation"] >= 0.97
    assert seen["unseen"] >= 0.97
    # what others say is there by chance: one colour in eight, one relation in four
    strange = mean_marks(captions, seen_in[1:] + seen_in[:1])
    assert max(strange["colors"], strange["shapes"]) < 0.3
    assert strange["pairs"] < 0.1
    assert strange["relation"] < 0.3
    assert strange["unseen"] < 0.2


def test_a_thing_is_measured_where_it_lies():
    for truth in (scene(index, size, seed=3) for index, size in enumerate((48, 64, 96, 128))):
        (thing,) = read_scene(truth.render())
        main = truth.things[0]
        assert (thing.color, thing.shape) == (COLOR_NAMES[main.color], SHAPES[main.shape])
        assert (thing.x, thing.y, thing.radius) == pytest.approx((main.x, main.y, main.radius), abs=0.02)


def test_nothing_is_seen_where_nothing_is():
    assert read_scene(torch.full((3, 64, 64), 128, dtype=torch.uint8)) == []
    noise = torch.randint(0, 256, (3, 64, 64), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    assert not any(thing.shape for thing in read_scene(noise))


def thing(color: str, shape: str, x: float, y: float) -> SeenThing:
    return SeenThing(color, shape, x, y, radius=0.1, fit=1.0)


def test_marks_by_hand():
    said = read_caption("a green circle above a blue square")  # the first of them is never seen in training
    above, below = (0.5, 0.2), (0.5, 0.7)
    right = marks(said, [thing("green", "circle", *above), thing("blue", "square", *below)])
    assert right == {"colors": 1, "shapes": 1, "pairs": 1, "relation": 1, "unseen": 1}
    upside_down = marks(said, [thing("green", "circle", *below), thing("blue", "square", *above)])
    assert upside_down == {"colors": 1, "shapes": 1, "pairs": 1, "relation": 0, "unseen": 1}
    swapped = marks(said, [thing("blue", "circle", *above), thing("green", "square", *below)])
    assert swapped == {"colors": 1, "shapes": 1, "pairs": 0, "relation": 0, "unseen": 0}
    one_too_many = marks(read_caption("a red heart"), [thing("red", "heart", 0, 0), thing("blue", "star", 0, 0)])
    assert one_too_many == {"colors": 0.5, "shapes": 0.5, "pairs": 0.5}
    assert marks(said, []) == {"colors": 0, "shapes": 0, "pairs": 0, "relation": 0, "unseen": 0}
    two_red = read_caption("a red ring left of a red star")
    assert marks(two_red, [thing("red", "star", 0.8, 0), thing("red", "ring", 0.1, 0)])["relation"] == 1
