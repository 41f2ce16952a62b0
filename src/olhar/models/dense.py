"""Encoder, decoder and a head for every pixel (Figure 2.10): segmentation, and images out of images.

Shapes: N batch, C channels, H W space, K outputs a pixel.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from olhar.models.base import Decoder, Encoder
from olhar.ops.resize import resize


class Dense(nn.Module):
    """image [N, C, H, W] -> outputs [N, K, H, W], at the image's own size, whatever it is.

    `head` is a 3x3 convolution on the decoder's map. Where that is coarser than the image, the outputs are
    interpolated to its size, in float32: K of them, where before the head it would be all channels of the decoder,
    at three times the cost.
    """

    def __init__(self, encoder: Encoder, decoder: Decoder, num_outputs: int):
        super().__init__()
        self.encoder = encoder
        self.decoder = decoder
        self.head = nn.Conv2d(decoder.channels, num_outputs, 3, padding=1)

    def features(self, image: Float[Tensor, "N C H W"]) -> Float[Tensor, "N D h w"]:
        """The decoder's map."""
        return self.decoder(self.encoder(image))

    def forward(self, image: Float[Tensor, "N C H W"]) -> Float[Tensor, "N K H W"]:
        outputs = self.head(self.features(image))
        if outputs.shape[2:] != image.shape[2:]:  # on a CPU bfloat16 interpolates no faster, and with three digits
            outputs = outputs.to(torch.promote_types(outputs.dtype, torch.float32))
        return resize(outputs, image.shape[2:])
