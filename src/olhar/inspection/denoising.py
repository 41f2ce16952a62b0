"""A run that learnt to draw, watched at work: an image on its way to noise, noise on its way to an image (Figure 5.2),
and which places look at which words of a caption meanwhile.

Shapes: N images, h heads, L positions, S tokens, C channels, H W space, M moments.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import interpolate

from olhar.data.text import Tokenizer
from olhar.inspection.attention import attention_weights_of
from olhar.models.dit import DiT
from olhar.models.guided import Guided
from olhar.ops.noise import Estimate
from olhar.ops.samplers import make_sampler
from olhar.tasks.diffuse import Diffuse


class Word(NamedTuple):
    """A word of a caption, and its tokens: from `start` up to `end`."""

    text: str
    start: int
    end: int


class Step(NamedTuple):
    """One step of the way back: x at `level`, what the network takes it for, and the attention of its places to each
    token [N, S, H, W], shares that sum to 1 over the tokens; None where it reads no text."""

    level: int
    noisy: Float[Tensor, "N C H W"]
    image: Float[Tensor, "N C H W"]
    attention: Float[Tensor, "N S H W"] | None


@dataclass(frozen=True)
class Asked:
    """What a network is told: a class, or the tokens of a text, or neither; and how far it goes beyond what it would
    draw without."""

    label: Int64[Tensor, " N"] | None
    tokens: Int64[Tensor, "N S"] | None
    guidance: float = 2.0


def noised(
    task: Diffuse, image: Float[Tensor, "1 C H W"], levels: Sequence[int], seed: int
) -> Float[Tensor, "M C H W"]:
    """q(x_t | x₀) of one image at the levels, with the same noise in all, so that only its share grows."""
    noise = torch.randn(image.shape, generator=torch.Generator().manual_seed(seed)).to(image)
    at = torch.tensor(levels, device=image.device)
    every = image.expand(len(levels), -1, -1, -1)
    return task.process.mix(every, noise.expand_as(every), at)


def way_back(
    task: Diffuse, noise: Float[Tensor, "N C H W"], levels: Sequence[int], asked: Asked
) -> Iterator[Step | Float[Tensor, "N C H W"]]:
    """The steps from pure noise down the levels, and last the result. Attention is that of the pass that is told."""
    steps: list[Step] = []

    def predict(x: Tensor, level: int) -> Estimate:
        at = torch.full((len(x),), level, device=x.device)
        with looks_at_words(task.model) as looks:
            said = task.say(x, at, asked.label, asked.tokens).float()
        if asked.guidance != 1 and (asked.label is not None or asked.tokens is not None):
            without = task.hidden(asked.label, asked.tokens, torch.ones(len(x), dtype=torch.bool, device=x.device))
            silent = task.say(x, at, *without).float()
            said = silent + asked.guidance * (said - silent)
        estimate = task.estimate(said, x, at)
        steps.append(Step(level, x, estimate.image, joined(looks(), x.shape[2:]) if asked.tokens is not None else None))
        return estimate

    result = noise
    for state in make_sampler("ddim")(predict, noise, task.process, levels, lambda: torch.zeros_like(noise)):
        result = state.noisy
        yield steps[-1]
    yield result


@contextmanager
def looks_at_words(model: nn.Module) -> Iterator[Callable[[], list[Float[Tensor, "N h P S"]]]]:
    """What says, once the model has spoken, how its places look at the tokens of the text, one tensor a layer."""
    if not (isinstance(model, Guided) and isinstance(model.denoiser, DiT)):
        with attention_weights_of(model, cross=True) as weights:
            yield lambda: list(weights.values())
        return
    words = model.reader.length
    with attention_weights_of(model.denoiser, cross=None) as joint:

        def looks() -> list[Tensor]:  # places and words stand in one row, the words last; the last layer asks no words
            places = [one.shape[3] - words for one in joint.values()]
            found = [one[:, :, :count, count:] for one, count in zip(joint.values(), places, strict=True)]
            return [one / one.sum(-1, keepdim=True) for one in found]

        yield looks


def joined(weights: Sequence[Float[Tensor, "N h _ S"]], size: Sequence[int]) -> Float[Tensor, "N S H W"]:
    """The mean over heads and layers, [N, h, L, S] each, all brought to the size of the finest map (Tang et al. 2023,
    arXiv 2210.04885, who sum them)."""
    maps = []
    for one in weights:
        rows = round(math.sqrt(one.shape[2] * size[0] / size[1]))
        maps.append(one.mean(1).transpose(1, 2).unflatten(2, (rows, -1)))
    finest = max((tuple(one.shape[2:]) for one in maps), key=math.prod)
    return torch.stack([interpolate(one, size=finest, mode="bilinear") for one in maps]).mean(0)


def words_of(tokenizer: Tokenizer, text: str, length: int) -> list[Word]:
    """Which tokens of `text`, encoded to `length`, belong to which word; those that were cut off are left out."""
    words, start = [], 1  # after the start token
    for word, pieces in zip(text.split(), tokenizer.pieces(text.split()), strict=True):
        end = start + len(pieces)
        if pieces and end < length:
            words.append(Word(word, start, end))
        start = end
    return words
