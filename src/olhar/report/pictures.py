"""Images small enough to lie inside the page.

Shapes: C channels, H W space.
"""

import base64
import io
import re

import numpy as np
from jaxtyping import UInt8
from PIL import Image
from torch import Tensor

# Twice what the page shows, for sharp screens; a picture is then about 5 kB.
LONGEST_SIDE = 208
# Below this an image is shown as its pixels, not blurred, so it is kept without loss.
TINY = 72


def data_uri(image: UInt8[Tensor, "C H W"], side: int = LONGEST_SIDE) -> str:
    """The image as a data URI: WebP, made smaller to `side`, or without loss where it is tiny and shown large."""
    array = image.cpu().numpy()
    picture = Image.fromarray(array[0] if len(array) == 1 else np.ascontiguousarray(array[:3].transpose(1, 2, 0)))
    tiny = max(picture.size) <= TINY < side
    picture.thumbnail((side, side), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "WEBP", quality=80, lossless=tiny, method=4)
    return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"


def lighter(svg: str) -> str:
    """A drawing whose photographs, PNG as matplotlib embeds them, are WebP: a tenth of the bytes."""

    def again(match: re.Match[str]) -> str:
        # matplotlib breaks the lines of what it embeds
        picture = Image.open(io.BytesIO(base64.b64decode(re.sub(r"\s", "", match[1]))))
        buffer = io.BytesIO()
        picture.save(buffer, "WEBP", quality=80, method=4)
        return f"data:image/webp;base64,{base64.b64encode(buffer.getvalue()).decode()}"

    return re.sub(r"data:image/png;base64,([A-Za-z0-9+/=\s]+)", again, svg)
