"""A transformer that reads captions: the text half of Figure 4.3.

Shapes: N captions, L tokens of each, D width.
"""

from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn

from olhar.layers.attention import QuickGELU, TransformerBlock
from olhar.models.base import TextTower

# "text-clip" is the text half of OpenAI's ViT-B/32 (Radford et al. 2021, arXiv 2103.00020). The smaller ones learn
# from some thousand captions; "text-words" leaves it to a transformer that draws to read the words together.
SIZES: dict[str, dict[str, Any]] = {
    "text-words": {"width": 128, "layers": 0, "heads": 4},
    "text-small": {"width": 128, "layers": 2, "heads": 4},
    "text-base": {"width": 256, "layers": 4, "heads": 4},
    "text-clip": {"width": 512, "layers": 12, "heads": 8, "causal": True, "activation": "quick_gelu"},
}
ACTIVATIONS = {"gelu": nn.GELU, "quick_gelu": QuickGELU}


class TextEncoder(TextTower):
    """Transformer that reads captions.

    tokens [N, L] -> a state for each token [N, L, D]; `sentence` makes one vector a caption of them.

    Args:
        vocabulary: how many tokens there are.
        length: the most tokens of a caption.
        end: id of the token that ends a caption; what follows it is padding and is never looked at.
        width, layers, heads: D, blocks, and heads of their attention.
        causal: a token sees only those before it, as in CLIP; otherwise all of the caption.
        pool: a caption's vector is the state of its "end" token, or the "mean" of all its states.
        activation: of the feed-forward networks.
        drop_words: chance that a word is hidden from the others in training, so that no single one is relied on.
        drop_path: chance that a step is left out for an example in training.
    """

    figure = "4.3"

    def __init__(
        self,
        vocabulary: int,
        length: int,
        end: int,
        width: int = 128,
        layers: int = 2,
        heads: int = 4,
        causal: bool = False,
        pool: Literal["end", "mean"] = "end",
        activation: Literal["gelu", "quick_gelu"] = "gelu",
        drop_words: float = 0.0,
        drop_path: float = 0.0,
    ):
        super().__init__(width, length)
        self.end, self.causal, self.pool, self.drop_words = end, causal, pool, drop_words
        self.words = nn.Embedding(vocabulary, width)
        self.positions = nn.Parameter(torch.empty(length, width))
        make = ACTIVATIONS[activation]
        self.blocks = nn.ModuleList(
            TransformerBlock(width, heads, 4 * width, make, drop_path=drop_path) for _ in range(layers)
        )
        self.norm = nn.LayerNorm(width)
        # the paper's: small, so that the first steps are those of the blocks and not of chance
        nn.init.normal_(self.words.weight, std=0.02)
        nn.init.normal_(self.positions, std=0.01)

    def forward(self, tokens: Int64[Tensor, "N L"]) -> Float[Tensor, "N L D"]:
        """Of the padding the states mean nothing; `inside` tells it apart."""
        states = self.words(tokens) + self.positions[: tokens.shape[1]]
        mask = self.seen(tokens)
        for block in self.blocks:
            states = block(states, mask=mask, causal=self.causal)
        return self.norm(states)

    def seen(self, tokens: Int64[Tensor, "N L"]) -> Bool[Tensor, "N 1 1 L"] | None:
        """Which tokens may be looked at; None where that needs no saying."""
        hiding = self.training and self.drop_words > 0
        if self.causal and not hiding:
            return None  # padding comes last, so that nobody before it sees it
        seen = self.inside(tokens)
        if hiding:
            ends = (tokens == self.end) | (torch.arange(tokens.shape[1], device=tokens.device) == 0)
            seen = seen & (ends | (torch.rand(tokens.shape, device=tokens.device) >= self.drop_words))
        return seen[:, None, None]

    def inside(self, tokens: Int64[Tensor, "N L"]) -> Bool[Tensor, "N L"]:
        """True from the first token to the end, False on the padding. It is the end that tells, not an id of padding:
        CLIP fills up with 0, which is a word too, and others with the end itself."""
        ends = self._ends(tokens).int()
        return ends.cumsum(1) - ends == 0

    def spoken(self, tokens: Int64[Tensor, "N L"]) -> Bool[Tensor, "N L"]:
        """What is inside, but for its first token and its end."""
        words = self.inside(tokens) & ~self._ends(tokens)
        words[:, 0] = False
        return words

    def _ends(self, tokens: Int64[Tensor, "N L"]) -> Bool[Tensor, "N L"]:
        ends = tokens == self.end
        # some vocabularies begin and end with the same sign
        return ends & (torch.arange(tokens.shape[1], device=tokens.device) > 0)

    def sentence(self, states: Float[Tensor, "N L D"], tokens: Int64[Tensor, "N L"]) -> Float[Tensor, "N D"]:
        """One vector a caption, of its states."""
        if self.pool == "mean":
            weights = self.inside(tokens).to(states.dtype)[..., None]
            return (states * weights).sum(1) / weights.sum(1)
        where = self._ends(tokens).int().argmax(1)
        return states[torch.arange(len(states), device=states.device), where]
