"""Which caption of an image is shown, and its tokens: what the loader adds to a batch of images with captions.

Shapes: N batch, L tokens.
"""

from collections.abc import Sequence

import numpy as np
import torch

from olhar.data.sample import Batch, Record
from olhar.data.text import Tokenizer
from olhar.data.transforms import Indices, uniform

CAPTION = 102  # which of an index's random numbers chooses its caption; see FLIP and ORDER


class Wording:
    """The captions of one split, as text and, where there is a tokenizer, as tokens; encoded once.

    Args:
        records: those of the loader, in its order; each has one caption or more.
        tokenizer, length: what makes `tokens` [N, length]; without them a batch gets `text` alone.
        seed: in training each epoch shows one caption of an image at random, from (seed, epoch, index).
        shuffle: False shows the first one, for evaluation, and adds the `others` of each image.
    """

    def __init__(
        self,
        records: Sequence[Record],
        tokenizer: Tokenizer | None = None,
        length: int = 0,
        seed: int = 0,
        shuffle: bool = False,
    ):
        self.seed, self.shuffle = seed, shuffle
        self.counts = np.array([len(record.captions) for record in records])
        assert self.counts.all(), "a record has no caption"
        self.first = np.cumsum(self.counts) - self.counts
        self.texts = [caption for record in records for caption in record.captions]
        # int32: half the memory of what a model takes, for sets of a million captions
        self.tokens = tokenizer.encode(self.texts, length).int() if tokenizer is not None else None

    def __call__(self, batch: Batch, index: Indices, epoch: int) -> Batch:
        """The batch with `text` and `tokens`; `index` holds the places of its images in the records."""
        rows = self.rows(np.asarray(index), epoch)
        batch["text"] = [self.texts[row] for row in rows.tolist()]
        if self.tokens is not None:
            batch["tokens"] = self.tokens[torch.from_numpy(rows)].long()
            if not self.shuffle and self.counts.max() > 1:  # a split is measured with all that is said of its images
                ends = self.first + self.counts
                batch["others"] = [self.tokens[self.first[i] + 1 : ends[i]].long() for i in np.asarray(index).tolist()]
        return batch

    def rows(self, index: np.ndarray, epoch: int) -> np.ndarray:
        """Which of all captions each image is shown with, int64 [N]."""
        if not self.shuffle:
            return self.first[index]
        chosen = uniform(self.seed, epoch, index, 1, first=CAPTION)[:, 0] * self.counts[index]
        return self.first[index] + chosen.astype(np.int64)
