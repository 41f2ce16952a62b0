"""What an autoencoder keeps of an image: the way between two latents, and a map of many (Figure 2.11).

Shapes: N images, C channels, H W space, D numbers of a latent.
"""

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor

from olhar.models.autoencoder import Autoencoder
from olhar.models.vae import VAE
from olhar.objectives.gaussian import Gaussian
from olhar.tasks.reconstruct import Reconstruct


def model_of(task: Reconstruct) -> Autoencoder | VAE:
    """The autoencoder of a task that has one."""
    assert isinstance(task.model, (Autoencoder, VAE))
    return task.model


def latents(task: Reconstruct, images: UInt8[Tensor, "N C H W"]) -> Tensor:
    """The latents of some images, [N, ...]: of a distribution its mode."""
    code = model_of(task).encode(task.normalise(images))
    return code.mode() if isinstance(code, Gaussian) else code


def interpolation(
    task: Reconstruct, first: UInt8[Tensor, "C H W"], last: UInt8[Tensor, "C H W"], steps: int = 8
) -> list[UInt8[Tensor, "C H W"]]:
    """Images decoded along the straight line between the latents of two images, the ends included.

    Where the space between examples is filled, as the KL term of a variational autoencoder asks, what lies on the way
    looks like an image too; else it looks like two images laid over each other.
    """
    height, width = first.shape[1:]
    ends = latents(task, torch.stack([first, last]))
    share = torch.linspace(0, 1, steps, device=ends.device).view(-1, *[1] * (ends.ndim - 1))
    decoded = model_of(task).decode(torch.lerp(ends[:1], ends[1:], share), (height, width))
    values = (decoded.float() * task.std + task.mean) * 255
    return list(task.settle(values).cpu())


def project(codes: Float[np.ndarray, "N D"]) -> tuple[Float[np.ndarray, "N 2"], float]:
    """The two directions in which latents differ most (principal components), and their share of the variance."""
    centred = codes - codes.mean(0)
    left, values, _ = np.linalg.svd(centred, full_matrices=False)
    return left[:, :2] * values[:2], float((values[:2] ** 2).sum() / max((values**2).sum(), 1e-12))
