"""Residual blocks with group norm (He et al. 2016, arXiv 1603.05027; Wu & He 2018, arXiv 1803.08494).

They know nothing of the batch: an image is treated alike whatever stands beside it, in training and after it.

Shapes: N batch, C D channels, H W space, E width of what is told.
"""

from jaxtyping import Float
from torch import Tensor, nn

# Channels that share their mean and deviation. Sixteen are a vector of the processor: groups of four or eight take
# five to ten times as long on a CPU in the channels_last format.
GROUP = 16


def group_norm(channels: int, groups: int = 0, eps: float = 1e-5) -> nn.GroupNorm:
    """Normalisation over space and `groups` of channels; 0: groups of GROUP, or all of them where they do not divide
    so. `eps` is added to the variance."""
    return nn.GroupNorm(groups or (channels // GROUP if channels % GROUP == 0 else 1), channels, eps)


class ResidualBlock(nn.Module):
    """Normalise, activate, convolve, twice, and the input added (Figure 2.6a): [N, C, H, W] -> [N, D, H, W].

    Where C is not D a 1x1 convolution takes the input to D channels.

    Args:
        told: E, where every place is also told something, such as the level of the noise: it is added between the
            convolutions.
        groups, eps: of the norms; see `group_norm`.
    """

    def __init__(self, in_channels: int, out_channels: int, told: int = 0, groups: int = 0, eps: float = 1e-5):
        super().__init__()
        self.norm1 = group_norm(in_channels, groups, eps)
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.tell = nn.Linear(told, out_channels) if told else None
        self.norm2 = group_norm(out_channels, groups, eps)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.act = nn.SiLU()
        same = in_channels == out_channels
        self.shortcut = nn.Identity() if same else nn.Conv2d(in_channels, out_channels, 1)

    def forward(
        self, x: Float[Tensor, "N C H W"], told: Float[Tensor, "N E"] | None = None
    ) -> Float[Tensor, "N D H W"]:
        hidden = self.conv1(self.act(self.norm1(x)))
        if self.tell is not None:
            hidden = hidden + self.tell(self.act(told))[:, :, None, None]
        return self.shortcut(x) + self.conv2(self.act(self.norm2(hidden)))
