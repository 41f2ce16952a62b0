"""From a file to pixels: any common format to uint8, upright, without alpha, and no larger than wanted.

Shapes: C channels (1 or 3), H W space.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import torch
import torchvision.io as tvio
from jaxtyping import UInt8
from PIL import Image, ImageOps
from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile
from torch import Tensor
from torchvision.transforms.v2.functional import rgb_to_grayscale

from olhar.data.sample import Source
from olhar.errors import UserError

# 400 megapixels are 1.2 GB of RGB; a file of a few kB can claim to be far larger (a decompression bomb)
MAX_PIXELS = 400_000_000
ORIENTATION = 0x0112  # EXIF tag; its values 5 to 8 lay the image on its side


@dataclass(frozen=True)
class Format:
    """How a file of one format begins, what opens it, and the extensions people give it."""

    begins: bytes  # a regular expression
    open: type[ImageFile]
    extensions: tuple[str, ...]


# Opened by these classes and not by Image.open: nothing else Pillow knows (PostScript, fonts ...) is ever tried
# on a stranger's file, and the limit of size is ours instead of a global of Pillow's.
FORMATS = {
    "JPEG": Format(rb"\xff\xd8\xff", JpegImageFile, (".jpg", ".jpeg", ".jpe", ".jfif")),
    "PNG": Format(rb"\x89PNG\r\n\x1a\n", PngImageFile, (".png",)),
    "WebP": Format(rb"RIFF....WEBP", WebPImageFile, (".webp",)),
    "BMP": Format(rb"BM", BmpImageFile, (".bmp", ".dib")),
    "TIFF": Format(rb"II[*+]\0|MM\0[*+]", TiffImageFile, (".tif", ".tiff")),
    "GIF": Format(rb"GIF8[79]a", GifImageFile, (".gif",)),
}
IMAGE_EXTENSIONS = frozenset(extension for f in FORMATS.values() for extension in f.extensions)


@dataclass(frozen=True)
class Header:
    """What a file says about itself. `width` and `height` are upright, in pixels: the EXIF turn is counted in."""

    format: str
    width: int
    height: int
    mode: str  # Pillow's name of the pixel format: RGB, L, P, RGBA, CMYK, I;16 ...
    extension_ok: bool  # the extension belongs to the format


def header(path: Path) -> Header:
    """Format, size and mode from the first bytes of a file, no pixel decoded (about 0.1 ms).

    Raises UserError when the file is absent, is no image, or is larger than MAX_PIXELS.
    """
    with named_errors(path), path.open("rb") as file:
        name, image = open_image(path, file)
        width, height = image.size
        # Pillow turns a TIFF by itself; without an EXIF block there is nothing to look up
        if "exif" in image.info and name != "TIFF" and image.getexif().get(ORIENTATION, 1) >= 5:
            width, height = height, width
        return Header(name, width, height, image.mode, path.suffix.lower() in FORMATS[name].extensions)


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


def decode_jpeg(file: BinaryIO, channels: int) -> UInt8[Tensor, "C H W"]:
    """torchvision's decoder gives the same bytes as Pillow's in half the time, but only at full size."""
    file.seek(0)
    mode = tvio.ImageReadMode.GRAY if channels == 1 else tvio.ImageReadMode.RGB
    data = torch.from_numpy(np.fromfile(file, np.uint8))
    return cast(Tensor, tvio.decode_jpeg(data, mode=mode, apply_exif_orientation=True))


def open_image(path: Path, file: BinaryIO) -> tuple[str, ImageFile]:
    """The format by the first bytes, whatever the extension says, and the image with its header read."""
    start = file.read(16)
    file.seek(0)
    for name, known in FORMATS.items():
        if re.match(known.begins, start, re.DOTALL):
            image = known.open(file, str(path))
            width, height = image.size
            if width * height > MAX_PIXELS:
                raise UserError(
                    f"{path} claims {width} x {height} pixels, more than the {MAX_PIXELS // 10**6} million "
                    "read here: make it smaller or remove it."
                )
            return name, image
    what = f"is not an image: it begins with {start[:8]!r}" if start else "is empty"
    raise UserError(f"{path} {what}; replace or remove it. Read are {', '.join(FORMATS)}.")


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


@contextmanager
def named_errors(path: Path) -> Iterator[None]:
    """Whatever goes wrong with a file becomes one sentence that names it."""
    try:
        yield
    except FileNotFoundError as error:
        raise UserError(f"{path} does not exist.") from error
    except PermissionError as error:
        raise UserError(f"{path} may not be read by this user: change its permissions.") from error
    except UserError as error:
        if str(path) in str(error):
            raise
        raise UserError(f"{path}: {error}; convert the image to 8 bits.") from error
    except Exception as error:
        # decoders meet arbitrary bytes and raise nearly anything: OSError, SyntaxError, struct.error, RuntimeError
        raise UserError(f"{path} is damaged or cut off ({short(error)}): replace or remove it.") from error


def short(error: Exception) -> str:
    """The decoder's own words, without the place in its source code."""
    return re.sub(r"^\w+, \S+:\d+, ", "", str(error).partition("\n")[0])[:100] or type(error).__name__
