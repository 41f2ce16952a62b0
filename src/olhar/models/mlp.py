"""The multilayer perceptron: linear maps with ReLU between them (Eq 1.59, Figure 1.7).

Shapes: N batch, C channels, H W space, D width.
"""

from itertools import pairwise

from jaxtyping import Float
from torch import Tensor, nn

from olhar.models.base import Encoder


class MLP(Encoder):
    """Multilayer perceptron on the pixels: a linear map and a ReLU a hidden layer.

    One level, [N, D, 1, 1]. It knows nothing of space: shuffling the pixels of every image alike changes nothing.

    Args:
        hidden: widths of the hidden layers, from the pixels on.
    """

    figure = "1.7"
    any_size = False

    def __init__(
        self,
        in_channels: int = 3,
        image_size: tuple[int, int] = (32, 32),
        hidden: tuple[int, ...] = (512, 512),
    ):
        super().__init__(image_size, channels=(hidden[-1],), strides=(max(image_size),))
        pixels = in_channels * image_size[0] * image_size[1]
        self.layers = nn.Sequential()
        for fan_in, fan_out in pairwise((pixels, *hidden)):
            linear = nn.Linear(fan_in, fan_out)
            nn.init.kaiming_normal_(linear.weight, nonlinearity="relu")
            nn.init.zeros_(linear.bias)
            self.layers.extend([linear, nn.ReLU(inplace=True)])

    def forward(self, image: Float[Tensor, "N C H W"]) -> list[Tensor]:
        assert image.shape[2:] == self.image_size, f"built for {self.image_size}, not {tuple(image.shape[2:])}"
        return [self.layers(image.flatten(1))[:, :, None, None]]
