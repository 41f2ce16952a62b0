"""What is done to images that are to be restored: measured, repeatable, and never the answer itself."""

import pytest
import torch

from olhar.data.corrupt import (
    HOLE,
    Grey,
    Holes,
    Noise,
    Shrink,
    greyed,
    make_corrupt,
    parse_noise,
    planes_of,
    with_known,
)
from olhar.data.sample import Batch
from olhar.errors import UserError
from olhar.ops.image import GREY


def images(n: int = 4, side: int = 64, low: int = 100, high: int = 150) -> Batch:
    draw = torch.Generator().manual_seed(0)
    image = torch.randint(low, high, (n, 3, side, side), dtype=torch.uint8, generator=draw)
    return {"id": [str(i) for i in range(n)], "image": image}


def test_noise_has_the_deviation_that_was_asked_for():
    given = images()
    batch = Noise(0, 25, 25)(dict(given), [0, 1, 2, 3], 0)  # type: ignore[arg-type]
    assert torch.equal(batch["clean"], given["image"])
    error = batch["image"].float() - batch["clean"].float()
    assert error.std().item() == pytest.approx(25, rel=0.02)
    assert error.mean().item() == pytest.approx(0, abs=0.3)
    assert torch.corrcoef(error[:2].flatten(1))[0, 1].abs() < 0.02, "two images have the same noise"


def test_noise_is_the_same_for_one_image_in_one_epoch_whatever_the_batch():
    given = images()
    noise = Noise(7, 5, 50)
    whole = noise(dict(given), [3, 1, 2, 0], 2)["image"]  # type: ignore[arg-type]
    alone = noise({"id": ["1"], "image": given["image"][1:2]}, [1], 2)["image"]
    assert torch.equal(whole[1:2], alone)
    assert not torch.equal(alone, noise({"id": ["1"], "image": given["image"][1:2]}, [1], 3)["image"])


def test_a_range_of_noise_is_drawn_evenly():
    flat: Batch = {"id": [""] * 200, "image": torch.full((200, 1, 32, 32), 128, dtype=torch.uint8)}
    batch = Noise(0, 5, 45)(flat, list(range(200)), 0)
    levels = (batch["image"].float() - 128).flatten(1).std(1)
    assert levels.min() > 4
    assert levels.max() < 48
    assert levels.mean().item() == pytest.approx(25, abs=2)


def test_grey_keeps_how_bright_a_pixel_looks():
    batch = Grey(0)(images(), [0, 1, 2, 3], 0)
    assert torch.equal(batch["image"][:, 0], batch["image"][:, 2])
    looks = (batch["clean"].permute(0, 2, 3, 1).float() @ torch.tensor(GREY)).round()
    assert torch.equal(batch["image"][:, 0].float(), looks)


@pytest.mark.parametrize("factor", [2, 4])
def test_shrinking_loses_detail_and_keeps_the_rest(factor):
    given = images(side=37)
    given["image"][:, :, :, :20] = 30
    given["image"][:, :, :, 20:] = 220
    smooth = Shrink(0, factor)(dict(given), [0, 1, 2, 3], 0)["image"]  # type: ignore[arg-type]
    assert smooth.shape == given["image"].shape
    assert (smooth[..., 2:10].float() - 30).abs().max() <= 2
    board = ((torch.arange(64)[:, None] + torch.arange(64)) % 2 * 200).to(torch.uint8).expand(1, 3, -1, -1)
    assert Shrink(0, factor)({"id": ["a"], "image": board}, [0], 0)["image"].float().std() < 20


def test_holes_are_where_they_are_said_to_be():
    batch = Holes(1)(images(16), list(range(16)), 0)
    inside = batch["holes"] > 0
    assert (batch["image"].masked_select(inside) == HOLE).all()
    assert torch.equal(batch["image"] * ~inside, batch["clean"] * ~inside)
    share = inside.float().mean((1, 2, 3))
    assert share.min() > 0
    assert share.max() < 0.8
    assert len(share.unique()) > 10


def test_a_new_image_is_prepared_as_in_training():
    image = images(1)["image"][0]
    assert planes_of(image, None, "x2").shape == (3, 128, 128)
    assert planes_of(image, None, "noise") is image
    alpha = torch.full((1, 64, 64), 255, dtype=torch.uint8)
    alpha[:, :10] = 0
    planes = planes_of(image, alpha, "holes")
    assert planes.shape == (4, 64, 64)
    assert (planes[3, :10] == 255).all()
    assert not planes[3, 10:].any()
    assert (planes[:3, :10] == HOLE).all()
    with pytest.raises(UserError, match="nothing of it is transparent"):
        planes_of(image, None, "holes")


def test_what_is_known_is_kept():
    image, made = images(2)["image"]
    alpha = torch.full((1, 64, 64), 255, dtype=torch.uint8)
    alpha[:, :10] = 0
    filled = with_known(made, planes_of(image, alpha, "holes"), "holes")
    assert torch.equal(filled[:, :10], made[:, :10])
    assert torch.equal(filled[:, 10:], image[:, 10:])
    coloured = with_known(made, planes_of(image, None, "grey"), "grey")
    assert (greyed(coloured[None])[0].int() - greyed(image[None])[0].int()).abs().max() <= 1
    assert with_known(made, image, "noise") is made


def test_levels_of_noise_are_numbers_and_ranges():
    assert parse_noise("25") == (25, 25)
    assert parse_noise("5-50") == (5, 50)
    for wrong in ("much", "50-5", "-3", "300", ""):
        with pytest.raises(UserError, match="is no level of noise"):
            parse_noise(wrong)
    assert make_corrupt("x4", "25", 0) == Shrink(0, 4)
