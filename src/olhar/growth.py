"""The same few images, drawn again and again while a run learns to draw, and more of them in the end.

What is asked for comes from the validation split; the seed of an image is its place. What differs between two moments
is therefore what was learnt between them. All of it lies in the run folder, and the report shows it.

Shapes: C channels, H W space.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor
from torchvision.transforms.v2.functional import pil_to_tensor

from olhar import sheet
from olhar.data.sample import Record
from olhar.errors import UserError
from olhar.generate import GUIDANCE, SAMPLER, Drawing, Drawn, Trained, Wish
from olhar.ops.samplers import STEPS
from olhar.report.story import Moment, Samples

IMAGES, BRIEF = 8, 10  # of a moment: images, and steps of each; half of what a good image takes shows what it will be
MOST, BATCH = 24, 12  # images in the end, where there is time, and how many at once
STRIPS = 4  # of them shown with the way they came
SHARE = 0.05  # of the training time that the moments, and of it again that the last images may take


@dataclass(frozen=True)
class Moments:
    """When it is drawn: after which evaluations, counted from 1; and how many images in the end."""

    after: tuple[int, ...]
    images: int


def wishes(records: Sequence[Record], class_names: Sequence[str]) -> tuple[str | None, ...]:
    """What is asked for: the classes or captions of some records, at most `MOST`, evenly spread over all; of images
    alone whatever comes."""
    said = list(dict.fromkeys(record.captions[0] for record in records if record.captions)) or list(class_names)
    every = max(1.0, len(said) / MOST)
    return tuple(said[int(i * every)] for i in range(min(MOST, len(said)))) or (None,)


class Growth:
    """Draws what `texts` ask for with a run that may still be training, into `folder`.

    No random number is taken from anywhere but the images' own generators, and the task is left in its mode.
    """

    def __init__(self, run: Trained, folder: Path, texts: Sequence[str | None]):
        self.run, self.folder, self.texts = run, folder, tuple(texts)
        self.guidance = 1.0 if self.texts[0] is None else GUIDANCE
        self.moments = Moments((), 0)

    def plan(self, evaluations: int, image: float = 0.0, seconds: float = math.inf) -> Moments:
        """After the first evaluation, the second, the fourth, the eighth ... and the last: most is learnt early.

        Args:
            image: seconds in which the network sees one image.
            seconds: of the training. Where `SHARE` of it is too short for all, the earliest moments are left out; where
                it is too short for all images of the end, some of them.
        """
        affordable = SHARE * seconds / max(image, 1e-9)
        after = sorted({*(2**i for i in range(evaluations.bit_length())), evaluations})
        kept = int(min(affordable / self.passes(IMAGES, BRIEF), len(after)))
        most = len(self.texts) * math.ceil(MOST / len(self.texts))  # each text as often as the others
        last = int(min(affordable / self.passes(1, STEPS[SAMPLER]), most))
        return Moments(tuple(after[len(after) - kept :]), last)

    def passes(self, images: int, steps: int) -> int:
        """How many images the network sees to draw some: guided by a text it looks at each twice."""
        return images * steps * (1 if self.guidance == 1 else 2)

    def passes_after(self, moments: Moments) -> int:
        """Of them those for which training has to stop in time."""
        return self.passes(IMAGES, BRIEF) * bool(moments.after) + self.passes(moments.images, STEPS[SAMPLER])

    def due(self, before: int, now: int) -> bool:
        """Whether there is a moment among the evaluations after `before`, up to `now`."""
        return any(before < number <= now for number in self.moments.after)

    def draw(self, images: int, steps: int, strips: int = 0) -> Iterator[Drawn]:
        """The first `images` of all there could be, a batch at a time; with the way that the first `strips` came."""
        task = self.run.task
        training = task.training
        task.eval()
        try:
            wish = Wish(texts=tuple(dict.fromkeys(self.texts)), sampler=SAMPLER, steps=steps, guidance=self.guidance)
            jobs = [(self.texts[i % len(self.texts)], i) for i in range(images)]
            for start in range(0, images, BATCH):
                drawing = Drawing(self.run, replace(wish, strip=start < strips))
                drawn = drawing.draw(jobs[start : start + BATCH], lambda share: None)
                yield from (one if start + i < strips else replace(one, strip=[]) for i, one in enumerate(drawn))
        finally:
            task.train(training)

    def moment(self, number: int, **when: Any) -> None:
        """Draw and keep what the weights are able to after the evaluation `number`; `when`: step, epoch, seconds.

        Raises UserError where what is drawn is no number, or it cannot be written.
        """
        drawn = list(self.draw(IMAGES, BRIEF))
        told = {**when, "texts": [one.settings.get("text") for one in drawn], "steps": BRIEF}
        write(self.folder / f"moment-{number:04d}.png", [one.image for one in drawn], told)

    def end(self) -> None:
        """Draw and keep the images of the end: one file each, as `olhar generate` writes them.

        Raises UserError as `moment` does.
        """
        if not self.moments.images:
            return
        columns = len(self.texts) if 1 < len(self.texts) <= BATCH else None  # few classes: each below itself
        drawn = self.draw(self.moments.images, STEPS[SAMPLER], STRIPS)
        for path, one in sheet.save(drawn, self.folder / "last", columns=columns):
            if one.strip:
                write(path.with_suffix(".strip.png"), one.strip, one.settings)


def write(path: Path, images: Sequence[Tensor], settings: dict[str, Any]) -> None:
    """Images [C, H, W] of one size side by side as one PNG that tells `settings`."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        sheet.to_picture(torch.cat(list(images), 2)).save(path, pnginfo=sheet.told(settings | {"images": len(images)}))
    except OSError as error:
        raise UserError(f"Could not write {path}: {error.strerror}.") from error


def read(path: Path) -> tuple[list[Tensor], dict[str, Any]]:
    """What `write` wrote."""
    settings = sheet.settings_of(path)
    with Image.open(path) as picture:
        whole = pil_to_tensor(picture)
    return list(whole.chunk(settings.get("images", 1), 2)), settings


def samples(folder: Path) -> Samples | None:
    """What was drawn of a run so far, for its report; None where nothing was."""
    grown, last, strips = [], [], []
    for path in sorted(folder.glob("moment-*.png")):
        images, told = read(path)
        grown.append(Moment(told["epoch"], told["seconds"], images, told["texts"]))
    for path in sorted((folder / "last").glob("[0-9]*.png")):
        images, told = read(path)
        (strips if path.stem.endswith(".strip") else last).append((told.get("text"), images))
    if not grown and not last:
        return None
    return Samples(grown, [(text, images[0]) for text, images in last], strips)
