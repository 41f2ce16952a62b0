"""What the pixels of an image add to a look at its file: whether they are all the same, and what it looks like.

Shapes: C channels, H W space.
"""

import torch.nn.functional as F
from jaxtyping import UInt8
from torch import Tensor

FLAT = 2.0  # of 255: regions that differ less are noise to the eye


def constant(image: UInt8[Tensor, "C H W"]) -> bool:
    """Every pixel is the same."""
    return bool((image == image[:, :1, :1]).all())


def gradient_bits(image: UInt8[Tensor, "C H W"]) -> tuple[int, int] | None:
    """128 bits that survive scaling, compression and a change of light: whether each of 8 x 8 regions is lighter
    than its right and its lower neighbour (the difference hash of N. Krawetz, "Kind of like that", 2013).

    None for a picture too flat to be told by its gradients.
    """
    grey = image.float().mean(0, keepdim=True)
    across, down = F.adaptive_avg_pool2d(grey, (8, 9))[0], F.adaptive_avg_pool2d(grey, (9, 8))[0]
    if across.std() < FLAT:
        return None
    bits = (across[:, 1:] > across[:, :-1]).flatten().tolist(), (down[1:] > down[:-1]).flatten().tolist()
    first, second = (sum(1 << i for i, bit in enumerate(word) if bit) for word in bits)
    return first, second
