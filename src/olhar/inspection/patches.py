"""The patches that most excite a filter, cut to what it sees (Figure 2.5; Zeiler and Fergus 2014, arXiv 1311.2901).

Shapes: N images, C channels, F filters, H W space, h w places of the layer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from olhar.data.sample import Batch
from olhar.inspection.capture import tensors_of
from olhar.inspection.instrument import see
from olhar.inspection.measured_field import Window, visible_window
from olhar.inspection.receptive_field import ReceptiveField
from olhar.tasks.task import Task


class Reached(Exception):  # noqa: N818 -- it is no error: it ends a forward that has gone far enough
    """Carries what the layer gave."""

    def __init__(self, output: Tensor):
        super().__init__()
        self.output = output


@dataclass(frozen=True)
class Patch:
    """Where a filter was excited: the image, the place on its map, what it answered, and the pixels it saw."""

    id: str
    position: tuple[int, int]
    value: float
    window: Window
    pixels: Tensor  # uint8 [C, h, w]


def up_to(task: Task, batch: Batch, layer: nn.Module) -> Tensor:
    """What `layer` gives for a batch; the rest of the model is not computed."""

    def stop(module: nn.Module, inputs: object, output: object) -> None:
        raise Reached(tensors_of(output)[-1])

    handle = layer.register_forward_hook(stop)
    try:
        see(task, batch)
    except Reached as reached:
        return reached.output
    finally:
        handle.remove()
    raise AssertionError("the layer is never called")


def top_patches(
    task: Task,
    batches: Iterable[Batch],
    layer: nn.Module,
    field: ReceptiveField | None,
    filters: Sequence[int],
    count: int = 9,
) -> list[list[Patch]]:
    """For each of `filters` its `count` most exciting patches, each of another image, strongest first.

    Only the images that are among the best so far are kept: memory does not grow with the folder.
    """
    chosen = torch.tensor(filters)
    best = torch.empty(len(filters), 0)
    where: list[list[tuple[str, int]]] = [[] for _ in filters]  # id and flat place of each value in `best`
    kept: dict[str, Tensor] = {}
    width = 1
    for batch in batches:
        with torch.inference_mode():
            maps = up_to(task, batch, layer)[:, chosen.to(task.mean.device)].float()
            width = maps.shape[3]
            value, place = maps.flatten(2).max(2)  # [N, F]
        every = torch.cat([best, value.cpu().T], 1)
        best, order = every.topk(min(count, every.shape[1]), 1)
        new = [[(name, int(p)) for name, p in zip(batch["id"], row, strict=True)] for row in place.cpu().T.tolist()]
        where = [[(old + more)[i] for i in row] for old, more, row in zip(where, new, order.tolist(), strict=True)]
        needed = {name for row in where for name, _ in row}
        fresh = {name: i for i, name in enumerate(batch["id"]) if name in needed}
        # copied, so that the whole batch is not kept for the sake of one image
        kept = {n: kept[n] if n in kept else batch["image"][fresh[n]].clone().cpu() for n in needed}

    def patch(name: str, place: int, value: float) -> Patch:
        image, position = kept[name], divmod(place, width)
        top, left, bottom, right = visible_window(field, position, image.shape[1:])
        return Patch(name, position, value, (top, left, bottom, right), image[:, top:bottom, left:right])

    return [
        [patch(*one, v) for one, v in zip(row, values, strict=True)]
        for row, values in zip(where, best.tolist(), strict=True)
    ]
