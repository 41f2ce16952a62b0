"""Random changes: masks follow their images exactly, and everything depends on (seed, epoch, index) alone."""

import pytest
import torch
from changes import changed

from olhar.data.paired import Paired, PairedSmall, Window, make_paired, show
from olhar.data.reading import GREY, Frame
from olhar.data.sample import IGNORE, Sample


def scene(height: int, width: int) -> Sample:
    """An image whose red is its mask times 40, so that one can be told from the other."""
    mask = torch.zeros(height, width, dtype=torch.uint8)
    mask[height // 3 :, width // 4 :] = 3
    mask[: height // 5, width // 2 :] = 5
    image = torch.stack([mask * 40, mask * 0 + 7, mask * 10])
    return {"id": "a", "image": image, "mask": mask}


def test_masks_follow_their_images():
    change = Paired(20, True, 0, (20, 30), detail=2.0, recolour=False)
    seen = set()
    for index in range(30):
        sample = changed(change, scene(40, 60), index, epoch=1)
        image, mask = sample["image"], sample["mask"]
        assert image.shape == (3, 20, 30)
        assert mask.shape == (20, 30)
        inside = mask != IGNORE
        # nearest against smooth: along edges they may differ, elsewhere not at all
        off = (image[0].float() - mask.float() * 40).abs()[inside] > 1
        assert off.float().mean() < 0.2
        assert (image[:, ~inside].float() - GREY).abs().max().item() <= 121 if (~inside).any() else True
        seen.add(mask.sum().item())
    assert len(seen) > 15, "the parts hardly differ"


def test_what_lies_beyond_the_image_is_unknown():
    window = Window(-5.0, -5.0, 20.0, 20.0)
    image = show(torch.full((3, 10, 10), 9, dtype=torch.uint8), window, (20, 20), GREY, nearest=False)
    mask = show(torch.full((1, 10, 10), 2, dtype=torch.uint8), window, (20, 20), IGNORE, nearest=True)
    assert int((mask == 2).sum()) == 100
    assert int((mask == IGNORE).sum()) == 300
    assert torch.equal(image[0] == 9, mask[0] == 2)


def test_the_same_numbers_give_the_same_change():
    change = Paired(20, True, 3, (20, 30), detail=1.5)
    first, again = (changed(change, scene(30, 45), 4, epoch=2) for _ in range(2))
    other = changed(change, scene(30, 45), 4, epoch=3)
    assert torch.equal(first["image"], again["image"])
    assert not torch.equal(first["image"], other["image"])


def test_a_whole_batch_moves_together():
    one = scene(16, 16)
    batch = {"id": ["a"] * 8, "image": one["image"].repeat(8, 1, 1, 1), "mask": one["mask"].repeat(8, 1, 1)}
    moved = PairedSmall(16, True, 0).together(batch, list(range(8)), 0)
    assert torch.equal(moved["image"][:, 0], moved["mask"] * 40)
    assert not torch.equal(moved["mask"], one["mask"].repeat(8, 1, 1))


@pytest.mark.parametrize("size", [(16, 16), (40, 30), (17, 90)])
def test_what_is_to_be_restored_keeps_its_scale(size):
    """Parts are cut out pixel by pixel: noise that is resized is other noise."""
    change = make_paired("paired", Frame((16, 16), size, fit=False), False, 0, restoring=True)
    draw = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (3, *size), dtype=torch.uint8, generator=draw)
    part = changed(change, {"id": "a", "image": image}, 5, 0)["image"]
    windows = image.unfold(1, 16, 1).unfold(2, 16, 1).permute(1, 2, 0, 3, 4).reshape(-1, 3, 16, 16)
    assert (windows == part).flatten(1).all(1).any()
