"""Reconstruction: the model outputs an image (Figure 2.11); what it is shown may have been corrupted first.

It outputs the mean of a Gaussian or a Laplace over every number of the clean image, whose one scale is followed by
maximum likelihood; a variational autoencoder also a Gaussian over its latent. The loss is the negative of the
evidence lower bound, -log p(image | latent) + KL(latent ‖ N(0, 1)), divided by the count of numbers of the image, so
that it means the same at every size (Kingma and Welling 2014, arXiv 1312.6114).

Shapes: N batch, C channels, H W space.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float, UInt8
from torch import Tensor, nn
from torchmetrics import Metric

from olhar import metrics
from olhar.data.corrupt import planes_of, with_known
from olhar.data.sample import Batch
from olhar.layers.scale import RunningScale
from olhar.models.autoencoder import Autoencoder
from olhar.models.vae import VAE
from olhar.objectives.gaussian import Gaussian
from olhar.objectives.laplace import Laplace
from olhar.tasks.task import Pictures, PixelTask, Prediction, pixel_settings


@dataclass(frozen=True)
class ImagePrediction(Prediction):
    """`image` is the restored one, uint8 [C, H, W]."""

    image: UInt8[Tensor, "C H W"]

    def row(self) -> dict[str, Any]:
        return {"id": self.id, "height": self.image.shape[1], "width": self.image.shape[2]}


@dataclass(frozen=True)
class Restored:
    """p(clean image | what was shown), in normalised values, and the latent it was decoded from, where it has one."""

    image: Gaussian | Laplace
    latent: Gaussian | None = None


class Reconstruct(PixelTask[Restored]):
    """Args:
    model: image [N, C, H, W] -> the same shape: of an autoencoder its reconstruction, of any other network what has
        to be added to the corrupted image.
    corruption: what was done to the image: none, noise, grey, holes, x2, x4, or pairs (the data say it).
    noise: its deviation, as the settings have it; kept for the reader.
    likelihood: "gaussian" (squared errors) or "laplace" (distances).
    kl: how much the KL term of a variational autoencoder counts; 1 is the evidence lower bound.
    ssim: how much of 1 - SSIM is added. It is not a likelihood.
    """

    name: ClassVar[str] = "reconstruct"
    watch: ClassVar[str] = "psnr"
    watch_mode: ClassVar[str] = "max"

    def __init__(
        self,
        model: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        corruption: str = "none",
        noise: str = "25",
        likelihood: str = "gaussian",
        kl: float = 1.0,
        ssim: float = 0.0,
    ):
        super().__init__(model, mean, std)
        self.corruption, self.noise, self.likelihood, self.kl, self.ssim = corruption, noise, likelihood, kl, ssim
        self.scale = RunningScale()

    @property
    def chance(self) -> float | None:
        """The loss of a model that answers every image with the mean colour; of a corrupted one more is known."""
        plain = self.corruption == "none" and self.likelihood == "gaussian"
        return 0.5 * math.log(2 * math.pi * math.e) if plain else None

    def output(self, batch: Batch) -> Restored:
        seen, latent = self.normalise(batch["image"]), None
        if isinstance(self.model, VAE):
            latent = self.model.encode(seen)
            code = latent.sample() if self.training else latent.mode()
            mean = self.model.decode(code, (seen.shape[2], seen.shape[3]))
        elif isinstance(self.model, Autoencoder):
            mean = self.model(seen)
        elif self.corruption == "holes":
            # what is no hole is known, and the model is told by one more channel which is which
            holes = batch["holes"].to(seen.dtype) / 255
            mean = seen + holes * self.model(torch.cat([seen, holes], 1))
        else:
            mean = seen + self.model(seen)
        target = self.normalise(batch["clean"]) if "clean" in batch else mean.detach()
        error = (target - mean).abs()
        if self.likelihood == "laplace":
            return Restored(Laplace(mean, self.scale(error)), latent)
        return Restored(Gaussian(mean, self.scale(error.square())), latent)

    def losses(self, output: Restored, batch: Batch) -> dict[str, Tensor]:
        count = output.image.mean[0].numel()
        nll = output.image.nll(self.normalise(batch["clean"])).mean() / count
        parts = {"loss": nll}
        if output.latent is not None:
            kl = output.latent.kl(standard_normal(output.latent)).mean() / count
            parts = {"loss": nll + self.kl * kl, "nll": nll, "kl": kl}
        if self.ssim:
            unlike = 1 - metrics.ssim(self.values(output), batch["clean"].float()).mean()
            parts |= {"loss": parts["loss"] + self.ssim * unlike, "ssim_loss": unlike}
        return parts

    def nll(self, output: Restored, batch: Batch) -> Float[Tensor, " N"]:
        """A number of the image, in nats."""
        return output.image.nll(self.normalise(batch["clean"])) / output.image.mean[0].numel()

    def values(self, output: Restored) -> Float[Tensor, "N C H W"]:
        return (output.image.mode().float() * self.std + self.mean) * 255

    def settle(self, answer: Float[Tensor, "N C H W"]) -> UInt8[Tensor, "N C H W"]:
        return answer.round().clamp(0, 255).to(torch.uint8)

    def prediction(self, id: str, values: UInt8[Tensor, "C H W"]) -> Prediction:
        return ImagePrediction(id, values)

    def prepare(
        self, image: UInt8[Tensor, "C H W"], alpha: UInt8[Tensor, "1 H W"] | None = None
    ) -> UInt8[Tensor, "P h w"]:
        return planes_of(image, alpha, self.corruption)

    def complete(self, values: UInt8[Tensor, "C H W"], planes: UInt8[Tensor, "P H W"]) -> UInt8[Tensor, "C H W"]:
        return with_known(values, planes, self.corruption)

    def batch_of(self, planes: UInt8[Tensor, "N P H W"]) -> Batch:
        channels = self.mean.shape[1]
        batch: Batch = {"id": [""] * len(planes), "image": planes[:, :channels]}
        return batch if planes.shape[1] == channels else {**batch, "holes": planes[:, channels:]}

    def describe_truth(self, batch: Batch) -> list[Any]:
        return [None for _ in batch["id"]]

    def details(self, output: Restored, batch: Batch) -> list[dict[str, Any]]:
        """How near each image came to the clean one, and how near it was before."""
        made, clean, shown = self.settle(self.values(output)), batch["clean"], batch["image"]
        columns = {"psnr": metrics.psnr(made, clean), "ssim": metrics.ssim(made, clean)}
        if self.corruption != "none":
            columns["psnr_before"] = metrics.psnr(shown, clean)
        rows = zip(*(column.tolist() for column in columns.values()), strict=True)
        return [{name: round(v, 4) for name, v in zip(columns, row, strict=True)} for row in rows]

    def draw(self, output: Restored, batch: Batch) -> list[Pictures]:
        made = self.settle(self.values(output)).cpu()
        strips = [{"image": shown, "prediction": one} for shown, one in zip(batch["image"].cpu(), made, strict=True)]
        if self.corruption != "none" and "clean" in batch:
            return [strip | {"truth": clean} for strip, clean in zip(strips, batch["clean"].cpu(), strict=True)]
        return strips

    def metrics(self) -> dict[str, Metric]:
        return metrics.reconstruction(self.corruption != "none", isinstance(self.model, VAE))

    def update(self, metrics: dict[str, Metric], output: Restored, batch: Batch) -> None:
        for row in self.details(output, batch):
            for name, value in row.items():
                metrics[name].update(value)
        if output.latent is not None:
            pixels = output.image.mean[0, 0].numel()
            kl = output.latent.kl(standard_normal(output.latent))
            metrics["latent_bits_per_pixel"].update(kl / math.log(2) / pixels)

    def settings(self) -> dict[str, Any]:
        own = {"corruption": self.corruption, "noise": self.noise, "likelihood": self.likelihood}
        return pixel_settings(self) | own | {"kl": self.kl, "ssim": self.ssim}


def standard_normal(like: Gaussian) -> Gaussian:
    """N(0, 1) of the same shape: the prior of the latent."""
    return Gaussian(torch.zeros_like(like.mean))
