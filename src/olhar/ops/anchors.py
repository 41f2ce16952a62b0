"""Anchors: boxes at every position of a feature map, from which a detector measures its answers (Figure 2.12b).

k shapes stand at each position: in the notes three proportions times three sizes, k = 9. `Grid` knows that they are
repeated, so that overlaps can be computed for rows and columns apart (olhar.ops.matching).

Shapes: L levels, k anchors a position, H W positions of a level, A = Σ H W k anchors of all levels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache

import torch
from jaxtyping import Float
from torch import Tensor

Shape = tuple[float, float]  # width and height in pixels


def shapes(sizes: Sequence[float], proportions: Sequence[float]) -> tuple[Shape, ...]:
    """Every proportion in every size: k = len(proportions) len(sizes) shapes, the sizes of one proportion together.

    Args:
        sizes: √area, in pixels.
        proportions: height over width; 1 is a square.
    """
    return tuple((size / ratio**0.5, size * ratio**0.5) for ratio in proportions for size in sizes)


@dataclass(frozen=True, eq=False)
class Level:
    """The anchors of one feature map: `shapes` at each of height x width positions, `stride` pixels apart."""

    height: int
    width: int
    stride: int
    shapes: tuple[Shape, ...]

    def __len__(self) -> int:
        return self.height * self.width * len(self.shapes)


@dataclass(frozen=True, eq=False)
class Grid:
    """All anchors of one image, level by level, row by row, position by position, the k of a position together.

    Args:
        levels: from the finest to the coarsest.
        offset: where in its cell of stride x stride pixels a position lies: 0.5 is the middle, so that a mirrored
            image has mirrored anchors; 0 the upper left corner, as torchvision has it.
    """

    levels: tuple[Level, ...]
    offset: float = 0.5

    @classmethod
    def over(
        cls,
        size: tuple[int, int],
        strides: Sequence[int],
        shapes: Sequence[Sequence[Shape]],
        offset: float = 0.5,
    ) -> "Grid":
        """The grid over an image of `size` (height, width), whose maps have ⌈size / stride⌉ positions.

        Args:
            shapes: those of each level.
        """
        height, width = size
        levels = [
            Level(-(-height // stride), -(-width // stride), stride, tuple(own))
            for stride, own in zip(strides, shapes, strict=True)
        ]
        return cls(tuple(levels), offset)

    def __len__(self) -> int:
        return sum(map(len, self.levels))

    @property
    def starts(self) -> list[int]:
        """The number of the first anchor of each level, and the number of all of them."""
        starts = [0]
        for level in self.levels:
            starts.append(starts[-1] + len(level))
        return starts

    @cached_property
    def boxes(self) -> Float[Tensor, "A 4"]:
        """x0 y0 x1 y1 of every anchor, in pixels; those at the border reach beyond the image."""
        found = []
        for level in self.levels:
            x, y = self.intervals(level)
            full = (level.height, level.width, len(level.shapes))
            x, y = x[None].expand(*full, 2), y[:, None].expand(*full, 2)
            found.append(torch.stack([x[..., 0], y[..., 0], x[..., 1], y[..., 1]], -1).reshape(-1, 4))
        return torch.cat(found)

    def intervals(self, level: Level) -> tuple[Float[Tensor, "W k 2"], Float[Tensor, "H k 2"]]:
        """From where to where the anchors of a level reach, across and down."""
        half = torch.tensor(level.shapes).view(1, -1, 2) / 2

        def reach(count: int, axis: int) -> Tensor:
            centre = (torch.arange(count).view(-1, 1) + self.offset) * level.stride
            return torch.stack([centre - half[..., axis], centre + half[..., axis]], -1)

        return reach(level.width, 0), reach(level.height, 1)


@lru_cache(maxsize=64)
def grid_over(
    size: tuple[int, int],
    strides: tuple[int, ...],
    sizes: tuple[tuple[float, ...], ...],
    proportions: tuple[float, ...],
) -> Grid:
    """The grid over an image of `size` whose level i has every proportion in each of sizes[i]; made once."""
    return Grid.over(size, strides, [shapes(own, proportions) for own in sizes])
