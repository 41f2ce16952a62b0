"""The identity as a body: with a linear head it is linear or logistic regression (Figures 1.4 to 1.6).

Shapes: N batch, C channels, H W space.
"""

from jaxtyping import Float
from torch import Tensor

from olhar.models.base import Encoder


class Linear(Encoder):
    """Linear or logistic regression on the pixels: the features are the pixels themselves.

    One level, [N, C H W, 1, 1]: all the parameters are in the head, one weight a pixel and output.
    """

    figure = "1.5"
    any_size = False

    def __init__(self, in_channels: int = 3, image_size: tuple[int, int] = (32, 32)):
        height, width = image_size
        super().__init__(image_size, channels=(in_channels * height * width,), strides=(max(image_size),))

    def forward(self, image: Float[Tensor, "N C H W"]) -> list[Tensor]:
        assert image.shape[2:] == self.image_size, f"built for {self.image_size}, not {tuple(image.shape[2:])}"
        return [image.flatten(1)[:, :, None, None]]
