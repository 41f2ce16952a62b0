"""Ask a trained model for images: from a text, a class or nothing, from an image and a mask (Figures 5.2, 5.3).

Every image has a random generator of its own, so that its seed alone says which it is, whatever is drawn beside it.

Shapes: N images at once, C channels, H W space, L tokens, or channels of latents of h w places.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torchvision.transforms.v2.functional import center_crop

from olhar.data.decode import decode
from olhar.data.reading import shrink
from olhar.data.text import Tokenizer
from olhar.errors import UserError, nearest
from olhar.models.base import DrawingNetwork
from olhar.models.guided import Guided
from olhar.ops.noise import Estimate
from olhar.ops.samplers import SAMPLERS, STEPS, make_sampler
from olhar.tasks import Task
from olhar.tasks.diffuse import Diffuse

GUIDANCE = 2.0  # where a class or a text is asked for: what it says is believed twice
SAMPLER = "dpm2m"  # where the run says none
STRENGTH = 0.7  # of the way back that an image given to begin from goes
SHOWN = 9  # images of the strip of a reverse process
# Values this far outside the range of colours are no longer rounding, and of an image with so many the colours look
# burnt: where guidance asks for more than there is.
BEYOND, BURNT = 25.5, 0.1


@runtime_checkable
class Trained(Protocol):
    """What is needed of a run."""

    task: Task
    device: torch.device
    facts: dict[str, Any]

    def computing(self) -> AbstractContextManager[Any]: ...
    @property
    def tokenizer(self) -> Tokenizer | None: ...


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What is asked for.

    texts: captions, or classes; `n` images of each, with the seeds `seed`, `seed` + 1 ... None: whatever comes.
    sampler, steps: how the way back is gone, and in how many steps; None: as the run says, and as the sampler needs.
    guidance: how far to go from what is drawn without the text to what is drawn with it, and beyond; 1 is with it.
    negative: a text to go away from, in the place of none; from it alone, where nothing else is asked for.
    init_image: a file to begin from, with the share `strength` of the way back to go; of other proportions its middle.
        `mask`: a file that is white where it is to be drawn anew and black where the image stays as it is.
    size: height and width.
    strip: also what each image was thought to be on the way.
    """

    texts: tuple[str | None, ...] = (None,)
    n: int = 1
    seed: int = 0
    sampler: str | None = None
    steps: int | None = None
    guidance: float | None = None
    negative: str | None = None
    init_image: str | Path | None = None
    mask: str | Path | None = None
    strength: float | None = None
    size: tuple[int, int] | None = None
    strip: bool = False


@dataclass(frozen=True)
class Drawn:
    """One image, how it came about, and where it was asked for what it was thought to be on the way."""

    image: UInt8[Tensor, "C H W"]
    settings: dict[str, Any]
    strip: list[UInt8[Tensor, "C H W"]]
    beyond: float = 0.0  # the share of its values that guidance took far outside the range of colours


def generate(
    run: Trained, wish: Wish, batch_size: int = 16, on_step: Callable[[float], None] = lambda share: None
) -> Iterator[Drawn]:
    """The images, as they are finished. `on_step` is told which share of all is done.

    Raises UserError where the run cannot draw, or not what is asked for; the message says what it can.
    """
    drawing = Drawing(run, wish)
    jobs = [(text, wish.seed + i) for text in wish.texts for i in range(wish.n)]
    for start in range(0, len(jobs), batch_size):
        some = jobs[start : start + batch_size]

        def progress(share: float, before: int = start, many: float = len(some)) -> None:
            on_step((before + share * many) / len(jobs))

        yield from drawing.draw(some, progress)


def cut(run: Trained, wish: Wish) -> str | None:
    """What to say where a text is longer than what the run reads of it."""
    tokenizer = run.tokenizer
    if tokenizer is None or not isinstance(run.task, Diffuse):
        return None
    most = run.task.nothing.shape[0]
    for text in filter(None, (*wish.texts, wish.negative)):
        if tokenizer.lengths([text])[0] > most:
            (read,) = tokenizer.decode(tokenizer.encode([text], most))
            return f"'{text}' is longer than the {most} tokens that are read of a text: only '{read}' is drawn."
    return None


def burnt(guidance: float, beyond: Sequence[float]) -> str | None:
    """What to say where guidance was too much for some of the images: `Drawn.beyond` of each."""
    many = [share for share in beyond if share > BURNT]
    if not many:
        return None
    return (
        f"Guidance of {guidance:g} asks for colours that do not exist: up to {max(many):.0%} of the values of "
        f"{len(many)} of {len(beyond)} images were cut off. Try --guidance {max(1.0, guidance / 2):g}."
    )


class Drawing:
    """A wish that was found possible, ready to be drawn in batches."""

    def __init__(self, run: Trained, wish: Wish):
        if not isinstance(run.task, Diffuse):
            raise UserError(f"This run learnt to {run.task.name}, not to draw: train one with --task diffuse.")
        self.run, self.wish, self.task = run, wish, run.task
        self.sampler: str = wish.sampler or run.facts.get("sampler", SAMPLER)
        if self.sampler not in SAMPLERS:
            raise UserError(f"There is no sampler '{self.sampler}': {nearest(self.sampler, SAMPLERS)}")
        process = self.task.process
        self.steps = wish.steps or STEPS[self.sampler]
        if not 1 <= self.steps <= len(process):
            raise UserError(f"A way back has 1 to {len(process)} steps, not {self.steps}.")
        self.size = wish.size or tuple(run.facts["model"]["image_size"])
        model = self.task.model.denoiser if isinstance(self.task.model, Guided) else self.task.model
        assert isinstance(model, DrawingNetwork)
        model.must_fit(self.size)
        self.image, self.mask = self.given()
        self.begin = None if self.image is None else self.task.space(self.image)
        self.fresh = None if self.mask is None else self.task.space.places(self.mask)
        self.beyond = torch.zeros(())
        self.levels = process.levels(self.steps, self.strength if self.begin is not None else 1.0)
        self.guidance = self.guiding()
        self.texts = {text: self.condition(text) for text in wish.texts}
        self.away = self.condition(wish.negative)

    @property
    def strength(self) -> float:
        """The share of the way back that is gone from an image."""
        return STRENGTH if self.wish.strength is None else self.wish.strength

    def guiding(self) -> float:
        """How far to go from what is drawn without the text, or with the negative one, to what is drawn with it."""
        wish, asked = self.wish, any(text is not None for text in self.wish.texts)
        if wish.negative is not None and wish.guidance == 1:
            raise UserError("Guidance of 1 goes away from nothing: give --guidance more than 1, or no --negative.")
        if not asked and wish.negative is None and wish.guidance not in (None, 1):
            raise UserError("Guidance goes towards what a text says: give a text, or leave --guidance out.")
        if wish.guidance is not None:
            return wish.guidance
        return self.run.facts.get("guidance", GUIDANCE) if asked or wish.negative is not None else 1.0

    def given(self) -> tuple[Tensor | None, Tensor | None]:
        """The image to begin from, uint8 [1, C, H, W], and where it is to be drawn anew, True [1, 1, H, W]."""
        wish = self.wish
        if wish.init_image is None:
            if wish.mask is not None:
                raise UserError("A mask says where an image is drawn anew: give the image with --init-image.")
            if wish.strength is not None:
                raise UserError("The strength says how much of an image is drawn anew: give it with --init-image.")
            return None, None
        if not 0 < self.strength <= 1:
            raise UserError(f"The strength is between 0, the image as it is, and 1, a new one, not {self.strength:g}.")
        pixels = decode(Path(wish.init_image), channels=self.task.mean.shape[1])
        image = self.framed(pixels).to(self.run.device)
        if wish.mask is None:
            return image, None
        mask = decode(Path(wish.mask), channels=1)
        if mask.shape[1:] != pixels.shape[1:]:
            sides = [f"{p.shape[2]} x {p.shape[1]}" for p in (mask, pixels)]
            raise UserError(f"{wish.mask} is {sides[0]} and the image {sides[1]}: a mask is as large as its image.")
        return image, self.framed(mask).to(self.run.device) >= 128

    def framed(self, image: UInt8[Tensor, "C H W"]) -> UInt8[Tensor, "1 C h w"]:
        """The middle of an image that has the proportions of what is drawn, as large as that."""
        (height, width), (h, w) = image.shape[1:], self.size
        share = min(height / h, width / w)
        return shrink(center_crop(image, [round(h * share), round(w * share)]), self.size)[None]

    def condition(self, text: str | None) -> Tensor | None:
        """A text as what the model is told: tokens [L], or a class []. None for nothing."""
        if text is None:
            return None
        if (tokenizer := self.run.tokenizer) is not None:
            return tokenizer.encode([text], self.task.nothing.shape[0])[0].to(self.run.device)
        names = self.task.class_names
        if not names:
            raise UserError(
                f"This run learnt from images alone and cannot be told '{text}': leave the text out, "
                "or train on class folders or captions."
            )
        if text not in names:
            raise UserError(f"This run knows classes, and '{text}' is none of them: {nearest(text, names)}")
        return torch.tensor(names.index(text), device=self.run.device)

    @torch.inference_mode()
    def draw(self, jobs: Sequence[tuple[str | None, int]], progress: Callable[[float], None]) -> list[Drawn]:
        """One batch of (text, seed)."""
        task, wish, device = self.task, self.wish, self.run.device
        generators = [torch.Generator().manual_seed(seed) for _, seed in jobs]
        shape = task.space.shape(self.size)
        self.beyond = torch.zeros(len(jobs))

        def fresh() -> Float[Tensor, "N C H W"]:
            return torch.stack([torch.randn(shape, generator=one) for one in generators]).to(device)

        x = fresh()
        if self.begin is not None:
            a, b = task.process.at(self.levels[0])
            x = a * self.begin + b * x
        conditions = [self.texts[text] for text, _ in jobs]
        way = make_sampler(self.sampler)
        shown = [round(i) for i in torch.linspace(0, len(self.levels) - 1, SHOWN).tolist()] if wish.strip else []
        thought: dict[int, Tensor] = {}
        for i, state in enumerate(
            way(lambda x, level: self.think(x, level, conditions), x, task.process, self.levels, fresh)
        ):
            x = state.noisy
            if i in shown:
                thought[i] = self.pixels(state.image)
            progress((i + 1) / len(self.levels))
        if not x.isfinite().all():
            raise UserError("What was drawn is no number any more: try --sampler ddim, or less --guidance.")
        images, kept = self.pixels(x), [thought[i] for i in shown]
        return [
            Drawn(image, self.settings(text, seed), [some[i] for some in kept], float(self.beyond[i]))
            for i, (image, (text, seed)) in enumerate(zip(images, jobs, strict=True))
        ]

    def pixels(self, x: Float[Tensor, "N L h w"]) -> UInt8[Tensor, "N C H W"]:
        """The images, on the CPU; outside the mask the one that was given, which no autoencoder gives back exactly."""
        made = self.task.pixels(x)
        if self.mask is not None and self.image is not None:
            made = torch.where(self.mask, made, self.image)
        return made.cpu()

    def think(self, x: Float[Tensor, "N C H W"], level: int, conditions: list[Tensor | None]) -> Estimate:
        """Image and noise of x, guided by the text, and by what is known of the image."""
        task = self.task
        levels = torch.full((len(x),), level, device=x.device)
        with_text = self.asked(x, levels, conditions)
        said = with_text
        if self.guidance != 1 and (self.away is not None or any(one is not None for one in conditions)):
            without = self.asked(x, levels, [self.away] * len(x))
            said = without + self.guidance * (with_text - without)  # Ho and Salimans 2022, arXiv 2207.12598, Eq 6
            if level == self.levels[-1]:
                colours = task.space.colours(task.process.estimate(task.kind, said, x, levels).image)
                self.beyond = ((colours < -BEYOND) | (colours > 255 + BEYOND)).flatten(1).float().mean(1).cpu()
        estimate = task.estimate(said, x, levels)
        if self.fresh is None or self.begin is None:
            return estimate
        # where the image stays as it is, it need not be guessed
        image = torch.where(self.fresh, estimate.image, self.begin)
        return Estimate(image, task.process.estimate("image", image, x, levels).noise)

    def asked(self, x: Tensor, levels: Tensor, conditions: list[Tensor | None]) -> Tensor:
        """What the model says, told these conditions."""
        task, label, tokens = self.task, None, None
        if self.run.tokenizer is not None:
            tokens = torch.stack([task.nothing if one is None else one for one in conditions])
        elif task.class_names:
            any_class = torch.tensor(len(task.class_names), device=x.device)
            label = torch.stack([any_class if one is None else one for one in conditions])
        with self.run.computing():
            return task.say(x, levels, label, tokens).float()

    def settings(self, text: str | None, seed: int) -> dict[str, Any]:
        """What to ask for to have this image again: plain values."""
        wish = self.wish
        found = {"text": text, "seed": seed, "sampler": self.sampler, "steps": self.steps, "guidance": self.guidance}
        found |= {"size": f"{self.size[1]}x{self.size[0]}", "negative": wish.negative}
        if wish.init_image is not None:
            found |= {"init_image": str(wish.init_image), "strength": self.strength}
            found |= {"mask": None if wish.mask is None else str(wish.mask)}
        return {key: value for key, value in found.items() if value is not None}
