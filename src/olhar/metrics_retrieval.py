"""How well captions find their images and images their captions, over a whole split.

Shapes: I images, T captions that differ, n m of one batch, E width of the common space.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import blake2b

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

AT = (1, 5, 10)
ROWS = 1024  # of the matrix of similarities at a time: 25,000 captions then take 100 MB


@dataclass(frozen=True)
class Ranks:
    """Where what belongs together stands when all is ordered by similarity; 1 is first.

    Args:
        of_text: of each image its best caption's place among the captions, [I].
        of_image: of each caption its best image's place among the images, [T].
        captions: of each image how many of the captions belong to it, [I]; `images`: the reverse, [T].
    """

    of_text: Float[Tensor, " I"]
    of_image: Float[Tensor, " T"]
    captions: Int[Tensor, " I"]
    images: Int[Tensor, " T"]

    def scores(self) -> dict[str, Tensor]:
        """Recall at 1, 5 and 10 both ways, median ranks, the recalls of who guesses, and means over all recalls."""
        found: dict[str, Tensor] = {}
        ways = {"image_to_text": self.of_text, "text_to_image": self.of_image}
        for name, ranks in ways.items():
            found |= {f"{name}_recall_{k}": (ranks <= k).double().mean() for k in AT}
            found[f"{name}_median_rank"] = ranks.double().median()
        by_chance = {k: (guess(self.captions, len(self.images), k) + guess(self.images, len(self.captions), k)) / 2
                     for k in AT}  # fmt: skip
        recalls = [found[f"{name}_recall_{k}"] for name in ways for k in AT]
        mean = {"mean_recall": torch.stack(recalls).mean(), "mean_recall_chance": sum(by_chance.values()) / len(AT)}
        return mean | found | {f"recall_{k}_chance": value for k, value in by_chance.items()}  # type: ignore[return-value]


def guess(belonging: Int[Tensor, " n"], count: int, k: int) -> Float[Tensor, ""]:
    """Mean chance that k of `count`, at random, hold one of the m that belong: 1 - C(count - m, k) / C(count, k)."""
    k = min(k, count)
    missed = [math.comb(count - m, k) / math.comb(count, k) for m in belonging.tolist()]
    return torch.tensor(1 - sum(missed) / max(len(missed), 1), dtype=torch.float64)


def ranks(image: Float[Tensor, "I E"], text: Float[Tensor, "T E"], belongs: Bool[Tensor, "I T"] | Tensor) -> Ranks:
    """Places by similarity. What is exactly as similar stands before and after in turn: half of it counts, so that
    who gives all the same vector is no better than who guesses."""
    of_text = torch.cat(
        [best_place(some @ text.mT, own) for some, own in zip(image.split(ROWS), belongs.split(ROWS), strict=True)]
    )
    of_image = torch.cat(
        [best_place(some @ image.mT, own) for some, own in zip(text.split(ROWS), belongs.mT.split(ROWS), strict=True)]
    )
    return Ranks(of_text, of_image, belongs.sum(1), belongs.sum(0))


def best_place(similarity: Float[Tensor, "n m"], belongs: Bool[Tensor, "n m"]) -> Float[Tensor, " n"]:
    """Of each row the place of the most similar of what belongs to it, among what does not."""
    best = similarity.masked_fill(~belongs, -torch.inf).amax(1, keepdim=True)
    more = ((similarity > best) & ~belongs).sum(1)
    alike = ((similarity == best) & ~belongs).sum(1)
    return 1 + more + alike / 2


class Retrieval(Metric):
    """Fed with unit vectors of images [n, E] and captions [m, E], keys of the images [n], for each caption the key of
    its image [m], and keys of the captions [m], equal where captions are: they are candidates once."""

    full_state_update = False
    image: list[Tensor]
    text: list[Tensor]
    image_key: list[Tensor]
    owner: list[Tensor]
    text_key: list[Tensor]

    def __init__(self) -> None:
        super().__init__()
        for name in ("image", "text", "image_key", "owner", "text_key"):
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, image: Tensor, text: Tensor, image_key: Tensor, owner: Tensor, text_key: Tensor) -> None:
        """Add one batch."""
        self.image.append(image.float())
        self.text.append(text.float())
        self.image_key.append(image_key)
        self.owner.append(owner)
        self.text_key.append(text_key)

    def compute(self) -> dict[str, Tensor]:
        """See `Ranks.scores`."""
        names = (self.image, self.text, self.image_key, self.owner, self.text_key)
        image, text, image_key, owner, text_key = (dim_zero_cat(state) for state in names)
        image, image_key, _ = distinct(image, image_key)
        text, _, place = distinct(text, text_key)
        belongs = torch.zeros(len(image), len(text), dtype=torch.bool, device=image.device)
        order = image_key.argsort()
        belongs[order[torch.searchsorted(image_key[order], owner)], place] = True
        return ranks(image, text, belongs).scores()


def distinct(vectors: Float[Tensor, "n E"], keys: Int[Tensor, " n"]) -> tuple[Tensor, Tensor, Tensor]:
    """The vectors of each key once, the keys, and for each of the n which it became."""
    unique, place = keys.unique(return_inverse=True)
    first = torch.empty_like(unique).scatter_(0, place.flip(0), torch.arange(len(keys), device=keys.device).flip(0))
    return vectors[first], unique, place


def name_keys(names: Sequence[str]) -> Int[Tensor, " n"]:
    """A number for each name, the same in every process: processes exchange tensors and no text."""
    digests = (blake2b(name.encode(), digest_size=8).digest() for name in names)
    return torch.tensor([int.from_bytes(digest, "big", signed=True) for digest in digests], dtype=torch.int64)
