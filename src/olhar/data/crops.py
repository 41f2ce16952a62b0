"""A part of an image at another size, quickly, from many threads at once.

Threads take turns at Python's lock, and lose time whenever a call gives it away and takes it back; so there are as few
calls as can be. And what is written goes to rows of larger buffers: an image of 224 px has 37 pages of memory, and to
get and return them costs as much as the resizing.

Shapes: C channels, H W space.
"""

import threading

import numpy as np
import torch
import torchvision.transforms.v2.functional as F
from jaxtyping import UInt8
from torch import Tensor

BUFFER = 2**21  # bytes

# Elsewhere torchvision resizes floats, which is then faster.
BYTES = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")


class Rows(threading.local):
    """Room for images, in a buffer of each thread; it lives for as long as an image in it does."""

    def __init__(self) -> None:
        self.left: list[Tensor] = []

    def take(self, side: int, channels: int) -> UInt8[Tensor, "1 C H W"]:
        """Room for one image, in memory order H W C."""
        if not self.left or self.left[-1].shape[1:] != (channels, side, side):
            count = max(1, BUFFER // (side * side * channels))
            room = torch.empty(count, side, side, channels, dtype=torch.uint8).permute(0, 3, 1, 2)
            self.left = list(room.split(1))
        return self.left.pop()


ROWS = Rows()


def crop_resize(
    image: UInt8[Tensor, "C H W"], box: tuple[int, int, int, int], side: int
) -> UInt8[Tensor, "C {side} {side}"]:
    """The part `box`, (top, left, height, width), as a square: bilinear and antialiased, as torchvision's crop and
    resize make it. In memory order H W C."""
    top, left, height, width = box
    pixels = image.permute(1, 2, 0).numpy()[None, top : top + height, left : left + width]
    part = torch.from_numpy(np.ascontiguousarray(pixels)).permute(0, 3, 1, 2)
    if not BYTES:
        return F.resize(part, [side, side], antialias=True)[0]
    room = ROWS.take(side, len(image))
    return torch.ops.aten._upsample_bilinear2d_aa.out(part, [side, side], False, out=room)[0]
