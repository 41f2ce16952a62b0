"""Why a score is what it is: which pixels, or places of a layer, it hangs on.

Shapes: N batch, C channels, H W space, h w places of a layer, K scores.
"""

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from olhar.inspection.capture import capture, tensors_of


def scores_of(outputs: Float[Tensor, "N K"], target: Int[Tensor, "N"]) -> Float[Tensor, "N"]:
    """The score of each image's own `target`."""
    return outputs.gather(1, target[:, None])[:, 0]


def grad_cam(
    model: nn.Module, image: Float[Tensor, "N C H W"], target: Int[Tensor, "N"], layer: str
) -> Float[Tensor, "N h w"]:
    """Grad-CAM (Selvaraju et al. 2017, arXiv 1610.02391, Eq 1 and 2): the channels of `layer`, each weighed by the mean
    gradient of the score over its places, added up; what speaks against the class is left out."""
    with torch.enable_grad(), capture(model, [layer]) as found:
        # the layer has to know how the score depends on it, also where no weight asks for a gradient
        outputs = model(image.detach().clone().requires_grad_())
        maps = tensors_of(found[layer])[-1]
        (gradient,) = torch.autograd.grad(scores_of(outputs, target).sum(), maps)
    weights = gradient.mean(dim=(2, 3), keepdim=True)
    return (weights * maps).sum(1).relu().detach()


def integrated_gradients(
    model: nn.Module,
    image: Float[Tensor, "N C H W"],
    target: Int[Tensor, "N"],
    steps: int = 50,
    chunk: int = 64,
) -> Float[Tensor, "N C H W"]:
    """Integrated gradients (Sundararajan et al. 2017, arXiv 1703.01365, Eq 1) from an image of zeros: of each pixel
    what it adds to the score on the straight way from there to the image. All together add up to the difference.

    Zero is the mean colour of the training set. The integral is a Gauss-Legendre sum of `steps` terms, `chunk` of them
    at a time.
    """
    nodes, weights = (torch.from_numpy(v).to(image) for v in np.polynomial.legendre.leggauss(steps))
    result = torch.zeros_like(image)
    for i, one in enumerate(image):
        total = torch.zeros_like(one)
        for at, share in zip(nodes.split(chunk), weights.split(chunk), strict=True):
            points = ((at + 1) / 2).view(-1, 1, 1, 1) * one
            with torch.enable_grad():
                points = points.detach().requires_grad_()
                score = scores_of(model(points), target[i].expand(len(points))).sum()
                (gradient,) = torch.autograd.grad(score, points)
            total += (share.view(-1, 1, 1, 1) / 2 * gradient).sum(0)
        result[i] = total * one
    return result


def occlusion(
    model: nn.Module, image: Float[Tensor, "N C H W"], target: Int[Tensor, "N"], window: int, stride: int
) -> Float[Tensor, "N H W"]:
    """How much the score falls where a square of the mean colour hides a part of the image (Zeiler and Fergus 2014,
    arXiv 1311.2901): at each pixel the mean over the squares that hide it."""
    height, width = image.shape[2:]
    fall, count = torch.zeros_like(image[:, 0]), torch.zeros_like(image[0, 0])
    with torch.inference_mode():
        whole = scores_of(model(image), target)
        for y in starts(height, window, stride):
            for x in starts(width, window, stride):
                hidden = image.clone()
                hidden[:, :, y : y + window, x : x + window] = 0
                fall[:, y : y + window, x : x + window] += (whole - scores_of(model(hidden), target)).view(-1, 1, 1)
                count[y : y + window, x : x + window] += 1
    return fall / count


def starts(length: int, window: int, stride: int) -> range:
    """Where windows begin, so that they cover all of `length`; the last may reach beyond it."""
    return range(0, max(0, -(-(length - window) // stride)) * stride + 1, stride)


def enlarged(heat: Float[Tensor, "N h w"], size: tuple[int, int]) -> Float[Tensor, "N H W"]:
    """Maps of a layer at the size of the image, each divided by its largest value."""
    heat = F.interpolate(heat[:, None].float(), size=size, mode="bilinear")[:, 0]
    return heat / heat.amax(dim=(1, 2), keepdim=True).clamp_min(1e-12)
