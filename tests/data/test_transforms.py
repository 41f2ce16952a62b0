"""Random changes depend on (seed, epoch, index) and nothing else; resizing keeps what it says."""

import math

import numpy as np
import pytest
import torch
import torchvision.transforms.v2.functional as F
from changes import changed_together
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from torch import Tensor

from olhar.data.reading import Preprocess, Reader, Resize
from olhar.data.sample import Record
from olhar.data.transforms import (
    AUGMENTS,
    Mix,
    Natural,
    choose,
    make_augment,
    make_mix,
    uniform,
)


def noise(n: int, side: int, channels: int = 3, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    shape = (n, side, side, channels)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=generator).permute(0, 3, 1, 2)


# --- random numbers ---------------------------------------------------------------------------------------------


def test_the_numbers_never_change():
    """A new value here would change every run that is resumed with a newer version."""
    expected = [[0.1652689640, 0.3105963035], [0.1345321209, 0.1031791395]]
    np.testing.assert_allclose(uniform(0, 0, [0, 1], 2), expected, atol=1e-9)


def test_the_numbers_are_uniform_and_independent():
    u = uniform(3, 5, np.arange(40_000), 3)
    assert u.min() >= 0
    assert u.max() < 1
    assert abs(np.histogram(u, 20, (0, 1))[0] / u.size - 0.05).max() < 0.002
    others = [
        u[1:, 0],
        u[:-1, 1],
        uniform(3, 6, np.arange(40_000), 1)[:-1, 0],
        uniform(4, 5, np.arange(39_999), 1)[:, 0],
    ]
    for other in others:
        assert abs(np.corrcoef(u[:-1, 0], other)[0, 1]) < 0.02  # 4 deviations of 1 / sqrt(40,000)


def test_a_row_can_be_drawn_alone():
    assert np.array_equal(uniform(1, 2, [7], 4)[0], uniform(1, 2, np.arange(10), 6)[7, :4])


# --- resizing ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("height", "width", "square", "expected"),
    [
        (60, 80, True, (30, 30)),
        (60, 80, False, (30, 40)),
        (80, 60, False, (40, 30)),
        (60, 300, False, (30, 54)),  # of a panorama the central 16:9: 107 of 300 columns
        (1, 1, True, (30, 30)),
        (1, 9000, False, (30, 60)),
        (30, 30, True, (30, 30)),
    ],
)
def test_the_shorter_side_becomes_the_side(height, width, square, expected):
    image = torch.zeros(3, height, width, dtype=torch.uint8)
    assert Resize(30, square=square)(image).shape == (3, *expected)


def test_a_square_loses_nothing_and_others_their_ends():
    square = noise(1, 50)[0]
    assert torch.equal(Resize(20)(square), F.resize(square, [20, 20], antialias=True))
    bars = torch.zeros(3, 20, 60, dtype=torch.uint8)
    bars[:, :, 20:40] = 200
    assert (Resize(10)(bars) == 200).all()


def test_a_reader_adds_what_the_record_says(tmp_path):
    Image.new("RGB", (40, 20), (9, 8, 7)).save(tmp_path / "a.png")
    read = Reader(Resize(10, channels=1), num_classes=4)
    said = ("grey", "dark")
    record = Record(id="a", image=tmp_path / "a.png", split="train", labels=(0, 2), target=1.5, captions=said)
    sample = read(record)
    assert sample["image"].shape == (1, 10, 10)
    assert sample["labels"].tolist() == [1, 0, 1, 0]
    assert (sample["id"], sample["target"], sample["text"]) == ("a", 1.5, "grey")
    assert "label" not in sample
    kept = torch.zeros(1, 10, 10, dtype=torch.uint8)
    assert read(record, kept)["image"] is kept


def test_training_keeps_more_where_it_crops():
    assert Preprocess(224, augment="natural").train_read.resize == Resize(256, square=False)
    assert Preprocess(224, augment="natural").read.resize == Resize(224)
    small = Preprocess(32, channels=1, augment="small", num_classes=3)
    assert small.train_read == small.read == Reader(Resize(32, channels=1), num_classes=3)


# --- augmentation -----------------------------------------------------------------------------------------------


def apply(name: str, images: Tensor, index: list[int], epoch: int, seed: int = 0, flip: bool = True) -> Tensor:
    augment = make_augment(name, images.shape[-1], flip, seed)
    if not augment.per_image:
        return augment.batch(images, index, epoch)
    groups = [[(i, {"id": "", "image": image})] for image, i in zip(images, index, strict=True)]
    return torch.stack([sample["image"] for sample in changed_together(augment, groups, epoch)])


@pytest.fixture(params=["tiny", "small", "natural"])
def name(request) -> str:
    return request.param


def test_a_sample_changes_the_same_way_in_any_batch(name):
    images = noise(8, 32)
    together = apply(name, images, list(range(8)), epoch=2)
    assert together.dtype == torch.uint8
    assert together.shape == images.shape
    assert torch.equal(apply(name, images[[5, 2]], [5, 2], epoch=2), together[[5, 2]])
    for other in ({"epoch": 3}, {"epoch": 2, "seed": 1}):
        assert not torch.equal(apply(name, images, list(range(8)), **other), together)


def test_torchs_own_generator_is_neither_used_nor_touched(name):
    images = noise(3, 32)
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = apply(name, images, [0, 1, 2], epoch=0)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    assert torch.equal(apply(name, images, [0, 1, 2], epoch=0), first)


def test_mirroring_alternates_between_epochs(name):
    """A picture dark on the left and bright on the right tells which way round it is."""
    ramp = torch.linspace(0, 255, 32).to(torch.uint8).expand(64, 3, 32, 32)

    def mirrored(epoch: int, flip: bool = True) -> Tensor:
        out = apply(name, ramp, list(range(64)), epoch, flip=flip).float().mean((1, 2))
        return out[:, :16].mean(1) > out[:, 16:].mean(1)

    first = mirrored(0)
    assert 0.25 < first.float().mean() < 0.75
    assert torch.equal(mirrored(1), ~first)
    assert torch.equal(mirrored(2), first)
    assert not mirrored(0, flip=False).any()


def test_small_images_move_and_lose_a_patch():
    plain = torch.full((200, 3, 32, 32), 7, dtype=torch.uint8)
    cut = (apply("small", plain, list(range(200)), 0) == 128).all(1).sum((1, 2))
    assert cut.max() == 64, "a quarter of the side"
    assert cut.min() >= 16, "its centre is always inside"
    dot = torch.zeros(400, 1, 32, 32, dtype=torch.uint8)
    dot[:, :, 16, 16] = 255
    out = apply("small", dot, list(range(400)), 0, flip=False)
    y, x = (out[:, 0] == 255).nonzero(as_tuple=True)[1:]
    assert (y.min(), y.max(), x.min(), x.max()) == (12, 20, 12, 20)


def test_tiny_images_stay_recognisable():
    images = noise(50, 8, channels=1)
    changed = apply("tiny", F.gaussian_blur(images, [5, 5]), list(range(50)), 0, flip=False)
    correlation = torch.corrcoef(
        torch.stack([changed.float().flatten(), F.gaussian_blur(images, [5, 5]).float().flatten()])
    )
    assert 0.5 < correlation[0, 1] < 0.99


@given(st.integers(1, 400), st.integers(1, 400), st.lists(st.floats(0, 1, exclude_max=True), min_size=4, max_size=4))
def test_a_crop_lies_inside_the_image(height, width, u):
    top, left, h, w = Natural(32, True, 0).crop((3, height, width), u)
    assert 0 <= top <= top + h <= height
    assert 0 <= left <= left + w <= width
    assert min(h, w) >= 1


def test_crops_show_between_a_third_and_all_of_the_area():
    natural = Natural(224, True, 0)
    boxes = np.array([natural.crop((3, 256, 300), u) for u in uniform(0, 0, np.arange(2000), 4).tolist()])
    area, stretch = boxes[:, 2] * boxes[:, 3] / (256 * 300), boxes[:, 3] / boxes[:, 2]
    assert 0.34 < area.min() < 0.37
    assert area.max() > 0.9
    assert 0.74 < stretch.min() < 0.78
    assert 1.28 < stretch.max() < 1.35


def test_natural_images_vary_in_light_and_lose_a_patch():
    grey = torch.full((400, 3, 40, 40), 100, dtype=torch.uint8)
    out = apply("natural", grey, list(range(400)), 0)
    brightness = out[:, 0].flatten(1).median(1).values
    assert 67 <= brightness.min() <= 72  # 100 times 1 ± 0.3, rounded at each step
    assert 127 <= brightness.max() <= 130
    patched = (out != brightness[:, None, None, None]).flatten(1).any(1)
    assert 0.15 < patched.float().mean() < 0.35
    assert apply("natural", noise(2, 40, channels=1), [0, 1], 0).shape == (2, 1, 40, 40)


def test_the_preset_follows_the_size():
    sizes = {(8, 1000): "tiny", (8, 200_000): "none", (32, 50_000): "small", (224, 100): "natural"}
    for (image_size, n_train), expected in sizes.items():
        name, reason = choose(image_size, n_train)
        assert name == expected
        assert str(image_size) in reason


def test_every_preset_says_what_it_does():
    for name in AUGMENTS:
        assert make_augment(name, 32, False, 0).describe()
        assert "mirrored" not in make_augment(name, 32, False, 0).describe()
    assert "moved up to 4 px, and a patch of 8 x 8 px is hidden" in make_augment("small", 32, True, 0).describe()


# --- mixing -----------------------------------------------------------------------------------------------------


def batch(n: int) -> dict:
    return {
        "id": [str(i) for i in range(n)],
        "image": noise(n, 16),
        "label": torch.arange(n) % 3,
        "labels": torch.eye(n),
        "target": torch.arange(n).float(),
    }


@pytest.mark.parametrize("mixing", ["mixup", "cutmix"])
def test_the_truth_is_mixed_as_the_pixels_are(mixing):
    given_batch = batch(5)
    shares = set()
    for number in range(20):
        mixed = Mix(mixing, num_classes=3, seed=0)({**given_batch}, epoch=0, number=number)
        share = float(mixed["labels"][0, 1])
        shares.add(round(share, 6))
        one_hot = torch.nn.functional.one_hot(given_batch["label"], 3).float()
        torch.testing.assert_close(mixed["label"], share * one_hot[1:] + (1 - share) * one_hot[:-1])
        torch.testing.assert_close(mixed["target"], torch.arange(1.0, 5.0) - (1 - share))
        assert mixed["id"] == ["1", "2", "3", "4"]
        new, old = given_batch["image"][1:], given_batch["image"][:-1]
        if mixing == "mixup":
            exact = share * new.float() + (1 - share) * old.float()
            assert (mixed["image"].float() - exact).abs().max() <= 0.501
        else:
            pasted = (mixed["image"] != new).any(1)
            assert torch.equal(torch.where(pasted[:, None], old, new), mixed["image"])
            assert pasted.any(0).float().mean() == pytest.approx(1 - share, abs=1e-6)
    assert len(shares) > 15
    assert given_batch["label"].dtype == torch.int64, "what was given is not changed"


def test_none_mixes_nothing():
    assert make_mix("none", 3, 0) is None
    assert make_mix("mixup", 3, 0) == Mix("mixup", 3, 0)


def test_mixups_share_is_beta():
    shares = []
    for number in range(500):
        images = torch.tensor([[0], [255]], dtype=torch.uint8).view(2, 1, 1, 1)
        mixed = Mix("mixup", 2, 0)({"id": ["a", "b"], "image": images}, 0, number)
        shares.append(mixed["image"].item() / 255)
    assert np.mean(shares) == pytest.approx(0.5, abs=0.06)
    assert np.var(shares) == pytest.approx(1 / (4 * (2 * 0.2 + 1)), rel=0.1)  # of Beta(0.2, 0.2)
    assert math.isclose(min(shares), 0)
