"""Multi-head attention (Figures 3.2 and 3.3) and the transformer block made of it.

Shapes: N batch, L tokens, S tokens of the context, D width, E width of the context, h heads, d = D/h width of a head.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn.functional import linear
from torchvision.ops import StochasticDepth

from olhar.ops.attention import Mask, apply_weights, attend, attention_weights, causal_mask


class MultiHeadAttention(nn.Module):
    """Each token asks all tokens of the context: [N, L, D] -> [N, L, D] (Figure 3.3).

    `query`, `key` and `value` project to h heads at once; each head attends alone, as if it were another example of
    the batch, and `out` mixes what they found. With 128 wide and 4 heads it has 66,048 parameters.

    Args:
        width: D.
        heads: h, a divisor of the width.
        context_width: E, where the context is not the tokens themselves and has another width.
        bias: of the four projections.
    """

    def __init__(self, width: int, heads: int, context_width: int | None = None, bias: bool = True):
        super().__init__()
        assert width % heads == 0, f"{heads} heads cannot share a width of {width}"
        self.heads = heads
        self.query = nn.Linear(width, width, bias)
        self.key = nn.Linear(context_width or width, width, bias)
        self.value = nn.Linear(context_width or width, width, bias)
        self.out = nn.Linear(width, width, bias)

    def forward(
        self,
        tokens: Float[Tensor, "N L D"],
        context: Float[Tensor, "N S E"] | None = None,
        mask: Mask | None = None,
        causal: bool = False,
    ) -> Float[Tensor, "N L D"]:
        """`context`: what is looked at; None: the tokens themselves (self-attention).

        `mask`: True where looking is allowed, broadcastable to [N, h, L, S]; for padding [N, 1, 1, S].
        """
        context = tokens if context is None else context
        query, key = self.split(self.query(tokens)), self.split(self.key(context))
        found = attend(query, key, self.split(self.value(context)), mask, causal)  # [N, h, L, d]
        return self.out(found.transpose(1, 2).flatten(2))

    def split(self, projected: Float[Tensor, "N L D"]) -> Float[Tensor, "N h L d"]:
        """The heads apart. A reshape to [N, h, L, d] alone would mix tokens: they are the slower axis."""
        return projected.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def weights(
        self,
        tokens: Float[Tensor, "N L D"],
        context: Float[Tensor, "N S E"] | None = None,
        mask: Mask | None = None,
        causal: bool = False,
    ) -> Float[Tensor, "N h L S"]:
        """What `forward` with the same arguments weighs the values by, to be looked at."""
        context = tokens if context is None else context
        if causal:
            ahead = causal_mask(tokens.shape[1], context.shape[1], tokens.device)
            mask = ahead if mask is None else mask & ahead
        return attention_weights(self.split(self.query(tokens)), self.split(self.key(context)), mask=mask)


def head_by_head(
    attention: MultiHeadAttention,
    tokens: Float[Tensor, "N L D"],
    context: Float[Tensor, "N S E"] | None = None,
    mask: Mask | None = None,
) -> Float[Tensor, "N L D"]:
    """`attention` as Figure 3.2 draws it: h small attentions with projections of their own, laid side by side.

    The same numbers as the module's own forward, which does all heads in one multiplication. `mask` is
    broadcastable to [N, L, S].
    """
    context = tokens if context is None else context
    found = []
    for rows in torch.arange(attention.query.out_features).chunk(attention.heads):

        def project(layer: nn.Linear, x: Tensor, rows: Tensor = rows) -> Tensor:
            return linear(x, layer.weight[rows], None if layer.bias is None else layer.bias[rows])

        # (a): one head, [N, L, d]
        weights = attention_weights(project(attention.query, tokens), project(attention.key, context), mask=mask)
        found.append(apply_weights(weights, project(attention.value, context)))
    return attention.out(torch.cat(found, dim=-1))  # (b)


class QuickGELU(nn.Module):
    """x σ(1.702 x): the approximation of GELU that OpenAI's CLIP was trained with; its weights want it."""

    def forward(self, x: Float[Tensor, "..."]) -> Float[Tensor, "..."]:
        return x * torch.sigmoid(1.702 * x)


class FeedForward(nn.Module):
    """The same two-layer network for each token (Eq 3.6 twice, with a nonlinearity): [..., D] -> [..., D]."""

    def __init__(self, width: int, hidden: int, activation: Callable[[], nn.Module] = nn.GELU):
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.activation = activation()
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Float[Tensor, "... D"]) -> Float[Tensor, "... D"]:
        return self.fc2(self.activation(self.fc1(x)))


class TransformerBlock(nn.Module):
    """Tokens look at one another, perhaps at a context, and then each thinks alone: [N, L, D] -> [N, L, D].

    Each step adds to what was there, and normalises what it reads and not what it writes (pre-norm: Xiong et al.
    2020, arXiv 2002.04745), so that a deep stack starts near the identity.

    Args:
        width: D.
        heads: of the attention.
        hidden: width inside the feed-forward network; four times D is usual.
        activation: of the feed-forward network, as `nn.GELU` or `QuickGELU`.
        context_width: E, where tokens also look at a context (cross-attention, Figure 4.2), after one another.
        drop_path: chance that a step is left out for an example in training (stochastic depth: Huang et al. 2016,
            arXiv 1603.09382).
        eps: of the norms, added to the variance.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        hidden: int,
        activation: Callable[[], nn.Module] = nn.GELU,
        context_width: int | None = None,
        drop_path: float = 0.0,
        eps: float = 1e-5,
    ):
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps)
        self.attention = MultiHeadAttention(width, heads)
        self.norm_cross = nn.LayerNorm(width, eps) if context_width else None
        self.cross = MultiHeadAttention(width, heads, context_width) if context_width else None
        self.norm2 = nn.LayerNorm(width, eps)
        self.mlp = FeedForward(width, hidden, activation)
        self.drop_path = StochasticDepth(drop_path, "row")

    def forward(
        self,
        tokens: Float[Tensor, "N L D"],
        context: Float[Tensor, "N S E"] | None = None,
        mask: Mask | None = None,
        causal: bool = False,
        context_mask: Mask | None = None,
    ) -> Float[Tensor, "N L D"]:
        """`mask` and `causal` are of the tokens among themselves, `context_mask` of their look at the context."""
        attended = self.attention(self.norm1(tokens), mask=mask, causal=causal)
        tokens = tokens + self.drop_path(attended)
        if self.cross is not None and self.norm_cross is not None:
            assert context is not None, "a block with cross-attention needs a context"
            tokens = tokens + self.drop_path(self.cross(self.norm_cross(tokens), context, context_mask))
        return tokens + self.drop_path(self.mlp(self.norm2(tokens)))
