"""Is what the body learnt enough for a linear model? (Figure 2.4b)

Shapes: N images, D width, K classes.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor


def linear_probe(
    features: Float[Tensor, "N D"], labels: Int[Tensor, "N"], classes: int, penalty: float = 1e-3
) -> Tensor:
    """The class that a logistic regression says of each image, [N], learnt on the other half of them (2-fold).

    Features are scaled to unit variance; `penalty` is λ of Eq 1.60 on the weights, per image.
    """
    told = torch.empty_like(labels)
    order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(0))
    halves = order[0::2], order[1::2]
    for learnt, asked in (halves, halves[::-1]):
        centre, scale = features[learnt].mean(0), features[learnt].std(0).clamp_min(1e-6)
        x, y = (features[learnt] - centre) / scale, labels[learnt]
        weight, bias = torch.zeros(classes, x.shape[1]).requires_grad_(), torch.zeros(classes).requires_grad_()
        fit = torch.optim.LBFGS([weight, bias], max_iter=100, line_search_fn="strong_wolfe")

        def loss(x=x, y=y, weight=weight, bias=bias, fit=fit) -> Tensor:
            fit.zero_grad()
            value = F.cross_entropy(x @ weight.T + bias, y) + penalty * weight.square().sum()
            value.backward()
            return value

        with torch.enable_grad():
            fit.step(loss)  # type: ignore[arg-type]
        with torch.no_grad():
            told[asked] = (((features[asked] - centre) / scale) @ weight.T + bias).argmax(1)
    return told


def tsne(features: Float[np.ndarray, "N D"]) -> Float[np.ndarray, "N 2"] | None:
    """Neighbours of D axes as neighbours of two (van der Maaten and Hinton 2008), by scikit-learn; None without it."""
    try:
        from sklearn.manifold import TSNE
    except ImportError:
        return None
    perplexity = min(30.0, (len(features) - 1) / 3)
    return TSNE(2, perplexity=perplexity, init="pca", random_state=0, n_jobs=1).fit_transform(features)
