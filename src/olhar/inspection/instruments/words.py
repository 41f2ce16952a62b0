"""Where the words of a caption look in an image (Figure 4.2)."""

import math
from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from olhar.errors import UserError
from olhar.inspection.figure import FULL, Style, bare, glow, grid, show
from olhar.inspection.instrument import Instrument, Subject, Table, Values
from olhar.inspection.instruments.attention import enlarge
from olhar.models.clip import Clip
from olhar.tasks.align import Align

IMAGES, ACROSS = 4, 9  # of a figure: images, unless more are given, and pictures in a row
MOST_WORDS = 20  # of a caption: a page has room for no more


@dataclass(frozen=True)
class Word:
    """A word of a caption: where it looks, in shares of the whole [h, w], and its cosine with what it sees there."""

    text: str
    heat: np.ndarray
    fit: float


@dataclass(frozen=True)
class Said:
    """An image, what was said of it, and each word of that."""

    id: str
    image: Tensor  # uint8 [C, H, W]
    caption: str
    words: tuple[Word, ...]


@dataclass(frozen=True)
class WordValues(Values):
    """Some images with their captions."""

    said: tuple[Said, ...]

    def table(self) -> Table:
        rows = []
        for one in self.said:
            for word in one.words:
                row, column = np.unravel_index(word.heat.argmax(), word.heat.shape)
                rows.append((one.id, word.text, round(word.fit, 3), int(row), int(column), round(word.heat.max(), 3)))
        return Table(("image", "word", "fit", "row of the patch it looks at most", "column", "share"), rows)


def needs_fusion(subject: Subject) -> str | None:
    """Why not, for a model whose words look at nothing."""
    if not isinstance(subject.task, Align):
        return "this run aligns no words with images."
    if subject.task.model.fusion is None:
        return "its words look at no patches: train with --model.fusion cross-attention."
    return None


@torch.inference_mode()
def look(subject: Subject) -> WordValues:
    """Of the first images, with their captions or the text that was given. Raises UserError where there is none."""
    task, tokenizer = subject.task, subject.tokenizer
    assert isinstance(task, Align)
    assert tokenizer is not None
    batch = subject.first(IMAGES)
    if "tokens" not in batch:
        raise UserError("Nothing is said of these images: add --text 'what they show'.")
    heats, fits = word_maps(task.model, task.normalise(batch["image"]), batch["tokens"])
    length, said = batch["tokens"].shape[1], []
    for i, caption in enumerate(batch["text"]):
        words = [
            Word(word, heats[i, places].mean(0).cpu().numpy(), float(fits[i, places].mean()))
            for word, places in tokenizer.words(caption, length)[:MOST_WORDS]
        ]
        said.append(Said(batch["id"][i], batch["image"][i].cpu(), caption, tuple(words)))
    return WordValues(tuple(said))


def word_maps(model: Clip, image: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
    """Of images [N, C, H, W] and a caption each [N, L]: where each token looks [N, L, h, w], and its cosine with what
    it sees there [N, L]."""
    fusion, stride = model.fusion, model.image_encoder.strides[model.level]
    patches, words = model.read_image(image).parts, model.read_text(tokens).parts
    assert fusion is not None
    assert patches is not None
    assert words is not None
    weights = fusion.weights(patches, words)
    height, width = image.shape[2:]
    heats = weights.unflatten(-1, (math.ceil(height / stride), math.ceil(width / stride)))
    return heats, torch.einsum("nlp,npe,nle->nl", weights, patches, words)


def draw(values: WordValues, style: Style) -> Figure:
    """Each image, and after it one picture a word; long captions take several rows."""
    rows_of = [-(-len(one.words) // (ACROSS - 1)) for one in values.said]
    across = min(ACROSS, 1 + max(len(one.words) for one in values.said))
    shape = values.said[0].image.shape
    cell = min(FULL / across, 1.4)
    figure, axes = grid(sum(rows_of), across, cell * across, sum(rows_of) * (cell * shape[1] / shape[2] + 0.2))
    figure.set_layout_engine("constrained", w_pad=0.02, h_pad=0.03, wspace=0, hspace=0)
    for axis in axes.flat:
        bare(axis)
    for start, one in zip(np.cumsum(rows_of) - rows_of, values.said, strict=True):
        show(axes[start][0], one.image)
        # one scale for a caption: a word that looks everywhere a little stays pale
        largest = max(word.heat.max() for word in one.words)
        for i, word in enumerate(one.words):
            row, column = divmod(i, ACROSS - 1)
            axis = axes[start + row][column + 1]
            axis.imshow(glow(one.image, enlarge(word.heat / largest, shape[1:]), style))
            axis.set_title(word.text, fontweight="normal", fontsize=7.5, loc="center", pad=3)
    return figure


WORDS = Instrument(
    shows="where each word of a caption looks in the image, of a model whose words look at patches",
    reading="A word takes most of the tinted patches; a caption has one scale, and pale words look everywhere.\n"
    "Names of things and colours should point at them; the table says how well each word fits what it found.",
    fits=needs_fusion,
    look=look,
    draw=draw,
    takes_text=True,
)
