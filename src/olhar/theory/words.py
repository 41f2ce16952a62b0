"""Words as vectors (chapter 3): a dictionary that is asked by similarity, and a word that moves towards its context.

Shapes: n words, d numbers of a code.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from olhar.errors import UserError, nearest
from olhar.ops.attention import apply_weights, attention_weights

Code = Float[Tensor, " d"]


def cosine(a: Float[Tensor, "... d"], b: Float[Tensor, "... d"]) -> Float[Tensor, "..."]:
    """s = Σ a(k) b(k) / (|a| |b|) (Eq 3.1): 1 in the same direction, 0 where they share nothing."""
    return (a * b).sum(-1) / (a.norm(dim=-1) * b.norm(dim=-1))


@dataclass(frozen=True, eq=False)
class Words:
    """A dictionary of codes: `words["casa"]` is exact, as a hash table is; `nearest` takes whatever is most similar."""

    names: tuple[str, ...]
    codes: Float[Tensor, "n d"]

    @classmethod
    def of(cls, table: Mapping[str, Sequence[float]]) -> "Words":
        """From words and their codes, all equally long."""
        return cls(tuple(table), torch.tensor(list(table.values()), dtype=torch.float64))

    def __getitem__(self, word: str) -> Code:
        """Raises UserError where there is no such word."""
        if word not in self.names:
            raise UserError(f"There is no '{word}' among the words: {nearest(word, self.names)}")
        return self.codes[self.names.index(word)]

    def similarities(self, code: Code) -> dict[str, float]:
        """How similar every word is (Eq 3.1)."""
        return dict(zip(self.names, cosine(self.codes, code).tolist(), strict=True))

    def nearest(self, code: Code) -> str:
        """The word of the most similar code: of another language's word the translation."""
        found = self.similarities(code)
        return max(found, key=found.__getitem__)

    def sentence(self, text: str) -> Float[Tensor, "n d"]:
        """Q of Eq 3.4: the code of each word of a text, parted at white space, a row a word."""
        return torch.stack([self[word] for word in text.split()])


def in_context(
    query: Code, context: Float[Tensor, "n d"], weights: Float[Tensor, " n"] | None = None
) -> Float[Tensor, " d"]:
    """q' = q + Σ s_i k_i (Eq 3.3) with s = softmax(q k_i^T) (Eq 3.2), or weights that somebody chose."""
    if weights is None:
        weights = attention_weights(query[None], context, scaled=False)[0]
    return query + apply_weights(weights[None], context)[0]
