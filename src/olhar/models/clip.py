"""Two towers and one space: images and captions as unit vectors whose product is their similarity (Figure 4.3).

Shapes: N images, T captions, C channels, H W space, L tokens, D width of a tower, E width of the common space.
"""

import math
from typing import Any, Literal

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import normalize

from olhar.models.base import Encoder, TextTower

FIRST_SCALE = 1 / 0.07  # of the paper, exp(2.6592)
LARGEST_SCALE = 100.0  # of the paper: a sharper softmax makes training unstable

Tower = Literal["none", "image", "text"]

# Published ones: their image tower, a key of MODELS with arguments, and their text tower. OpenAI's were trained with
# QuickGELU, most of open_clip's with GELU; the weights do not say which.
B32 = {"image": "vit-b32", "text": "text-clip", "width": 512}
SIZES: dict[str, dict[str, Any]] = {
    "clip-vit-b32": B32 | {"image_args": {"pre_norm": True, "activation": "quick_gelu"}},
    "clip-vit-b32-gelu": B32 | {"image_args": {"pre_norm": True}, "text_args": {"activation": "gelu"}},
}


class Clip(nn.Module):
    """image [N, C, H, W] and tokens [T, L] -> unit vectors [N, E] and [T, E], and a scale of their products.

    Contrastive language-image pre-training (Radford et al. 2021, arXiv 2103.00020). `log_scale` is the logarithm of
    one over the temperature; it is learnt, and never grows beyond log 100.

    Args:
        image_encoder, text_encoder: the towers.
        width: E.
        frozen: the tower that keeps its weights, and stays in evaluation mode.
    """

    figure = "4.3"

    def __init__(self, image_encoder: Encoder, text_encoder: TextTower, width: int, frozen: Tower = "none"):
        super().__init__()
        self.image_encoder, self.text_encoder = image_encoder, text_encoder
        self.image_projection = nn.Linear(image_encoder.channels[-1], width, bias=False)
        self.text_projection = nn.Linear(text_encoder.width, width, bias=False)
        for projection in (self.image_projection, self.text_projection):
            nn.init.normal_(projection.weight, std=projection.in_features**-0.5)  # the paper's
        self.log_scale = nn.Parameter(torch.tensor(math.log(FIRST_SCALE)))
        self.frozen = {"image": image_encoder, "text": text_encoder}.get(frozen)
        if self.frozen is not None:
            self.frozen.requires_grad_(False)

    def train(self, mode: bool = True) -> "Clip":
        """As every module; a frozen tower is never put into training mode."""
        super().train(mode)
        if self.frozen is not None:
            self.frozen.eval()
        return self

    @property
    def scale(self) -> Float[Tensor, ""]:
        """What cosines are multiplied by: 1 / temperature."""
        if torch.is_grad_enabled():
            with torch.no_grad():  # the last step may have gone beyond
                self.log_scale.clamp_(max=math.log(LARGEST_SCALE))
            return self.log_scale.exp()  # and not of what is clamped: no gradient would lead back from the bound
        return self.log_scale.clamp(max=math.log(LARGEST_SCALE)).exp()

    def encode_image(self, image: Float[Tensor, "N C H W"]) -> Float[Tensor, "N E"]:
        """Unit vectors of images, in float32 at least."""
        return unit(self.image_projection(self.image_encoder.summary(image)))

    def encode_text(self, tokens: Int64[Tensor, "T L"]) -> Float[Tensor, "T E"]:
        """Unit vectors of captions, in float32 at least."""
        return unit(self.text_projection(self.text_encoder.sentence(self.text_encoder(tokens), tokens)))

    def forward(
        self, image: Float[Tensor, "N C H W"], tokens: Int64[Tensor, "T L"]
    ) -> tuple[Float[Tensor, "N E"], Float[Tensor, "T E"], Float[Tensor, ""]]:
        return self.encode_image(image), self.encode_text(tokens), self.scale


def unit(x: Float[Tensor, "N E"]) -> Float[Tensor, "N E"]:
    """Of length 1, so that products are cosines (Eq 3.1)."""
    return normalize(x.to(torch.promote_types(x.dtype, torch.float32)), dim=1)
