"""From a file to pixels: any common format to uint8, upright, without alpha, and no larger than wanted.

Shapes: C channels (1 or 3), H W space.
"""

from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import torch
import torchvision.io as tvio
from jaxtyping import UInt8
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile
from torch import Tensor
from torchvision.transforms.v2.functional import rgb_to_grayscale

from olhar.data.header import named_errors, open_image
from olhar.data.sample import Source
from olhar.errors import UserError


def decode(source: Path | Source, side: int | None = None, channels: int = 3) -> UInt8[Tensor, "C H W"]:
    """An image as uint8 [channels, H, W], upright.

    side: where given, a large JPEG is decoded at 1/2, 1/4 or 1/8 of its size (the low frequencies of its cosine
        transform are a smaller image), never so far that its shorter side falls below this.
    channels: 3 for colour, 1 for grey.

    Alpha is laid over white. 16-bit values are divided by 257, so that 65535 becomes 255 (of 16-bit colour the
    high byte is taken); floating-point values must lie in [0, 1]. Of an animation the first frame is taken.

    Raises UserError when the file is absent, no image, damaged, or larger than MAX_PIXELS.
    """
    if not isinstance(source, Path):
        return match_channels(source.render(), channels)
    with named_errors(source), source.open("rb") as file:
        _, image = open_image(source, file)
        small_enough = side is None or min(image.size) < 2 * side
        if isinstance(image, JpegImageFile) and image.mode in ("L", "RGB") and small_enough:
            return decode_jpeg(file, channels)
        if isinstance(image, JpegImageFile) and side is not None:
            image.draft("L" if channels == 1 else image.mode, (side, side))
        image.load()
        ImageOps.exif_transpose(image, in_place=True)
        return to_tensor(flatten(image), channels)


def decode_with_alpha(path: Path, channels: int = 3) -> tuple[UInt8[Tensor, "C H W"], UInt8[Tensor, "1 H W"] | None]:
    """The image as `decode` gives it, and how opaque each pixel is, where the file says so: 0 for transparent."""
    with named_errors(path), path.open("rb") as file:
        _, image = open_image(path, file)
        alpha = None
        if image.has_transparency_data:
            image.load()
            ImageOps.exif_transpose(image, in_place=True)
            alpha = torch.from_numpy(np.array(image.convert("RGBA").getchannel("A")))[None]
    return decode(path, channels=channels), alpha


def decode_jpeg(file: BinaryIO, channels: int) -> UInt8[Tensor, "C H W"]:
    """torchvision's decoder gives the same bytes as Pillow's in half the time, but only at full size."""
    file.seek(0)
    mode = tvio.ImageReadMode.GRAY if channels == 1 else tvio.ImageReadMode.RGB
    data = torch.from_numpy(np.fromfile(file, np.uint8))
    return cast(Tensor, tvio.decode_jpeg(data, mode=mode, apply_exif_orientation=True))


def flatten(image: Image.Image) -> Image.Image:
    """Eight bits a channel, and white where the image is transparent."""
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise UserError(f"pixel values from {values.min()} to {values.max()} do not fit 16 bits")
        return Image.fromarray(((values + 128) // 257).astype(np.uint8))
    if image.mode == "F":
        values = np.asarray(image)
        if not (values.min() >= 0 and values.max() <= 1):  # also false for NaN
            raise UserError(f"floating-point pixels from {values.min()} to {values.max()} do not lie in [0, 1]")
        return Image.fromarray((values * 255).round().astype(np.uint8))
    if image.has_transparency_data:
        white = Image.new("RGBA", image.size, "white")
        return Image.alpha_composite(white, image.convert("RGBA")).convert("RGB")
    return image


def to_tensor(image: Image.Image, channels: int) -> UInt8[Tensor, "C H W"]:
    """The image in colour or grey, in memory order H W C."""
    mode = "L" if channels == 1 else "RGB"
    pixels = np.array(image if image.mode == mode else image.convert(mode))
    return torch.from_numpy(pixels).view(*pixels.shape[:2], channels).permute(2, 0, 1)


def match_channels(image: UInt8[Tensor, "c H W"], channels: int) -> UInt8[Tensor, "C H W"]:
    """Colour from grey by repeating it, grey from colour by the usual weights (Rec. 601)."""
    if image.shape[0] == channels:
        return image
    return rgb_to_grayscale(image) if channels == 1 else image.expand(channels, -1, -1)
