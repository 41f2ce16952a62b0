"""The Bernoulli distribution: yes or no, for one label or for K independent ones (section 1.1.3, Eq 1.14).

K labels that may hold together are not a categorical: their probabilities need not sum to 1.

Shapes: N batch, K labels.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn.functional import logsigmoid


@dataclass(frozen=True, eq=False)
class Bernoulli:
    """p(y_k = 1) = σ(logits_k) (Eq 1.14), each label for itself.

    Args:
        logits: [N, K].
        pos_weight: [K], how much a label that holds counts beside one that does not. None: alike.
    """

    logits: Float[Tensor, "N K"]
    pos_weight: Float[Tensor, " K"] | None = None

    @property
    def _exact_logits(self) -> Float[Tensor, "N K"]:
        """In float32 at least: bfloat16 has three digits, too few for a logarithm near 0."""
        return self.logits.to(torch.promote_types(self.logits.dtype, torch.float32))

    @property
    def probabilities(self) -> Float[Tensor, "N K"]:
        """σ of Eq 1.14."""
        return torch.sigmoid(self._exact_logits)

    def nll(self, target: Float[Tensor, "N K"] | Int[Tensor, "N K"]) -> Float[Tensor, " N"]:
        """-log p(target) in nats, summed over the K independent labels.

        Args:
            target: 0 or 1 for each label, or a probability in between.
        """
        z = self._exact_logits
        # log(1 - σ(z)) = log σ(-z); taken like this neither is ever log 0, though σ(z) is 1 in float32 from
        # z = 16.64 on.
        yes, no = logsigmoid(z), logsigmoid(-z)
        if self.pos_weight is not None:
            yes = yes * self.pos_weight
        return -(target * yes + (1 - target) * no).sum(1)

    def mode(self) -> Int[Tensor, "N K"]:
        """1 where the label is likelier to hold than not."""
        return (self.logits >= 0).long()

    def sample(self, generator: torch.Generator | None = None) -> Int[Tensor, "N K"]:
        """0 or 1, drawn for each label."""
        return torch.bernoulli(self.probabilities, generator=generator).long()

    def entropy(self) -> Float[Tensor, " N"]:
        """In nats, summed over the labels: ln 2 each where nothing is known."""
        z = self._exact_logits
        return -(torch.sigmoid(z) * logsigmoid(z) + torch.sigmoid(-z) * logsigmoid(-z)).sum(1)
