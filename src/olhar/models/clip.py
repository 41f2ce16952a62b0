"""Two towers and one space: images and captions as unit vectors whose product is their similarity (Figure 4.3).

Shapes: N images, T captions, C channels, H W space, P patches, L tokens, D width of a tower, E width of the common
space.
"""

import math
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from olhar.layers.cosine import FIRST_SCALE, inverse_temperature, unit
from olhar.layers.fusion import Fusion
from olhar.models.base import Encoder, TextTower

Tower = Literal["none", "image", "text"]

# Published ones: their image tower, a key of MODELS with arguments, and their text tower. OpenAI's were trained with
# QuickGELU, most of open_clip's with GELU; the weights do not say which.
B32 = {"image": "vit-b32", "text": "text-clip", "width": 512}
SIZES: dict[str, dict[str, Any]] = {
    "clip-vit-b32": B32 | {"image_args": {"pre_norm": True, "activation": "quick_gelu"}},
    "clip-vit-b32-gelu": B32 | {"image_args": {"pre_norm": True}, "text_args": {"activation": "gelu"}},
}

# Places that words have to tell apart, at least: the 7 x 7 patches of ViT-B/32. A map of fewer shows no word where.
FEWEST_PATCHES = 49


class Encoded(NamedTuple):
    """Images or captions as unit vectors: each as a whole [N, E], and where words look at patches its parts: patches
    [N, P, E], or words [N, L, E], zeros where there is none."""

    whole: Tensor
    parts: Tensor | None


class Pairs(NamedTuple):
    """What `Clip` gives: the images, the captions, and the scale of the products of their vectors."""

    image: Encoded
    text: Encoded
    scale: Tensor


class Clip(nn.Module):
    """image [N, C, H, W] and tokens [T, L] -> unit vectors [N, E] and [T, E], and a scale of their products.

    Contrastive language-image pre-training (Radford et al. 2021, arXiv 2103.00020). `log_scale` is the logarithm of
    one over the temperature; it is learnt, and never grows beyond log 100.

    Args:
        image_encoder, text_encoder: the towers.
        width: E.
        frozen: the tower that keeps its weights, and stays in evaluation mode.
        fused: words also look at patches (Figure 4.2; `Fusion`).
    """

    figure = "4.3"

    def __init__(
        self,
        image_encoder: Encoder,
        text_encoder: TextTower,
        width: int,
        frozen: Tower = "none",
        fused: bool = False,
    ):
        super().__init__()
        self.image_encoder, self.text_encoder = image_encoder, text_encoder
        self.image_projection = nn.Linear(image_encoder.channels[-1], width, bias=False)
        self.text_projection = nn.Linear(text_encoder.width, width, bias=False)
        for projection in (self.image_projection, self.text_projection):
            nn.init.normal_(projection.weight, std=projection.in_features**-0.5)  # the paper's
        self.log_scale = nn.Parameter(torch.tensor(math.log(FIRST_SCALE)))
        self.level = coarsest(image_encoder)
        self.fusion = Fusion(image_encoder.channels[self.level], text_encoder.width, width) if fused else None
        self.frozen: Tower = frozen
        if self.kept is not None:
            self.kept.requires_grad_(False)

    def train(self, mode: bool = True) -> "Clip":
        """As every module; a frozen tower is never put into training mode."""
        super().train(mode)
        if self.kept is not None:
            self.kept.eval()
        return self

    @property
    def kept(self) -> nn.Module | None:
        """The frozen tower. An attribute would be a second name of it, and of each of its weights."""
        return {"image": self.image_encoder, "text": self.text_encoder}.get(self.frozen)

    @property
    def scale(self) -> Float[Tensor, ""]:
        """What cosines are multiplied by: 1 / temperature."""
        return inverse_temperature(self.log_scale)

    @property
    def share(self) -> float:
        """Of how alike an image and a caption are, what their words find in patches, where they are looked at: both
        logits are added up, so that each cosine counts as much as it was learnt to be multiplied by."""
        # of pairs of `shapes` never seen in training, 16 epochs of a resnet9 of half the width, one run: mean recall
        # 0.870 by vectors, 0.838 in the order of words alone, which know no above and below, 0.904 by both
        if self.fusion is None:
            return 0.0
        return float(self.fusion.scale.detach() / (self.scale + self.fusion.scale).detach())

    def encode_image(self, image: Float[Tensor, "N C H W"]) -> Float[Tensor, "N E"]:
        """Unit vectors of images, in float32 at least."""
        return self.read_image(image).whole

    def encode_text(self, tokens: Int64[Tensor, "T L"]) -> Float[Tensor, "T E"]:
        """Unit vectors of captions, in float32 at least."""
        return self.read_text(tokens).whole

    def read_image(self, image: Float[Tensor, "N C H W"]) -> Encoded:
        """Images, and with a fusion their patches."""
        if self.fusion is None:
            return Encoded(unit(self.image_projection(self.image_encoder.summary(image))), None)
        summary, levels = self.image_encoder.survey(image)
        return Encoded(unit(self.image_projection(summary)), self.fusion.patches(levels[self.level]))

    def read_text(self, tokens: Int64[Tensor, "T L"]) -> Encoded:
        """Captions, and with a fusion their words."""
        states = self.text_encoder(tokens)
        words = self.fusion.words(states, self.text_encoder.spoken(tokens)) if self.fusion else None
        return Encoded(unit(self.text_projection(self.text_encoder.sentence(states, tokens))), words)

    def forward(self, image: Float[Tensor, "N C H W"], tokens: Int64[Tensor, "T L"]) -> Pairs:
        return Pairs(self.read_image(image), self.read_text(tokens), self.scale)


def coarsest(encoder: Encoder) -> int:
    """The coarsest level of an encoder that has `FEWEST_PATCHES` places; where none has, the finest."""
    height, width = encoder.image_size
    places = [math.ceil(height / stride) * math.ceil(width / stride) for stride in encoder.strides]
    return max((i for i, count in enumerate(places) if count >= FEWEST_PATCHES), default=0)
