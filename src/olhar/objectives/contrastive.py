"""Which caption belongs to which image: a categorical over the batch, both ways (Figure 4.3).

Shapes: n m pairs of this process, M pairs of all processes, D width of an embedding.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from olhar.objectives.categorical import Categorical
from olhar.ops.gather import first_row, gather

Compare = Callable[[Tensor, Tensor], Tensor]  # of images [n, ...] and captions [m, ...] how alike they are, [n, m]

MULTIPLIER = 6364136223846793005  # Knuth's for congruences modulo 2^64: odd, and its bits are well mixed


def cosines(image: Float[Tensor, "n D"], text: Float[Tensor, "m D"]) -> Float[Tensor, "n m"]:
    """⟨image i, text j⟩, in float32 at least: times 100, the three digits of bfloat16 would leave one."""
    exact = torch.promote_types(image.dtype, torch.float32)
    with torch.autocast(image.device.type, enabled=False):
        return image.to(exact) @ text.to(exact).mT


@dataclass(frozen=True, eq=False)
class Contrastive:
    """p(caption j | image i) = softmax over j of scale · ⟨image i, caption j⟩, and p(image i | caption j) over i.

    (Radford et al. 2021, arXiv 2103.00020, section 2.3; Eq 3.1 is the product of unit vectors.) A batch is a small
    world: all captions there are, and all images. What it is a likelihood of depends on the batch's size M, and so
    do its values: who knows nothing has ln M.

    Args:
        image, text: unit vectors, or whatever `compare` takes; row i of both is one pair.
        scale: one over the temperature.
        compare: what stands in the place of the product.
        closer: the same pairs compared in another way, each of them learnt from alike: -log p is the mean of both.
    """

    image: Float[Tensor, "n ..."]
    text: Float[Tensor, "n ..."]
    scale: Float[Tensor, ""]
    compare: Compare = cosines
    closer: "Contrastive | None" = None

    @property
    def logits(self) -> Float[Tensor, "n n"]:
        """Of this process's pairs alone: rows are images, columns captions (the matrix of Figure 4.3)."""
        return self.compared(self.image, self.text)

    def compared(self, image: Float[Tensor, "n ..."], text: Float[Tensor, "m ..."]) -> Float[Tensor, "n m"]:
        """Logits of images with captions, in float32 at least."""
        alike = self.compare(image, text)
        return self.scale.to(alike) * alike

    def nll(self, same: Int[Tensor, " n"] | None = None) -> Float[Tensor, " n"]:
        """-log p of each pair in nats, the mean of both ways. Over all processes where they train together.

        Args:
            same: a number for each caption, equal where captions are. None: no caption stands twice.

        A caption that stands m times in the batch belongs to each of its m images, and each of them to it: targets
        are distributions (Eq 1.18), 1/m each. Equal captions are then never pushed apart. The least value is ln m,
        reached where the m share all the probability alike; without repetitions 0.
        """
        images, texts = gather(self.image), gather(self.text)
        n = len(self.image)
        keys = torch.arange(first_row(n), first_row(n) + n, device=self.image.device) if same is None else same
        target = shares(keys[:, None] == gather(keys)[None])
        forth = self.compared(self.image, texts)
        back = forth if texts is self.text else self.compared(images, self.text)  # alone, they are the same
        own = (Categorical(forth).nll(target) + Categorical(back.mT).nll(target)) / 2
        return own if self.closer is None else (own + self.closer.nll(same)) / 2

    def mode(self) -> Int[Tensor, " n"]:
        """Of each image the likeliest caption of this process's part of the batch."""
        return self.logits.argmax(1)

    def entropy(self) -> Float[Tensor, " n"]:
        """Of p(caption | image) over the same, in nats: ln n where nothing is known."""
        return Categorical(self.logits).entropy()


def shares(positive: Bool[Tensor, "n M"]) -> Float[Tensor, "n M"]:
    """Each row's probability, shared alike by what is True in it."""
    return positive / positive.sum(1, keepdim=True)


def token_keys(tokens: Int[Tensor, "n L"]) -> Int[Tensor, " n"]:
    """A number for each caption, equal where all tokens are: a polynomial modulo 2^64 of them, so that two that differ
    share one by a chance of about 2^-64."""
    keys = torch.zeros_like(tokens[:, 0])
    for column in tokens.unbind(1):
        keys = keys * MULTIPLIER + column + 1
    return keys
