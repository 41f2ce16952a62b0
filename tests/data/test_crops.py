"""Parts at another size: as torchvision makes them, and never one over another."""

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
    planar = F.resized_crop(image.float(), *box, [side, side], antialias=True)
    for one in (image, image.permute(1, 2, 0).contiguous().permute(2, 0, 1), picture(channels + 1)[:channels]):
        rows = torch.full((3, side, side, channels), 7, dtype=torch.uint8).permute(0, 3, 1, 2)
        crop_resize(one, box, rows[1:2])
        assert (rows[1].float() - planar).abs().max() <= 1.01  # bytes are rounded once a direction
        assert (rows[::2] == 7).all(), "its neighbours are left alone"
