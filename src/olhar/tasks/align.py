"""Alignment: images and their captions become vectors that are near where they belong together (Figure 4.3).

The model outputs a unit vector for each image and each caption; their products, times a learnt scale, are the logits
of a categorical over the batch, both ways. Where words look at patches (Figure 4.2), what they find there gives a
second one: vectors then find the nearest, and words put those in order.

Shapes: N images, T captions, P patches, L tokens, E width of the common space.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor
from torchmetrics import Metric

from olhar.data.sample import Batch
from olhar.metrics_retrieval import Parts, Retrieval, name_keys
from olhar.models.clip import Clip, Encoded
from olhar.objectives.contrastive import Contrastive, cosines, token_keys
from olhar.tasks.task import Prediction, Task, pixel_settings

NEAREST = 10  # captions that an answer names


@dataclass(frozen=True)
class Candidates:
    """Texts that an image may be asked to choose from, their unit vectors [T, E], and where patches are looked at their
    words [T, L, E]."""

    texts: tuple[str, ...]
    vectors: Tensor
    words: Tensor | None = None


@dataclass(frozen=True)
class CaptionPrediction(Prediction):
    """The candidates that fit an image best, best first: their cosines, or the mean of these and of how well words fit
    patches, and probabilities among all candidates, or those that were looked at so closely."""

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
        image, text, scale = self.model(self.normalise(batch["image"]), batch["tokens"])
        fusion, closer = self.model.fusion, None
        if fusion is not None and image.parts is not None and text.parts is not None:
            closer = Contrastive(image.parts, text.parts, fusion.scale, fusion.scores)
        return Contrastive(image.whole, text.whole, scale, closer=closer)

    def losses(self, output: Contrastive, batch: Batch) -> dict[str, Tensor]:
        return {"loss": self.nll(output, batch).mean(), "scale": output.scale.detach()}

    def nll(self, output: Contrastive, batch: Batch) -> Tensor:
        return output.nll(token_keys(batch["tokens"]))

    def read_images(self, batch: Batch) -> Encoded:
        """The images alone."""
        return self.model.read_image(self.normalise(batch["image"]))

    def predict(self, batch: Batch) -> list[Prediction]:
        """Which of the candidates fit each image; where nobody gave any, which captions of the batch."""
        if self.candidates is None:
            return self.decode(self.output(batch), batch)
        return self.ranked(self.read_images(batch), batch["id"], self.candidates)

    def decode(self, output: Contrastive, batch: Batch) -> list[Prediction]:
        patches, words = (output.closer.image, output.closer.text) if output.closer else (None, None)
        among = self.candidates or Candidates(tuple(batch["text"]), output.text, words)
        return self.ranked(Encoded(output.image, patches), batch["id"], among)

    def ranked(self, image: Encoded, ids: Sequence[str], among: Candidates) -> list[Prediction]:
        """The candidates of each image, by similarity."""
        alike, scale = cosines(image.whole, among.vectors.to(image.whole)), self.model.scale
        best, places = alike.topk(min(NEAREST, len(among.texts)), dim=1)
        fusion = self.model.fusion
        if fusion is not None and image.parts is not None and among.words is not None:
            parts = Parts(image.parts, among.words.to(image.parts), fusion.scores, self.model.share)
            places, alike = parts.texts(alike)
            best, scale = alike, (scale + fusion.scale) / 2
        p = (best * scale - (alike * scale).logsumexp(1, keepdim=True)).exp()
        rows = zip(ids, *(some[:, :NEAREST].tolist() for some in (places, best, p)), strict=True)
        return [
            CaptionPrediction(id, tuple(among.texts[k] for k in which), tuple(values), tuple(probabilities))
            for id, which, values, probabilities in rows
        ]

    def describe_truth(self, batch: Batch) -> list[Any]:
        return list(batch["text"])

    def metrics(self) -> dict[str, Metric]:
        fusion = self.model.fusion
        return {self.watch: Retrieval(fusion.scores, self.model.share) if fusion else Retrieval()}

    def update(self, metrics: dict[str, Metric], output: Contrastive, batch: Batch) -> None:
        """With all captions an image has, where the batch brings the others along."""
        keys = name_keys(batch["id"]).to(output.image.device)
        parts = [output.closer.image, output.closer.text] if output.closer else []
        text, owner, tokens = output.text, keys, batch["tokens"]
        if "others" in batch and (count := sum(map(len, batch["others"]))):
            more = torch.cat(batch["others"])
            counts = torch.tensor([len(one) for one in batch["others"]], device=keys.device)
            others = self.model.read_text(more)
            text = torch.cat([text, others.whole])
            parts[1:] = [] if others.parts is None else [torch.cat([parts[1], others.parts])]
            owner = torch.cat([keys, keys.repeat_interleave(counts, output_size=count)])
            tokens = torch.cat([tokens, more])
        metrics[self.watch].update(output.image, text, keys, owner, token_keys(tokens), *parts)

    def settings(self) -> dict[str, Any]:
        return pixel_settings(self) | {"batch_size": self.batch_size}
