"""Parts at another size: as torchvision makes them, and never one over another."""

from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
import torchvision.transforms.v2.functional as F
from torch import Tensor

from olhar.data import crops
from olhar.data.crops import crop_resize

BOXES = [(0, 0, 61, 80), (3, 10, 40, 33), (20, 5, 17, 70), (60, 79, 1, 1)]


def picture(channels: int, number: int = 0) -> Tensor:
    return torch.randint(0, 256, (channels, 61, 80), dtype=torch.uint8, generator=torch.Generator().manual_seed(number))


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("box", BOXES)
@pytest.mark.parametrize("side", [8, 33, 112])
@pytest.mark.parametrize("in_bytes", [True, False])
def test_it_is_torchvisions_crop_and_resize(
    channels: int, box: tuple[int, int, int, int], side: int, in_bytes: bool, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(crops, "BYTES", in_bytes)
    image = picture(channels)
    planar = F.resize(F.crop(image.float(), *box), [side, side], antialias=True)
    for one in (image, image.permute(1, 2, 0).contiguous().permute(2, 0, 1)):
        made = crop_resize(one, box, side)
        assert (made.shape, made.dtype) == ((channels, side, side), torch.uint8)
        assert (made.float() - planar).abs().max() <= 1.01  # bytes are rounded once a direction
        assert made.permute(1, 2, 0).is_contiguous()


def test_an_image_keeps_its_room_whoever_asks_next():
    side, numbers = 64, range(400)  # more than one buffer's worth
    assert len(numbers) > 2 * crops.BUFFER // (3 * side * side)
    images = [picture(3, number) for number in numbers]
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda image: crop_resize(image, BOXES[1], side), images))
    for image, one in zip(images, made, strict=True):
        assert torch.equal(one, crop_resize(image, BOXES[1], side))
    assert len({one.data_ptr() for one in made}) == len(made)
