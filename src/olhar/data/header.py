"""What a file says about itself before a pixel is decoded. Needs Pillow and no torch, so that looking at a folder is
quick.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL.BmpImagePlugin import BmpImageFile
from PIL.GifImagePlugin import GifImageFile
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.TiffImagePlugin import TiffImageFile
from PIL.WebPImagePlugin import WebPImageFile

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
    turned: bool  # EXIF asks for a rotation or reflection


def header(path: Path) -> Header:
    """Format, size and mode from the first bytes of a file, no pixel decoded (about 0.1 ms).

    Raises UserError when the file is absent, is no image, or is larger than MAX_PIXELS.
    """
    with named_errors(path), path.open("rb") as file:
        return read_header(path, file)


def read_header(path: Path, file: BinaryIO) -> Header:
    """The same of a file that is open at its start; it raises whatever Pillow raises."""
    name, image = open_image(path, file)
    width, height = image.size
    # Pillow turns a TIFF by itself; without an EXIF block there is nothing to look up
    orientation = image.getexif().get(ORIENTATION, 1) if "exif" in image.info and name != "TIFF" else 1
    if orientation >= 5:
        width, height = height, width
    extension_ok = path.suffix.lower() in FORMATS[name].extensions
    return Header(name, width, height, image.mode, extension_ok, orientation != 1)


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
