"""Reconstruction: the model outputs an image (Figure 2.11); what it is shown may have been corrupted first.

It outputs the mean of a Gaussian or a Laplace over every number of the clean image, whose one scale is followed by
maximum likelihood; a variational autoencoder also a Gaussian over its latent. The loss is the negative of the evidence
lower bound, -log p(image | latent) + KL(latent ‖ N(0, 1)), in nats a number of the image.

Shapes: N batch, C channels, H W space.
"""

import math
from collections.abc import Sequence
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
from olhar.objectives.restored import Restored
from olhar.tasks.pixel_task import ImagePrediction, PixelTask
from olhar.tasks.task import Pictures, Prediction, pixel_settings


class Reconstruct(PixelTask[Restored]):
    """Args:
    model: image [N, C, H, W] -> the same shape: of an autoencoder its reconstruction, of any other network what has
        to be added to the corrupted image.
    corruption: what was done to the image: none, noise, grey, holes, x2, x4, or pairs (the data say it).
    noise: its deviation, for the reader.
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
        error = (self.normalise(batch["clean"]) - mean).abs() if "clean" in batch else mean.new_zeros(())
        if self.likelihood == "laplace":
            return Restored(Laplace(mean, self.scale(error)), latent)
        return Restored(Gaussian(mean, self.scale(error.square())), latent)

    def losses(self, output: Restored, batch: Batch) -> dict[str, Tensor]:
        nll = self.nll(output, batch).mean()
        parts = {"loss": nll}
        if output.latent is not None:
            kl = output.kl().mean()
            parts = {"loss": nll + self.kl * kl, "nll": nll, "kl": kl}
        if self.ssim:
            unlike = 1 - metrics.ssim(self.values(output), batch["clean"].float()).mean()
            parts |= {"loss": parts["loss"] + self.ssim * unlike, "ssim_loss": unlike}
        return parts

    def nll(self, output: Restored, batch: Batch) -> Float[Tensor, " N"]:
        return output.nll(self.normalise(batch["clean"]))

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
        before = batch["image"] if self.corruption != "none" else None
        return metrics.likeness(self.settle(self.values(output)), batch["clean"], before)

    def draw(self, output: Restored, batch: Batch) -> list[Pictures]:
        made = self.settle(self.values(output)).cpu()
        pictures = {"image": batch["image"].cpu(), "prediction": made}
        if self.corruption != "none" and "clean" in batch:
            pictures["truth"] = batch["clean"].cpu()
        return [{name: images[i] for name, images in pictures.items()} for i in range(len(made))]

    def metrics(self) -> dict[str, Metric]:
        return metrics.reconstruction(self.corruption != "none", isinstance(self.model, VAE))

    def update(self, metrics: dict[str, Metric], output: Restored, batch: Batch) -> None:
        for row in self.details(output, batch):
            for name, value in row.items():
                metrics[name].update(value)
        if output.latent is not None:
            metrics["latent_bits_per_pixel"].update(output.bits_per_pixel())

    def settings(self) -> dict[str, Any]:
        own = {"corruption": self.corruption, "noise": self.noise, "likelihood": self.likelihood}
        return pixel_settings(self) | own | {"kl": self.kl, "ssim": self.ssim}
