"""Mosaic: four images on one canvas, so that a batch shows more objects, in more surroundings, than it has images.

After Bochkovskiy et al. 2020 (arXiv 2004.10934, Figure 3). The canvas is cut in four at a random point, and each part
shows a random part of another image, at the scales and with the changes that whole canvases have; objects that a cut
takes too much of are dropped by the one rule for all cuts (olhar.data.box_view.VISIBLE).

Shapes: C channels, h w the canvas.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, ClassVar, cast

import torch
from jaxtyping import UInt8
from torch import Tensor

from olhar.data.box_view import OBJECT_KEYS
from olhar.data.paired import Chance, Paired
from olhar.data.sample import Found, Sample, without_image
from olhar.data.transforms import Augment, Indices, uniform

SHARE = 0.5  # of the training images: the others look as those do that the model will be asked about
MIDDLE = 0.3  # share of a side that each part has at least: in less no object is whole
FIRST = 8  # which of an index's random numbers are the mosaic's: those before are `Paired`'s


@dataclass(frozen=True)
class Mosaic(Augment):
    """Args:
    part: how each of the four images is changed; its canvas is the whole one.
    """

    part: Paired
    name: ClassVar[str] = "mosaic"
    per_image: ClassVar[bool] = True

    @property
    def size(self) -> tuple[int, int]:
        return self.part.canvas

    def others(self, index: Indices, epoch: int, count: int) -> list[list[int]]:
        """The three images beside each, or none where it is shown alone this time."""
        draws = uniform(self.seed, epoch, index, 4, first=FIRST).tolist()
        return [[int(u * count) for u in rest] if share < SHARE else [] for share, *rest in draws]

    def piece(self, groups: Sequence[Sequence[Found]], epoch: int, out: UInt8[Tensor, "N C h w"]) -> list[Sample]:
        """Groups are of one, or of four: upper left, upper right, lower left, lower right."""
        chances = self.part.chances([place for group in groups for place, _ in group], epoch)
        points = uniform(self.seed, epoch, [group[0][0] for group in groups], 2, first=FIRST + 4).tolist()
        made = []
        for group, point, canvas in zip(groups, points, out, strict=True):
            samples, own = [sample for _, sample in group], list(islice(chances, len(group)))
            if len(group) == 1:
                made.append(self.part.show(samples[0], own[0], canvas))
            else:
                made.append(self.show(samples, own, point, canvas))
        return made

    def show(
        self, samples: Sequence[Sample], chances: Sequence[Chance], point: Sequence[float], out: UInt8[Tensor, "C h w"]
    ) -> Sample:
        """Four samples on one canvas, cut at `point`, two numbers in [0, 1)."""
        height, width = self.part.canvas
        y, x = (round(side * (MIDDLE + (1 - 2 * MIDDLE) * u)) for side, u in zip((height, width), point, strict=True))
        places = ((0, 0, y, x), (0, x, y, width), (y, 0, height, x), (y, x, height, width))
        objects: dict[str, list[Tensor]] = {key: [] for key in OBJECT_KEYS}
        for sample, chance, (top, left, bottom, right) in zip(samples, chances, places, strict=True):
            shown = self.part.show(sample, chance, out[:, top:bottom, left:right])
            start = torch.tensor([left, top, left, top])
            for key in OBJECT_KEYS:
                objects[key].append(shown[key] + start if key == "boxes" else shown[key])
        result: dict[str, Any] = {**without_image(samples[0]), "size": torch.tensor([height, width])}
        result |= {key: torch.cat(values) for key, values in objects.items()}
        return cast(Sample, result)

    def describe(self) -> str:
        return f"{self.part.describe()}; {SHARE:.0%} of what is shown is put together of parts of four images"


def make_mosaic(augment: Augment, canvas: tuple[int, int], detail: float) -> Mosaic:
    """A mosaic of images changed as `augment` does; of small images the parts keep their scale and their colours."""
    if not isinstance(augment, Paired):
        size, flip, seed = augment.image_size, augment.flip, augment.seed
        augment = Paired(size, flip, seed, canvas, detail, zoom=(1.0, 1.0), stretch=1.0, recolour=False)
    return Mosaic(augment.image_size, augment.flip, augment.seed, augment)
