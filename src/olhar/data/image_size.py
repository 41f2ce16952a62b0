"""How large an image is, asked once a file: boxes are written in its pixels, and nobody wants to decode it for that."""

from functools import lru_cache
from pathlib import Path

from olhar.data.header import header
from olhar.data.sample import Source


def size_of(image: "Path | Source") -> tuple[int, int]:
    """(height, width) in pixels, upright. Raises UserError where the file cannot be read."""
    if not isinstance(image, Path):
        return _drawn(image)
    try:
        written = image.stat().st_mtime_ns
    except OSError:
        written = 0  # `header` says what is wrong with it
    return _of_file(image, written)


@lru_cache(maxsize=1 << 18)
def _of_file(path: Path, written: int) -> tuple[int, int]:
    """A file that was written again is looked at again."""
    found = header(path)
    return found.height, found.width


@lru_cache(maxsize=1 << 18)
def _drawn(source: Source) -> tuple[int, int]:
    _, height, width = source.render().shape
    return height, width
