"""Mosaic: four images on one canvas, so that a batch shows more objects, in more surroundings, than it has images.

After Bochkovskiy et al. 2020 (arXiv 2004.10934, Figure 3). The canvas is cut in four at a random point, and each part
shows a random part of another image, at the scales and with the changes that whole canvases have; objects that a cut
takes too much of are dropped by the one rule for all cuts (olhar.data.box_view.VISIBLE).

Shapes: C channels, h w the canvas.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, cast

import torch

from olhar.data.box_view import OBJECT_KEYS
from olhar.data.paired import Paired
from olhar.data.sample import Sample
from olhar.data.transforms import Augment, uniform

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

    def others(self, index: int, epoch: int, count: int) -> list[int]:
        """The three images beside `index`, or none where it is shown alone this time."""
        share, *draws = uniform(self.seed, epoch, [index], 4, first=FIRST)[0].tolist()
        return [int(draw * count) for draw in draws] if share < SHARE else []

    def join(self, samples: Sequence[Sample], indices: Sequence[int], epoch: int) -> Sample:
        """`samples` are one, or four: upper left, upper right, lower left, lower right."""
        if len(samples) == 1:
            return self.part.sample(samples[0], indices[0], epoch)
        height, width = self.part.canvas
        u, v = uniform(self.seed, epoch, [indices[0]], 2, first=FIRST + 4)[0].tolist()
        y, x = (round(side * (MIDDLE + (1 - 2 * MIDDLE) * draw)) for side, draw in ((height, u), (width, v)))
        places = ((0, 0, y, x), (0, x, y, width), (y, 0, height, x), (y, x, height, width))
        image = torch.empty(height, width, samples[0]["image"].shape[0], dtype=torch.uint8).permute(2, 0, 1)
        objects: dict[str, list[torch.Tensor]] = {key: [] for key in OBJECT_KEYS}
        for sample, index, (top, left, bottom, right) in zip(samples, indices, places, strict=True):
            shown = replace(self.part, canvas=(bottom - top, right - left)).sample(sample, index, epoch)
            image[:, top:bottom, left:right] = shown["image"]
            start = torch.tensor([left, top, left, top])
            for key in OBJECT_KEYS:
                objects[key].append(shown[key] + start if key == "boxes" else shown[key])
        result: dict[str, Any] = dict(samples[0])
        result |= {"image": image, "size": torch.tensor([height, width])}
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
