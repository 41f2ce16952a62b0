"""How well captions find their images and images their captions, over a whole split.

Shapes: I images, T captions that differ, n m of one batch, E width of the common space, P patches of an image, L tokens
of a caption.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from olhar.ops.rerank import reordered, rerank

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


@dataclass(frozen=True)
class Parts:
    """What is compared closely: patches [I, P, E] with words [T, L, E], by `compare`, which gives [I, T]; `share`: how
    much that counts beside the product of the vectors."""

    patches: Tensor
    words: Tensor
    compare: Callable[[Tensor, Tensor], Tensor]
    share: float

    def texts(self, similarity: Float[Tensor, "n T"], first: int = 0) -> tuple[Tensor, Tensor]:
        """Of the images `first`, `first` + 1, ... the nearest texts; see `rerank`."""

        def closer(i: int, some: Tensor) -> Tensor:
            return self.compare(self.patches[first + i : first + i + 1], self.words[some])[0]

        return rerank(similarity, closer, self.share)

    def images(self, similarity: Float[Tensor, "n I"], first: int = 0) -> tuple[Tensor, Tensor]:
        """Of the texts `first`, `first` + 1, ... the nearest images."""

        def closer(i: int, some: Tensor) -> Tensor:
            return self.compare(self.patches[some], self.words[first + i : first + i + 1])[:, 0]

        return rerank(similarity, closer, self.share)


def ranks(
    image: Float[Tensor, "I E"],
    text: Float[Tensor, "T E"],
    belongs: Bool[Tensor, "I T"] | Tensor,
    parts: Parts | None = None,
) -> Ranks:
    """Places by similarity; with `parts` the nearest are compared again. What is exactly as similar stands before and
    after in turn: half of it counts, so that who gives all the same vector is no better than who guesses."""
    of_text = all_places(image, text, belongs, parts.texts if parts else None)
    of_image = all_places(text, image, belongs.mT, parts.images if parts else None)
    return Ranks(of_text, of_image, belongs.sum(1), belongs.sum(0))


def all_places(
    asking: Float[Tensor, "n E"],
    found: Float[Tensor, "m E"],
    belongs: Bool[Tensor, "n m"],
    again: Callable[[Tensor, int], tuple[Tensor, Tensor]] | None,
) -> Float[Tensor, " n"]:
    """`best_place` of each row of `asking` among the rows of `found`."""
    places = []
    for start in range(0, len(asking), ROWS):
        similarity = asking[start : start + ROWS] @ found.mT
        if again is not None:
            similarity = reordered(similarity, *again(similarity, start))
        places.append(best_place(similarity, belongs[start : start + ROWS]))
    return torch.cat(places)


def best_place(similarity: Float[Tensor, "n m"], belongs: Bool[Tensor, "n m"]) -> Float[Tensor, " n"]:
    """Of each row the place of the most similar of what belongs to it, among what does not."""
    best = similarity.masked_fill(~belongs, -torch.inf).amax(1, keepdim=True)
    more = ((similarity > best) & ~belongs).sum(1)
    alike = ((similarity == best) & ~belongs).sum(1)
    return 1 + more + alike / 2


STATES = ("image", "text", "image_key", "owner", "text_key", "patches", "words")


class Retrieval(Metric):
    """Fed with unit vectors of images [n, E] and captions [m, E], keys of the images [n], for each caption the key of
    its image [m], and keys of the captions [m], equal where captions are: they are candidates once.

    Args:
        compare, share: of patches [n, P, E] and words [m, L, E], then fed too, how alike they are, [n, m], and how much
            it counts. The nearest are put in order by it, as a search does; "mean_recall_before" is by vectors alone.
    """

    full_state_update = False

    def __init__(self, compare: Callable[[Tensor, Tensor], Tensor] | None = None, share: float = 1.0) -> None:
        super().__init__()
        self.compare, self.share, self.fed = compare, share, STATES if compare else STATES[:5]
        for name in self.fed:
            self.add_state(name, default=[], dist_reduce_fx="cat")

    def update(self, *batch: Tensor) -> None:
        """Add one batch: what STATES names, in its order; patches and words only where they are compared."""
        for name, one in zip(self.fed, batch, strict=True):
            getattr(self, name).append(one.float() if one.is_floating_point() else one)

    def compute(self) -> dict[str, Tensor]:
        """See `Ranks.scores`."""
        image, text, image_key, owner, text_key = (dim_zero_cat(getattr(self, name)) for name in STATES[:5])
        first, image_key, _ = distinct(image_key)
        first_text, _, place = distinct(text_key)
        image, text = image[first], text[first_text]
        belongs = torch.zeros(len(image), len(text), dtype=torch.bool, device=image.device)
        belongs[torch.searchsorted(image_key, owner), place] = True
        plain = ranks(image, text, belongs).scores()
        if self.compare is None:
            return plain
        patches, words = (dim_zero_cat(getattr(self, name)) for name in STATES[5:])
        closely = Parts(patches[first], words[first_text], self.compare, self.share)
        closer = ranks(image, text, belongs, closely).scores()
        return closer | {"mean_recall_before": plain["mean_recall"]}


def distinct(keys: Int[Tensor, " n"]) -> tuple[Tensor, Tensor, Tensor]:
    """Where each key stands first, the keys in order, and for each of the n which it became."""
    unique, place = keys.unique(return_inverse=True)
    first = torch.empty_like(unique).scatter_(0, place.flip(0), torch.arange(len(keys), device=keys.device).flip(0))
    return first, unique, place


def name_keys(names: Sequence[str]) -> Int[Tensor, " n"]:
    """A number for each name, the same in every process: processes exchange tensors and no text."""
    digests = (blake2b(name.encode(), digest_size=8).digest() for name in names)
    return torch.tensor([int.from_bytes(digest, "big", signed=True) for digest in digests], dtype=torch.int64)
