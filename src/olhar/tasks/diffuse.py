"""Diffusion: the model is shown an image with noise and says what the noise is (Figure 5.1), perhaps told a class or a
caption; asked again and again from pure noise on, it draws (Figure 5.2).

Shapes: N batch, C channels, H W space, L tokens.
"""

import math
from collections.abc import Sequence
from typing import Any, ClassVar

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torchmetrics import Metric

from olhar import metrics
from olhar.data.sample import Batch
from olhar.layers.space import Latents, Pixels
from olhar.objectives.denoised import Denoised
from olhar.objectives.gaussian import Gaussian
from olhar.ops.noise import Drawing, Estimate, Kind, Schedule, Weighting, fixed, make_process
from olhar.tasks.pixel_task import ImagePrediction
from olhar.tasks.task import Pictures, Prediction, Task, pixel_settings


class Diffuse(Task[Denoised]):
    """Args:
    model: (noisy [N, C, H, W], level [N], label [N] or None, where it reads captions tokens [N, L]) -> what `predict`
        names, of the noisy image's shape.
    class_names: what it can be asked for; none where the images have no classes.
    predict: what the model says.
    schedule: how noise grows with the level. Where the model says the velocity, the last level is nothing but noise.
    weighting: how much levels count; "uniform" is the likelihood.
    levels: how they are drawn in training.
    drop: the share of examples whose class or caption is hidden in training, so that the model can be asked with and
        without one (classifier-free guidance: Ho and Salimans 2022, arXiv 2207.12598).
    """

    name: ClassVar[str] = "diffuse"
    watch: ClassVar[str] = "mse"
    watch_mode: ClassVar[str] = "min"
    unlearnt: ClassVar[str] = (
        "the model says that there is no noise. Likely a learning rate far too high or too low, or too few steps. "
        "Try --optim.lr ten times smaller, or more --epochs."
    )

    def __init__(
        self,
        model: nn.Module,
        mean: Sequence[float],
        std: Sequence[float],
        class_names: Sequence[str] = (),
        predict: Kind = "noise",
        schedule: Schedule = "cosine",
        weighting: Weighting = "uniform",
        levels: Drawing = "uniform",
        drop: float = 0.1,
        space: Latents | None = None,
    ):
        super().__init__(model, mean, std)
        self.space = space or Pixels(mean, std)
        self.kind: Kind = predict
        self.weighting: Weighting = weighting
        self.levels: Drawing = levels
        self.class_names, self.schedule, self.drop = list(class_names), schedule, drop
        self.process = make_process(schedule, zero_terminal=predict == "velocity")

    @property
    def chance(self) -> float:
        """The loss of a model that says 0: of targets with variance 1, or 2 where they are noise less image."""
        variance = 2 if self.schedule == "flow" and self.kind == "velocity" else 1
        weights = self.process.weights(self.weighting, self.kind, torch.arange(len(self.process)))
        return 0.5 * (math.log(2 * math.pi) + variance) * float(weights.mean())

    def output(self, batch: Batch) -> Denoised:
        """In training at random levels, with classes and captions hidden at random; in evaluation each image always
        at the same level with the same noise, so that figures can be compared."""
        if isinstance(self.space, Latents) and "latent" in batch:
            image = self.space.normalise(batch["latent"])
        else:
            image = self.space(batch["image"])
        label, tokens = batch.get("label") if self.class_names else None, batch.get("tokens")
        if self.training:
            level, noise = self.process.draw(self.levels, len(image), image.device), torch.randn_like(image)
            label, tokens = self.hidden(label, tokens, torch.rand(len(image), device=image.device) < self.drop)
        else:
            level, noise = fixed(batch["id"], image, len(self.process))
        noisy = self.process.mix(image, noise, level)
        said = self.say(noisy, level, label, tokens)
        weight = self.process.weights(self.weighting, self.kind, level)
        return Denoised(Gaussian(said), self.process.target(self.kind, image, noise, level), noisy, level, weight)

    @property
    def nothing(self) -> Tensor:
        """The tokens of a caption that says nothing."""
        assert isinstance(self.model.nothing, Tensor)
        return self.model.nothing

    def say(self, noisy: Tensor, level: Tensor, label: Tensor | None, tokens: Tensor | None) -> Tensor:
        """What the model answers."""
        return self.model(noisy, level, label) if tokens is None else self.model(noisy, level, label, tokens)

    def hidden(self, label: Tensor | None, tokens: Tensor | None, hide: Tensor) -> tuple[Tensor | None, Tensor | None]:
        """Classes and captions, and where `hide` [N] is True nothing in their place."""
        label = None if label is None else torch.where(hide, len(self.class_names), label)
        return label, None if tokens is None else torch.where(hide[:, None], self.nothing, tokens)

    def losses(self, output: Denoised, batch: Batch) -> dict[str, Tensor]:
        return {"loss": (output.weight * self.nll(output, batch)).mean(), "mse": output.error().mean()}

    def nll(self, output: Denoised, batch: Batch) -> Float[Tensor, " N"]:
        return output.nll(output.target)

    def estimate(self, said: Tensor, noisy: Tensor, level: Int[Tensor, " N"]) -> Estimate:
        """Image and noise of what the model said, the image's colours kept within their range."""
        image = self.space.within(self.process.estimate(self.kind, said.float(), noisy, level).image)
        return Estimate(image, self.process.estimate("image", image, noisy, level).noise)

    def pixels(self, image: Float[Tensor, "N C H W"]) -> Tensor:
        """What noise is mixed with as uint8 colours."""
        return self.space.colours(image).round().clamp(0, 255).to(torch.uint8)

    def decode(self, output: Denoised, batch: Batch) -> list[Prediction]:
        """What each image was thought to be without the noise."""
        made = self.pixels(self.estimate(output.said.mean, output.noisy, output.level).image).cpu()
        return [ImagePrediction(id, image) for id, image in zip(batch["id"], made, strict=True)]

    def describe_truth(self, batch: Batch) -> list[Any]:
        if self.class_names and "label" in batch:
            return [self.class_names[k] for k in batch["label"].tolist()]
        return list(batch["text"]) if "text" in batch else [None for _ in batch["id"]]

    def details(self, output: Denoised, batch: Batch) -> list[dict[str, Any]]:
        rows = zip(output.level.tolist(), output.error().tolist(), strict=True)
        return [{"level": level, "mse": round(error, 5)} for level, error in rows]

    def draw(self, output: Denoised, batch: Batch) -> list[Pictures]:
        made = self.estimate(output.said.mean, output.noisy, output.level).image
        pictures = {"image": self.pixels(output.noisy), "prediction": self.pixels(made), "truth": batch["image"]}
        return [{name: images[i].cpu() for name, images in pictures.items()} for i in range(len(made))]

    def metrics(self) -> dict[str, Metric]:
        return metrics.denoising(len(self.process))

    def update(self, metrics: dict[str, Metric], output: Denoised, batch: Batch) -> None:
        metrics["mse"].update(output.error(), output.level)

    def settings(self) -> dict[str, Any]:
        names = ("class_names", "schedule", "weighting", "levels", "drop")
        return pixel_settings(self) | {name: getattr(self, name) for name in names} | {"predict": self.kind}
