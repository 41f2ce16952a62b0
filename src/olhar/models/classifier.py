"""Body and head (Figure 2.4a): what an encoder saw, averaged over the image, weighed by one linear layer.

Shapes: N batch, C channels, H W space, D width, K outputs.
"""

from jaxtyping import Float
from torch import Tensor, nn

from olhar.models.base import Encoder


class Classifier(nn.Module):
    """image [N, C, H, W] -> outputs [N, K]: scores of classes, or numbers to regress.

    `encoder` is the body, `head` the linear layer. All that the head knows of an image are the D numbers of
    `features` (Figure 2.4b: the body learns a representation, the head is a linear model of it).
    """

    def __init__(self, encoder: Encoder, num_outputs: int):
        super().__init__()
        self.encoder = encoder
        self.head = nn.Linear(encoder.channels[-1], num_outputs)

    @property
    def ends(self) -> tuple[nn.Module, ...] | None:
        """What sees pixels and what gives scores, of an encoder that says what sees pixels: see `muon_groups`."""
        first: tuple[nn.Module, ...] | None = getattr(self.encoder, "ends", None)
        return None if first is None else (*first, self.head)

    def features(self, image: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D"]:
        """The encoder's summary of the image: its coarsest level averaged over space, or a class token."""
        return self.encoder.summary(image)

    def forward(self, image: Float[Tensor, "N C H W"]) -> Float[Tensor, "N K"]:
        return self.head(self.features(image))
