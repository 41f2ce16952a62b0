"""A part of an image at another size, quickly, from many threads at once.

Threads take turns at Python's lock, and lose time whenever a call gives it away and takes it back: here one call takes
the view of a part, and one does all the work. And what is written goes to a place that is already there, in the batch:
an image of 224 px has 37 pages of memory, and to get and return them costs as much as the resizing.

Shapes: C channels, H W space, h w the size wanted.
"""

import torch
import torchvision.transforms.v2.functional as F
from jaxtyping import UInt8
from torch import Tensor

from olhar.data.reading import interleave

# Elsewhere torchvision resizes floats, which is then faster.
BYTES = torch.backends.cpu.get_cpu_capability() in ("AVX2", "AVX512")


def crop_resize(image: UInt8[Tensor, "C H W"], box: tuple[int, int, int, int], out: UInt8[Tensor, "1 C h w"]) -> None:
    """Write to `out`, in memory order H W C, the part `box`, (top, left, height, width), at another size: bilinear and
    antialiased, as torchvision's crop and resize make it."""
    top, left, height, width = box
    if image.stride(0) != 1:  # what is written is in this order, and must be read so
        image = interleave(image)
    plane, row, column = image.stride()
    start = image.storage_offset() + top * row + left * column
    part = image.as_strided((1, len(image), height, width), (0, plane, row, column), start)
    if BYTES:
        torch.ops.aten._upsample_bilinear2d_aa.out(part, out.shape[2:], False, out=out)
    else:
        out.copy_(F.resize(part, list(out.shape[2:]), antialias=True))
