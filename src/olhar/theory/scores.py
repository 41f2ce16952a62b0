"""From scores to probabilities, and how wrong they are (section 1.1.3, Eq 1.12-1.18).

Shapes: C classes, `...` any number of examples.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from olhar.objectives.categorical import Categorical


def divide_by_sum(scores: Float[Tensor, "... C"]) -> Float[Tensor, "... C"]:
    """p(i) = r(i) / Σ r (Eq 1.12). Probabilities only where no score is negative: (7, -2, 1) gives -1/3 for one."""
    return scores / scores.sum(-1, keepdim=True)


def softmax(scores: Float[Tensor, "... C"], temperature: float = 1.0) -> Float[Tensor, "... C"]:
    """p(i) = e^{r(i)/T} / Σ e^{r/T} (Eq 1.13): positive whatever the scores, in their order.

    A constant added to all scores changes nothing. T above 1 evens the probabilities out, T below 1 sharpens them.
    """
    return torch.softmax(scores / temperature, dim=-1)


def sigmoid(score: Tensor) -> Tensor:
    """p = 1 / (1 + e^{-r}) (Eq 1.14): the softmax of the two scores (r, 0). In (0, 1), both ends left out."""
    return torch.sigmoid(score)


def saturates_at(dtype: torch.dtype = torch.float32) -> float:
    """The least score whose sigmoid is exactly 1 in a floating-point type; log(1 - p) is minus infinity from there on.

    16.64 in float32: the reason why losses are computed from scores and not from probabilities.
    """
    low, high = torch.zeros((), dtype=dtype), torch.full((), 100.0, dtype=dtype)
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (low, middle) if torch.sigmoid(middle) == 1 else (middle, high)
    return high.item()


def one_hot(label: Int[Tensor, "..."], classes: int) -> Float[Tensor, "... C"]:
    """q: all zeros but a 1 at the label, which counts from 0."""
    return torch.nn.functional.one_hot(label, classes).double()


def smooth(q: Float[Tensor, "... C"], share: float) -> Float[Tensor, "... C"]:
    """Label smoothing: (1 - ε) q + ε/C. The true class keeps 1 - ε + ε/C, as in torch, not 1 - ε."""
    return (1 - share) * q + share / q.shape[-1]


def cross_entropy(q: Float[Tensor, "... C"], p: Float[Tensor, "... C"]) -> Float[Tensor, "..."]:
    """H(q, p) = -Σ q(c) log p(c) over the classes c, in nats (Eq 1.18).

    With q one-hot it is -log p(y) (Eq 1.15). Its least value over all p is H(q), reached at p = q: 0 only where q is
    certain.
    """
    return -torch.special.xlogy(q, p).sum(-1)


def entropy(q: Float[Tensor, "... C"]) -> Float[Tensor, "..."]:
    """H(q) = H(q, q): what nobody can do better than."""
    return cross_entropy(q, q)


def divergence(q: Float[Tensor, "... C"], p: Float[Tensor, "... C"]) -> Float[Tensor, "..."]:
    """KL(q ‖ p) = H(q, p) - H(q) ≥ 0: what is lost by taking p for q."""
    return cross_entropy(q, p) - entropy(q)


def cross_entropy_of_scores(scores: Float[Tensor, "n C"], labels: Int[Tensor, " n"]) -> Float[Tensor, " n"]:
    """E_i = -log p_i(y_i) (Eq 1.15) of each image, from scores: the library's own objective.

    Their sum is Eq 1.16 and the negative log-likelihood of Eq 1.8; training minimises their mean.
    """
    return Categorical(scores).nll(labels)
