"""Alignment: images and their captions become vectors that are near where they belong together (Figure 4.3).

The model outputs a unit vector for each image and each caption; their products, times a learnt scale, are the logits
of a categorical over the batch, both ways.

Shapes: N images, T captions, L tokens, E width of the common space.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor
from torchmetrics import Metric

from olhar.data.sample import Batch
from olhar.metrics_retrieval import Retrieval, name_keys
from olhar.models.clip import Clip
from olhar.objectives.contrastive import Contrastive, token_keys
from olhar.tasks.task import Prediction, Task, pixel_settings

NEAREST = 10  # captions that an answer names


@dataclass(frozen=True)
class Candidates:
    """Texts that an image may be asked to choose from, and their unit vectors [T, E]."""

    texts: tuple[str, ...]
    vectors: Tensor


@dataclass(frozen=True)
class CaptionPrediction(Prediction):
    """The candidates that fit an image best, best first: their cosines, and probabilities among all candidates."""

    captions: tuple[str, ...]
    similarities: tuple[float, ...]
    probabilities: tuple[float, ...]

    def top(self, k: int = 5) -> list[tuple[str, float]]:
        """The k that fit best with their cosines."""
        return list(zip(self.captions, self.similarities, strict=True))[:k]

    def row(self) -> dict[str, Any]:
        captions = [{"caption": text, "similarity": round(cosine, 4)} for text, cosine in self.top(NEAREST)]
        best, cosine, p = self.captions[0], self.similarities[0], self.probabilities[0]
        return {"id": self.id, "caption": best, "similarity": cosine, "probability": p, "captions": captions}


class Align(Task[Contrastive]):
    """Args:
    model: image [N, C, H, W] and tokens [N, L] -> unit vectors of both, and their scale.
    batch_size: of the training: who has learnt nothing has a loss of its logarithm.

    `candidates` are the texts that `predict` chooses from; who asks sets them.
    """

    name: ClassVar[str] = "align"
    watch: ClassVar[str] = "mean_recall"
    watch_mode: ClassVar[str] = "max"
    model: Clip

    def __init__(self, model: Clip, mean: Sequence[float], std: Sequence[float], batch_size: int | None = None):
        super().__init__(model, mean, std)
        self.batch_size = batch_size
        self.candidates: Candidates | None = None

    @property
    def chance(self) -> float | None:
        """The loss of a model that has learnt nothing, ln N, whether captions repeat or not."""
        return None if self.batch_size is None else math.log(self.batch_size)

    def output(self, batch: Batch) -> Contrastive:
        return Contrastive(*self.model(self.normalise(batch["image"]), batch["tokens"]))

    def losses(self, output: Contrastive, batch: Batch) -> dict[str, Tensor]:
        return {"loss": self.nll(output, batch).mean(), "scale": output.scale.detach()}

    def nll(self, output: Contrastive, batch: Batch) -> Tensor:
        return output.nll(token_keys(batch["tokens"]))

    def encode_images(self, batch: Batch) -> Float[Tensor, "N E"]:
        """Unit vectors of the images alone."""
        return self.model.encode_image(self.normalise(batch["image"]))

    def predict(self, batch: Batch) -> list[Prediction]:
        """Which of the candidates fit each image."""
        assert self.candidates is not None, "nobody said which texts to choose from"
        return self.ranked(self.encode_images(batch), batch["id"], self.candidates)

    def decode(self, output: Contrastive, batch: Batch) -> list[Prediction]:
        """The same; where nobody gave candidates, of the captions of the batch."""
        return self.ranked(output.image, batch["id"], self.candidates or Candidates(tuple(batch["text"]), output.text))

    def ranked(self, image: Float[Tensor, "N E"], ids: Sequence[str], among: Candidates) -> list[Prediction]:
        """The candidates of each image, by similarity."""
        cosines = image @ among.vectors.to(image).mT
        p = (cosines * self.model.scale).softmax(1)
        best = cosines.topk(min(NEAREST, len(among.texts)), dim=1)
        rows = zip(ids, best.values.tolist(), best.indices.tolist(), p.gather(1, best.indices).tolist(), strict=True)
        return [
            CaptionPrediction(id, tuple(among.texts[k] for k in which), tuple(values), tuple(probabilities))
            for id, values, which, probabilities in rows
        ]

    def describe_truth(self, batch: Batch) -> list[Any]:
        return list(batch["text"])

    def metrics(self) -> dict[str, Metric]:
        return {self.watch: Retrieval()}

    def update(self, metrics: dict[str, Metric], output: Contrastive, batch: Batch) -> None:
        """With all captions an image has, where the batch brings the others along."""
        keys = name_keys(batch["id"]).to(output.image.device)
        text, owner, tokens = output.text, keys, batch["tokens"]
        if "others" in batch and (count := sum(map(len, batch["others"]))):
            more = torch.cat(batch["others"])
            counts = torch.tensor([len(one) for one in batch["others"]], device=keys.device)
            text = torch.cat([text, self.model.encode_text(more)])
            owner = torch.cat([keys, keys.repeat_interleave(counts, output_size=count)])
            tokens = torch.cat([tokens, more])
        metrics[self.watch].update(output.image, text, keys, owner, token_keys(tokens))

    def settings(self) -> dict[str, Any]:
        return pixel_settings(self) | {"batch_size": self.batch_size}
