"""What a preset makes of samples, asked for as the loader asks."""

from collections.abc import Sequence

import torch

from olhar.data.sample import Found, Sample
from olhar.data.transforms import Augment


def changed(augment: Augment, sample: Sample, index: int, epoch: int) -> Sample:
    """One sample by itself."""
    return changed_together(augment, [[(index, sample)]], epoch)[0]


def changed_together(augment: Augment, groups: Sequence[Sequence[Found]], epoch: int) -> list[Sample]:
    """Samples, each with those it is joined with behind it."""
    channels = groups[0][0][1]["image"].shape[0]
    images = torch.empty(len(groups), *augment.size, channels, dtype=torch.uint8).permute(0, 3, 1, 2)
    rest = augment.piece(groups, epoch, images)
    return [{**sample, "image": image} for sample, image in zip(rest, images, strict=True)]
