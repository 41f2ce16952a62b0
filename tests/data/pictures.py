"""Small images and masks, for the tests of readers and of the doctor."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def photo(path: Path, height: int = 16, width: int = 20) -> Path:
    """Noise, of no two paths the same."""
    path.parent.mkdir(parents=True, exist_ok=True)
    noise = np.random.default_rng(list(str(path).encode()))
    Image.fromarray(noise.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
    return path


def stripes(values: Sequence[int], height: int = 16, width: int = 20) -> np.ndarray:
    """Values side by side, each as wide as the others."""
    columns = [values[x * len(values) // width] for x in range(width)]
    return np.tile(np.array(columns), (height, 1))


def mask(path: Path, values: Sequence[int] = (0, 1), height: int = 16, width: int = 20) -> Path:
    """Stripes of these values in a grey file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(stripes(values, height, width).astype(np.uint8)).save(path)
    return path


def coloured(path: Path, colours: Sequence[tuple[int, int, int]], height: int = 16, width: int = 20) -> Path:
    """Stripes of these colours."""
    path.parent.mkdir(parents=True, exist_ok=True)
    indices = stripes(range(len(colours)), height, width)
    Image.fromarray(np.array(colours, np.uint8)[indices]).save(path)
    return path
