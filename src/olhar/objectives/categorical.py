"""The categorical distribution: one of K classes (section 1.1.3).

Shapes: N batch, K classes; `...` is space where every pixel has a class, and nothing for whole images.
"""

from dataclasses import dataclass

import torch
from jaxtyping import Float, Int
from torch import Tensor


@dataclass(frozen=True, eq=False)
class Categorical:
    """p(y = k) = softmax(logits)_k (Eq 1.13).

    Args:
        logits: [N, K, ...] scores; only their differences matter.
        label_smoothing: ε in [0, 1). The target becomes (1 - ε) q + ε/K (Eq 1.18 with soft targets;
            Szegedy et al. 2016, arXiv 1512.00567), so the true class gets 1 - ε + ε/K.
        class_weights: [K], how much an example of each class counts. None: all alike.
    """

    logits: Float[Tensor, "N K ..."]
    label_smoothing: float = 0.0
    class_weights: Float[Tensor, " K"] | None = None

    @property
    def log_probabilities(self) -> Float[Tensor, "N K ..."]:
        """log p, in float32 at least: bfloat16 has three digits, too few for a logarithm near 0."""
        exact = torch.promote_types(self.logits.dtype, torch.float32)
        return torch.log_softmax(self.logits, dim=1, dtype=exact)

    @property
    def probabilities(self) -> Float[Tensor, "N K ..."]:
        """Eq 1.13."""
        exact = torch.promote_types(self.logits.dtype, torch.float32)
        return torch.softmax(self.logits, dim=1, dtype=exact)

    def nll(self, target: Int[Tensor, "N ..."] | Float[Tensor, "N K ..."]) -> Float[Tensor, "N ..."]:
        """-log p(target) in nats, one number an image, or a pixel.

        Args:
            target: class indices (Eq 1.15), or one distribution q over the classes for each (Eq 1.18):
                then this is the cross-entropy -Σ q_k log p_k, whose least value is the entropy of q, not 0.
        """
        log_p = self.log_probabilities
        if self.class_weights is None:
            weighted = log_p
        else:
            weighted = log_p * self.class_weights.view(-1, *[1] * (log_p.ndim - 2))
        if target.is_floating_point():
            nll = -(target * weighted).sum(1)
        else:
            nll = -weighted.gather(1, target.unsqueeze(1)).squeeze(1)
        if self.label_smoothing:
            nll = (1 - self.label_smoothing) * nll - self.label_smoothing * weighted.mean(1)
        return nll

    def mode(self) -> Int[Tensor, "N ..."]:
        """The likeliest class: softmax keeps the order of the scores."""
        return self.logits.argmax(1)

    def sample(self, generator: torch.Generator | None = None) -> Int[Tensor, "N ..."]:
        """One class drawn from each distribution."""
        p = self.probabilities.movedim(1, -1)
        drawn = torch.multinomial(p.reshape(-1, p.shape[-1]), 1, generator=generator)
        return drawn.view(p.shape[:-1])

    def entropy(self) -> Float[Tensor, "N ..."]:
        """-Σ p_k log p_k in nats: 0 when certain, ln K when nothing is known."""
        return -(self.probabilities * self.log_probabilities).sum(1)

    def kl(self, other: "Categorical") -> Float[Tensor, "N ..."]:
        """KL(self ‖ other) in nats: cross-entropy less entropy."""
        return (self.probabilities * (self.log_probabilities - other.log_probabilities)).sum(1)
