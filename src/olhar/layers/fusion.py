"""Words that look at an image: cross-attention from a caption to the patches of a picture (Figure 4.2).

Shapes: N images, T captions, C channels, h w grid of patches, P = h w patches, L tokens of a caption, D width of their
states, E width of the common space.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from olhar.layers.cosine import FIRST_SCALE, inverse_temperature, unit

FIRST_SHARPNESS = 10.0  # near SCAN's 9: a patch that fits outweighs some hundred that do not
AT_ONCE = 2**24  # pairs of a word and a patch, 64 MB of numbers: more are compared a few captions at a time


class Fusion(nn.Module):
    """Each word takes of the patches what fits it, and is compared with what it took.

    A word asks (query) every patch (key); the softmax of its cosines with them is where it looks, and the mean of the
    patches by these weights is what it sees (Eq 3.4 and 3.5, patches being keys and values alike). How well a caption
    fits an image is the mean over its words of ⟨word, what it sees⟩: below 1 where it looks at patches that differ, so
    that words learn to point. As in SCAN (Lee et al. 2018, arXiv 1803.08024), with FILIP's product (Yao et al. 2022,
    arXiv 2111.07783), whose maximum this softmax makes differentiable everywhere.

    Args:
        patch_width: C, channels of the map whose places are the patches.
        word_width: D.
        width: E.
    """

    figure = "4.2"

    def __init__(self, patch_width: int, word_width: int, width: int):
        super().__init__()
        self.patch_projection = nn.Linear(patch_width, width)
        self.word_projection = nn.Linear(word_width, width)
        self.log_sharpness = nn.Parameter(torch.tensor(math.log(FIRST_SHARPNESS)))
        self.log_scale = nn.Parameter(torch.tensor(math.log(FIRST_SCALE)))

    @property
    def scale(self) -> Float[Tensor, ""]:
        """What scores are multiplied by: 1 / temperature."""
        return inverse_temperature(self.log_scale)

    def patches(self, level: Float[Tensor, "N C h w"]) -> Float[Tensor, "N P E"]:
        """The places of a map, row by row, as unit vectors."""
        return unit(self.patch_projection(level.flatten(2).mT))

    def words(self, states: Float[Tensor, "T L D"], spoken: Bool[Tensor, "T L"]) -> Float[Tensor, "T L E"]:
        """Tokens as unit vectors; zeros where no word is spoken."""
        return unit(self.word_projection(states)) * spoken[..., None]

    def weights(self, patches: Float[Tensor, "N P E"], words: Float[Tensor, "N L E"]) -> Float[Tensor, "N L P"]:
        """Where each word of a caption looks in its own image; each row sums to 1."""
        with torch.autocast(patches.device.type, enabled=False):
            return self.looks(words @ patches.mT)

    def looks(self, cosines: Float[Tensor, "... P"]) -> Float[Tensor, "... P"]:
        """From cosines of a word with all patches to its attention (Eq 3.4)."""
        return (cosines * inverse_temperature(self.log_sharpness)).softmax(-1)

    def scores(self, patches: Float[Tensor, "N P E"], words: Float[Tensor, "T L E"]) -> Float[Tensor, "N T"]:
        """How well every caption fits every image, at most 1."""
        largest = max(1, AT_ONCE // (words.shape[1] * patches.shape[0] * patches.shape[1]))
        parts = words.split(largest)
        if len(parts) == 1 or not torch.is_grad_enabled():
            return torch.cat([self.compared(patches, some) for some in parts], 1)
        # kept for the gradient, all of them would fill the memory: each part is computed again on the way back
        found = [checkpoint(self.compared, patches, some, use_reentrant=False) for some in parts]
        return torch.cat(found, 1)  # type: ignore[arg-type]

    def compared(self, patches: Float[Tensor, "N P E"], words: Float[Tensor, "T L E"]) -> Float[Tensor, "N T"]:
        """The same, all at once. ⟨word, Σ a patch⟩ is Σ a ⟨word, patch⟩: what a word sees need not be formed."""
        with torch.autocast(patches.device.type, enabled=False):  # times 100, bfloat16 would leave one digit
            cosines = torch.einsum("tle,npe->tlnp", words, patches)
            seen = (self.looks(cosines) * cosines).sum(-1)  # [T, L, N], 0 where no word is spoken
            count = words.detach().any(-1).sum(1).clamp(min=1)
            return (seen.sum(1) / count[:, None]).mT
