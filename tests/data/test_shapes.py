import colorsys
import hashlib
import itertools
import threading
from collections import Counter
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from olhar.config import DataConfig
from olhar.data import shapes
from olhar.data.drawing import OUTLINES
from olhar.data.sample import IGNORE, SPLITS, Source
from olhar.data.scene_words import HELD_OUT_PAIRS, SaidThing, read_caption
from olhar.data.scenes import COLOR_NAMES, COLORS, LARGEST, SHAPES, SMALLEST, Scene, held_out, relation, scene
from olhar.errors import UserError

GOLDEN_SCENES = [(index, 32, 1, 0) for index in range(8)] + [(1, 64, 3, 0), (7, 128, 3, 5), (123456, 64, 6, 2**40)]
GOLDEN_DIGESTS = {
    "clean": "d1ac93a57c973166",
    "image": "d72432154e2a0e14",
    "mask": "55520bb2336b63ca",
    "boxes": "953e9fa1618f770f",
}
TRIOS = [scene(index, objects=3, seed=2) for index in range(120)]
CROWDS = [scene(index, objects=6, seed=1) for index in range(24)]
truth = cache(Scene.sample)


def digest(*parts: object) -> str:
    return hashlib.sha256(
        b"".join(part if isinstance(part, bytes) else repr(part).encode() for part in parts)
    ).hexdigest()[:16]


# --- The same for ever ----------------------------------------------------------------------------------------------


def test_captions_never_change():
    captions = [scene(index, objects=3).caption() for index in range(200)]
    assert captions[:4] == [
        "a green circle below a cyan crescent and right of a yellow heart",
        "a red ring above a green ring and right of a purple circle",
        "a blue triangle above a purple ring",
        "a yellow crescent left of a green triangle and below an orange heart",
    ]
    assert digest(captions) == "174c16833b962936"


def test_pixels_and_masks_never_change():
    samples = [scene(i, size, objects, seed).sample(0.1) for i, size, objects, seed in GOLDEN_SCENES]
    for key, expected in GOLDEN_DIGESTS.items():
        assert digest(*(sample[key].numpy().tobytes() for sample in samples)) == expected, key


def test_a_scene_depends_on_index_and_seed_only():
    torch.manual_seed(0)
    np.random.seed(0)
    state = torch.get_rng_state(), np.random.get_state()[1].tolist()
    first = scene(12, objects=3, seed=4).render()
    assert torch.equal(torch.get_rng_state(), state[0])
    assert np.random.get_state()[1].tolist() == state[1]
    assert torch.equal(first, scene(12, objects=3, seed=4).render())
    assert not torch.equal(first, scene(12, objects=3, seed=5).render())
    assert not torch.equal(first, scene(12 + 64, objects=3, seed=4).render())
    assert scene(12, size=32, objects=3).things == scene(12, size=128, objects=3).things


def test_threads_draw_the_same_pictures():
    expected = [picture.render() for picture in TRIOS[:16]]
    drawn: dict[int, torch.Tensor] = {}

    def draw(worker: int) -> None:
        for place in range(worker, 16, 4):
            drawn[place] = TRIOS[place].render()

    threads = [threading.Thread(target=draw, args=(worker,)) for worker in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(torch.equal(drawn[place], expected[place]) for place in range(16))


def test_sizes_are_resolutions_of_one_picture():
    """A picture at 128 px, averaged over 4x4 pixels, is the one at 32 px."""
    for index in range(8):
        large, small = (scene(index, size, objects=2).render().float() for size in (128, 32))
        difference = (torch.nn.functional.avg_pool2d(large, 4) - small).abs()
        assert difference.mean() < 4


# --- The truth ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SHAPES)
def test_outline_touches_the_unit_circle_and_its_distance_is_true(name):
    """Everything inside lies in the unit disc and reaches its border; where 0 is crossed the slope is 1."""
    place = np.linspace(-1.2, 1.2, 961)
    u, v = np.meshgrid(place, place)
    distance = OUTLINES[name](u, v)
    furthest = np.hypot(u, v)[distance < 0].max()
    assert furthest == pytest.approx(1, abs=0.01)
    slope = np.hypot(*np.gradient(distance, place[1] - place[0]))
    assert np.median(slope[np.abs(distance) < 0.01]) == pytest.approx(1, abs=0.02)


def test_boxes_and_mask_agree_with_each_other_and_with_the_things():
    for picture in TRIOS:
        sample = truth(picture)
        covered = torch.zeros(64, 64, dtype=torch.bool)
        for thing, box, label in zip(picture.things, sample["boxes"], sample["box_labels"], strict=True):
            x0, y0, x1, y1 = box.int().tolist()
            inside = sample["mask"][y0:y1, x0:x1] == label + 1
            assert inside.any(0)[[0, -1]].all()  # tight: the first and last row and column have some of it
            assert inside.any(1)[[0, -1]].all()
            assert label == thing.shape
            covered[y0:y1, x0:x1] = True
            # the box lies in that of the circumscribed circle
            centre, radius = torch.tensor([thing.x, thing.y]) * 64, thing.radius * 64
            assert (box[:2] >= centre - radius - 1).all()
            assert (box[2:] <= centre + radius + 1).all()
        assert not sample["mask"][~covered].any()
        present = set((sample["mask"].unique()[1:] - 1).tolist())
        assert present == {thing.shape for thing in picture.things} == set(sample["labels"].nonzero()[:, 0].tolist())


def test_a_thing_alone_fills_its_box_and_differs_from_the_backdrop():
    for index in range(24):
        picture = scene(index, size=128)
        (x0, y0, x1, y1), thing = truth(picture)["boxes"][0].tolist(), picture.things[0]
        if SHAPES[thing.shape] in ("circle", "ring"):
            x, y, radius = 128 * thing.x, 128 * thing.y, 128 * thing.radius
            np.testing.assert_allclose([x0, y0, x1, y1], [x - radius, y - radius, x + radius, y + radius], atol=1)
        pixels = truth(picture)["image"].float() / 255
        mask = truth(picture)["mask"] > 0
        inside, around = pixels[:, mask].mean(1), pixels[:, ~mask].mean(1)
        assert torch.dist(inside, around) > 0.15


def test_colours_in_the_picture_are_the_named_ones():
    """By hue, and for those of one hue by lightness: red and pink."""
    hue = {name: colorsys.rgb_to_hls(*np.array(COLORS[name]) / 255)[0] for name in COLOR_NAMES}
    for picture in TRIOS:
        sample = truth(picture)
        image = sample["image"].float() / 255
        for thing, box in zip(picture.things, sample["boxes"].int().tolist(), strict=True):
            x0, y0, x1, y1 = box
            own = sample["mask"][y0:y1, x0:x1] == thing.shape + 1
            if sum(other.shape == thing.shape for other in picture.things) > 1:
                continue  # the mask does not tell two of a shape apart
            seen = image[:, y0:y1, x0:x1][:, own].median(1).values.tolist()
            seen_hue, lightness, saturation = colorsys.rgb_to_hls(*seen)
            turn = {name: abs((seen_hue - hue[name] + 0.5) % 1 - 0.5) for name in COLOR_NAMES}
            name = COLOR_NAMES[thing.color]
            assert turn[name] < 0.06, picture
            assert saturation > 0.3
            if name in ("red", "pink"):
                assert (lightness > 0.55) == (name == "pink")


def test_any_two_colours_are_far_apart():
    """In CIELAB, for people who see all colours; see the comment of COLORS."""
    rgb = np.array(list(COLORS.values())) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]])
    # the severity-1 matrices of Machado, Oliveira and Fernandes (2009)
    views = {
        45: [np.eye(3)],
        20: [
            np.array(
                [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]]
            ),
            np.array(
                [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]]
            ),
            np.array(
                [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.303900]]
            ),
        ],
    }
    for least, matrices in views.items():
        for matrix in matrices:
            xyz = np.clip(linear @ matrix.T, 0, 1) @ to_xyz.T / (0.9505, 1, 1.089)
            f = np.where(xyz > 0.008856, np.cbrt(xyz), 7.787 * xyz + 16 / 116)
            lab = np.stack([116 * f[:, 1] - 16, 500 * (f[:, 0] - f[:, 1]), 200 * (f[:, 1] - f[:, 2])], axis=1)
            assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(lab, 2)) > least - 0.5


def test_every_thing_stays_visible():
    for picture in CROWDS:
        _, owner = picture._draw()
        for number, thing in enumerate(picture.things, start=1):
            _, alone = replace(picture, things=(thing,))._draw()
            assert (owner == number).sum() >= 0.45 * (alone == 1).sum()


def test_caption_agrees_with_the_boxes():
    """Parse each caption and look where the things it names are."""
    seen = Counter()
    for picture in TRIOS:
        boxes = {thing.name: box for thing, box in zip(picture.things, truth(picture)["boxes"], strict=True)}
        assert len(boxes) == len(picture.things)  # no two have one name
        words = picture.caption().replace(",", "").split()
        if len(picture.things) == 1:
            size = words[1] if words[1] in ("small", "large") else "medium"
            seen[size] += 1
            diameter = picture.target / 100
            assert size == ("small" if diameter < 0.35 else "large" if diameter > 0.5 else "medium")
            continue
        main = " ".join(words[1:3])
        assert main == picture.things[0].name
        rest = " ".join(words[3:]).replace(" and ", " ").replace("left of", "left").replace("right of", "right").split()
        for word, article, color, shape in zip(*[iter(rest)] * 4, strict=True):
            assert article == ("an" if color == "orange" else "a")
            a, b = boxes[main], boxes[f"{color} {shape}"]
            gap = {"left": b[2] - a[2], "right": a[0] - b[0], "above": b[3] - a[3], "below": a[1] - b[1]}[word]
            assert gap > 0, (picture, word)
            seen[word] += 1
    assert min(seen.values()) > 5
    assert len(seen) == 7


def test_main_thing_is_the_largest_and_its_size_the_target():
    for picture in TRIOS:
        assert all(thing.radius < picture.things[0].radius for thing in picture.things[1:])
        assert truth(picture)["label"] == picture.label == picture.things[0].shape
        assert SMALLEST <= picture.target / 100 <= LARGEST
    targets = [scene(index).target for index in range(400)]
    assert np.quantile(targets, [0.25, 0.5, 0.75]) == pytest.approx([34.25, 43.5, 52.75], abs=2.5)


def test_noise_has_the_deviation_asked_for_and_leaves_clean_alone():
    picture = replace(scene(3, size=128), noise=0.05)
    sample, quiet = picture.sample(), picture.sample(noise=0.0)
    assert torch.equal(quiet["image"], quiet["clean"])
    assert torch.equal(sample["clean"], quiet["clean"])
    assert torch.equal(sample["image"], picture.render())
    middle = (sample["clean"] > 60) & (sample["clean"] < 195)  # where nothing is clipped
    error = (sample["image"].float() - sample["clean"].float())[middle] / 255
    assert error.std().item() == pytest.approx(0.05, rel=0.03)
    assert error.mean().item() == pytest.approx(0, abs=0.001)


# --- The collection -------------------------------------------------------------------------------------------------


def test_collection_to_classify():
    data = shapes.collection(arguments="n=160, size=32, seed=3")
    assert data.class_names == SHAPES
    assert [len(data.split(name)) for name in SPLITS] == [128, 16, 16]
    assert all(isinstance(record.image, Source) for record in data.records)
    assert all(record.target is None for record in data.records)
    assert data.records[0].image.render().shape == (3, 32, 32)
    for split, each in (("train", 16), ("val", 2), ("test", 2)):
        assert Counter(record.label for record in data.split(split)) == dict.fromkeys(range(8), each)
    assert "classification" in data.explanation


def test_pairs_are_balanced():
    pairs = Counter((s.things[0].shape, s.things[0].color) for s in map(scene, range(128)))
    assert set(pairs.values()) == {2}
    assert len(pairs) == 64


def test_collection_to_regress():
    data = shapes.collection("regress", DataConfig(image_size=48), "n=80,objects=2")
    assert data.target_name == "size"
    assert data.class_names == ()
    assert all(record.label is None and record.target == record.image.target for record in data.records)
    assert data.records[0].image.size == 48
    assert shapes.collection(config=DataConfig(task="regress"), arguments="n=80").task == "regress"


def test_more_scenes_leave_the_others_in_their_splits():
    few, many = (shapes.collection(arguments=f"n={n}") for n in (80, 240))
    known = {record.id: record.image for record in many.records}
    assert all(known[record.id] == record.image for record in few.records)
    assert len({record.image.index for record in many.records}) == 240


def test_fingerprint_tells_seeds_and_sizes_apart():
    prints = {
        shapes.collection(arguments=text).fingerprint() for text in ("n=80", "n=80,seed=1", "n=80,size=32", "n=88")
    }
    assert len(prints) == 4
    assert shapes.collection(arguments="n=80").fingerprint() in prints


def test_held_out_pairs_are_in_the_test_only():
    data = shapes.collection(arguments="n=640,objects=3,holdout=1")
    assert all(held_out(record.image) for record in data.split("test"))
    assert not any(held_out(record.image) for record in data.split("train") + data.split("val"))
    things = [thing for record in data.split("train") for thing in record.image.things]
    assert {thing.color for thing in things} == {thing.shape for thing in things} == set(range(8))
    new = {(record.image.things[0].shape, record.image.things[0].color) for record in data.split("test")}
    assert len(new) == 8
    assert data.notes


def test_collection_to_segment():
    data = shapes.collection("segment", DataConfig(image_size=48), "n=80,objects=3")
    assert data.class_names == ("background", *SHAPES)
    for record in data.records[:5]:
        assert torch.equal(record.mask.render().long(), record.image.sample()["mask"])
        assert record.mask.render().dtype == torch.uint8
        assert (record.label, record.target) == (None, None)
    ignored = shapes.collection("segment", DataConfig(image_size=48, ignore="circle"), "n=80,objects=3")
    assert ignored.class_names == ("background", *(name for name in SHAPES if name != "circle"))
    first, less = data.records[0], ignored.records[0]
    assert SHAPES[first.image.things[0].shape] == "circle"
    assert torch.equal(less.mask.render() == IGNORE, first.mask.render() == 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("sise=32", "no argument 'sise': did you mean 'size'"),
        ("n=many", "whole number for 'n', not 'many'"),
        ("size", "whole number for 'size'"),
        ("n=-5", "whole number"),
        ("n=100,n=200", "twice"),
        ("size=4", "size from 16 to 1024, not 4"),
        ("objects=7", "objects from 1 to 6"),
        ("n=10", "n from 80"),
    ],
)
def test_wrong_arguments_get_one_sentence(arguments, message):
    with pytest.raises(UserError, match=message):
        shapes.collection(arguments=arguments)


def test_another_task_is_refused():
    with pytest.raises(UserError, match="did you mean 'classify'"):
        shapes.collection("clasify")


# --- captions -----------------------------------------------------------------------------------------------------


def test_captions_are_for_a_test_of_pairs_that_training_never_shows():
    for task, n in (("align", 2000), ("diffuse", 800)):
        found = shapes.collection(task, arguments=f"n={n}")
        train, test = (
            [read_caption(r.captions[0]) for r in found.split(split) for _ in r.captions] for split in ("train", "test")
        )
        assert not any(scene.held_out for scene in train)
        assert all(scene.things[0].pair in HELD_OUT_PAIRS for scene in test)
        assert {len(scene.things) for scene in train} == {1, 2}
        assert len({r.captions for r in found.split("test")}) >= n // 20
        assert {thing.color for scene in train for thing in scene.things} == set(COLOR_NAMES)
        assert {thing.shape for scene in train for thing in scene.things} == set(SHAPES)
        assert "pairs of colour and shape that training never does" in found.notes[0]
    assert not shapes.collection("align", arguments="holdout=0,objects=1").notes


def test_a_caption_is_read_back_as_the_scene_it_came_from():
    for index in range(300):
        drawn = scene(index, objects=4)
        read = read_caption(drawn.caption())
        assert [f"{thing.color} {thing.shape}" for thing in read.things] == [thing.name for thing in drawn.things]
        assert list(read.relations) == [relation(drawn.things[0], other) for other in drawn.things[1:]]
        assert read.held_out == held_out(drawn)
    assert read_caption("A small red circle.").things == (SaidThing("red", "circle", "small"),)
    with pytest.raises(UserError, match="from 'on a hill' on"):
        read_caption("a red circle on a hill")
