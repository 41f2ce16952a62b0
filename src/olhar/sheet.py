"""Generated images as files: PNGs that say how they came about, a grid of them, the strip of the reverse process
(Figure 5.2).

Shapes: C channels, H W space.
"""

import itertools
import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from torch import Tensor
from torchvision.transforms.v2 import functional as F

from olhar.errors import UserError
from olhar.generate import Drawn

LEAST = 128  # px: smaller images are enlarged by whole numbers in a grid, so that a person sees them
GAP = 2  # px of white between images


@contextmanager
def new_folder(run: Path) -> Iterator[Path]:
    """RUN/generated-1, -2 ...: the first that is not there, made at once, so that nobody else takes it; gone again
    where nothing was written. Raises UserError where it cannot be made."""
    for n in itertools.count(1):
        folder = run / f"generated-{n}"
        try:
            folder.mkdir(parents=True)
            break
        except FileExistsError:
            continue
        except OSError as error:
            raise UserError(f"Could not make {folder}: {error.strerror or error}: say where with --out.") from error
    try:
        yield folder
    finally:
        with suppress(OSError):
            folder.rmdir()  # only where it is empty


def save(drawn: Iterable[Drawn], folder: Path, columns: int | None = None) -> Iterator[tuple[Path, Drawn]]:
    """Write each image as it comes, and pass it on with its file; in the end the grid of all.

    Leaving early keeps what is finished, with the grid of it. Raises UserError where `folder` cannot be written.
    """
    images: list[Tensor] = []
    try:
        for one in drawn:
            folder.mkdir(parents=True, exist_ok=True)
            words = "-".join(re.findall(r"\w+", str(one.settings.get("text", "image"))))[:60]
            path = folder / f"{len(images):04d}-{words}-{one.settings['seed']}.png"
            to_picture(one.image).save(path, pnginfo=told(one.settings))
            if one.strip:
                to_picture(grid(one.strip, len(one.strip))).save(path.with_name(f"{path.stem}.strip.png"))
            images.append(one.image)
            yield path, one
    except OSError as error:
        raise refused(folder, error) from error
    finally:
        if len(images) > 1:
            try:
                to_picture(grid(images, columns)).save(folder / "grid.png")
            except OSError as error:
                raise refused(folder, error) from error


def refused(folder: Path, error: OSError) -> UserError:
    """What to say where nothing more can be written."""
    return UserError(f"Could not write into {folder}: {error.strerror or error}.")


def told(settings: dict[str, Any]) -> PngInfo:
    """The settings as a text of the PNG, by the name of olhar: `settings_of` reads them."""
    info = PngInfo()
    info.add_text("olhar", json.dumps(settings))
    return info


def settings_of(path: str | Path) -> dict[str, Any]:
    """How a generated PNG came about. Raises UserError where it does not say."""
    with Image.open(path) as picture:
        text = picture.info.get("olhar")
    if text is None:
        raise UserError(f"{path} does not say how it came about: it was not written by `olhar generate`.")
    return json.loads(text)


def grid(images: Sequence[UInt8[Tensor, "C H W"]], columns: int | None = None) -> UInt8[Tensor, "C h w"]:
    """Images of one size side by side, about as many rows as columns; small ones enlarged, their pixels kept."""
    channels, height, width = images[0].shape
    times = max(1, LEAST // max(height, width))
    columns = columns or math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    h, w = height * times + GAP, width * times + GAP
    canvas = torch.full((channels, rows * h - GAP, columns * w - GAP), 255, dtype=torch.uint8)
    for i, image in enumerate(images):
        top, left = i // columns * h, i % columns * w
        large = image.repeat_interleave(times, 1).repeat_interleave(times, 2)
        canvas[:, top : top + h - GAP, left : left + w - GAP] = large
    return canvas


def to_picture(image: UInt8[Tensor, "C H W"]) -> Image.Image:
    """As Pillow has it."""
    return F.to_pil_image(image)
