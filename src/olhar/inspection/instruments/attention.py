"""Where a vision transformer looks: the heads of one block, and all blocks rolled out."""

from dataclasses import dataclass

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor, nn
from torch.nn.functional import interpolate

from olhar.errors import UserError
from olhar.inspection.attention import attention_weights_of, entropy, looked_at, mean_distance, rollout
from olhar.inspection.figure import FULL, Style, bare, glow, grid, show
from olhar.inspection.instrument import Instrument, Subject, Table, Values
from olhar.layers.attention import MultiHeadAttention
from olhar.models.vit import ViT

IMAGES, HEADS = 3, 6  # rows of the figure, and heads beside the rollout


@dataclass(frozen=True)
class AttentionValues(Values):
    """Of some images: `rolled` [N, H, W] of all blocks, `heads` [N, h, H, W] of the block `layer`, in shares of the
    whole; of every block and head how far it looks (patches) and how evenly (nats)."""

    layer: str
    ids: tuple[str, ...]
    images: Tensor  # uint8 [N, C, H, W]
    rolled: np.ndarray
    heads: np.ndarray
    rows: tuple[tuple[str, int, float, float], ...]

    def table(self) -> Table:
        return Table(("block", "head", "mean distance, patches", "entropy, nats"), self.rows)


def transformer(model: nn.Module) -> tuple[str, ViT] | None:
    """The first vision transformer in a model, with its name."""
    return next(((name, module) for name, module in model.named_modules() if isinstance(module, ViT)), None)


def needs_transformer(subject: Subject) -> str | None:
    return None if transformer(subject.model) else "this model has no vision transformer, and so no attention to show."


def look(subject: Subject) -> AttentionValues:
    """Of the first images; of the block that was asked for, or the last."""
    found = transformer(subject.model)
    assert found is not None
    prefix, vit = found
    batch = subject.first(IMAGES)
    with torch.inference_mode(), attention_weights_of(vit) as weights:
        subject.task.output(batch)
    layer = chosen(subject, vit, prefix, list(weights))
    height, width = batch["image"].shape[2:]
    places, token = vit.patches.grid((height, width)), vit.class_token is not None
    rows = [
        (name.removesuffix(".attention"), head, round(far, 3), round(even, 3))
        for name, one in weights.items()
        for head, (far, even) in enumerate(
            zip(mean_distance(one, places, token).tolist(), entropy(one).tolist(), strict=True)
        )
    ]
    return AttentionValues(
        layer,
        tuple(batch["id"]),
        batch["image"].cpu(),
        looked_at(rollout(list(weights.values())), places, token).cpu().numpy(),
        looked_at(weights[layer], places, token).cpu().numpy(),
        tuple(rows),
    )


def chosen(subject: Subject, vit: ViT, prefix: str, names: list[str]) -> str:
    """The attention, named as inside the transformer, of the part that was asked for, else the last.

    Raises UserError where that part is no block and no attention.
    """
    if subject.layer is None:
        return names[-1]
    inside = subject.layer.removeprefix(f"{prefix}.")
    for name in (inside, f"{inside}.attention"):
        if name in names and isinstance(vit.get_submodule(name), MultiHeadAttention):
            return name
    raise UserError(f"'{subject.layer}' has no attention to show: try --layer {prefix}.{names[-1]}.")


def draw(values: AttentionValues, style: Style) -> Figure:
    """A row an image: itself, all blocks rolled out, and the heads of one block."""
    heads = min(HEADS, values.heads.shape[1])
    count, columns = len(values.ids), 2 + heads
    cell = FULL / columns
    figure, axes = grid(count, columns, FULL, cell * count * values.images.shape[2] / values.images.shape[3] + 0.3)
    for i, row in enumerate(axes):
        show(row[0], values.images[i])
        for axis, heat in zip(row[1:], [values.rolled[i], *values.heads[i, :heads]], strict=True):
            axis.imshow(glow(values.images[i], spread(heat, values.images.shape[2:]), style))
            bare(axis)
    block = values.layer.removesuffix(".attention")
    titles = ["image", "all blocks", *(f"head {k}" for k in range(heads))]
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title, fontweight="normal", fontsize=7, loc="center", pad=3)
    figure.supxlabel(f"heads of {block}", fontsize=7, color=style.soft)
    return figure


def spread(heat: np.ndarray, size: torch.Size) -> np.ndarray:
    """A map of patches over the pixels, from the least (0) to the most looked at (1)."""
    low, high = heat.min(), heat.max()
    return enlarge((heat - low) / max(high - low, 1e-12), size)


def enlarge(heat: np.ndarray, size: torch.Size) -> np.ndarray:
    """A map of patches over the pixels."""
    return interpolate(torch.from_numpy(heat).float()[None, None], size=tuple(size), mode="nearest")[0, 0].numpy()


ATTENTION = Instrument(
    shows="where a vision transformer looks: the heads of one block, and all blocks rolled out",
    reading="What stands for the whole image looks most at the tinted patches; each map has its own scale.\n"
    "'All blocks' follows attention down to the pixels; the table says how far, in patches, each head looks.",
    fits=needs_transformer,
    look=look,
    draw=draw,
    takes_layer=True,
)
