"""The receptive field: which pixels of the image one position of a layer can see (section 2.4, Figure 2.9).

Along one axis, position i of a layer sees the pixels from `start + i stride` to `start + i stride + size - 1`
(they may lie outside the image: padding). A layer of kernel k, stride s, padding p and dilation d over it gives

    size' = size + (k - 1) d stride,    start' = start - p stride,    stride' = s stride

and where branches join, the field is the union of theirs (Araujo et al. 2019, "Computing Receptive Fields of
Convolutional Neural Networks"). The model's own forward is followed operation by operation, so skips, shared
layers and functional calls count. Normalisation counts as pointwise: what statistics carry is not a field.

Shapes: C channels, H W space.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from olhar.inspection.capture import dry_run, tensors_of


@dataclass(frozen=True)
class Axis:
    """The field along one axis of the image, in pixels."""

    size: int = 1
    stride: int = 1
    start: int = 0

    def after(self, kernel: int, stride: int, padding: int, dilation: int) -> "Axis":
        """The field of a layer that slides a window over this one."""
        return Axis(
            size=self.size + (kernel - 1) * dilation * self.stride,
            stride=self.stride * stride,
            start=self.start - padding * self.stride,
        )

    def union(self, other: "Axis") -> "Axis":
        """The smallest field that holds both, where two branches of the same resolution meet."""
        start = min(self.start, other.start)
        end = max(self.start + self.size, other.start + other.size)
        return Axis(end - start, max(self.stride, other.stride), start)

    def window(self, position: int) -> tuple[int, int]:
        """First and last pixel that `position` of the layer sees; outside [0, length) is padding."""
        first = self.start + position * self.stride
        return first, first + self.size - 1


@dataclass(frozen=True)
class ReceptiveField:
    """One `Axis` for each axis of space: (H, W) for images, one for signals."""

    axes: tuple[Axis, ...]

    @property
    def size(self) -> tuple[int, ...]:
        return tuple(axis.size for axis in self.axes)

    @property
    def stride(self) -> tuple[int, ...]:
        return tuple(axis.stride for axis in self.axes)

    @property
    def start(self) -> tuple[int, ...]:
        return tuple(axis.start for axis in self.axes)

    def union(self, other: "ReceptiveField") -> "ReceptiveField":
        return ReceptiveField(tuple(a.union(b) for a, b in zip(self.axes, other.axes, strict=True)))


def receptive_fields(model: nn.Module, input_shape: Sequence[int]) -> dict[str, ReceptiveField | None]:
    """Submodule name -> its field, for one image of `input_shape` (C, H, W), or a signal (C, L).

    None is the whole image. It is an upper bound: after an operation that is not known to keep positions apart
    (global pooling, a linear layer over a flattened map, attention, reshaping) every value may depend on every
    pixel. A submodule that is called several times has the field of its last call.
    """
    tracker = FieldTracker(space=len(input_shape) - 1)
    fields: dict[str, ReceptiveField | None] = {}

    def look(name: str) -> Any:
        def hook(module: nn.Module, inputs: Any, output: Any) -> None:
            fields[name] = tracker.field_of_output(output)

        return hook

    handles = [m.register_forward_hook(look(name)) for name, m in model.named_modules() if name]
    try:
        with tracker:
            dry_run(model, input_shape)
    finally:
        for handle in handles:
            handle.remove()
    return fields


# Operations that treat each position alike but do not carry torch's tag `pointwise`.
POSITIONWISE = {
    "native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training", "cudnn_batch_norm",
    "native_group_norm", "native_layer_norm", "native_dropout", "cat", "stack", "_softmax", "clone", "detach",
    "_to_copy", "contiguous", "alias", "lift_fresh",
}  # fmt: skip
# Operations that only rearrange: positions survive where the axes of space keep their sizes.
RESHAPING = {"view", "_unsafe_view", "_reshape_alias", "reshape", "permute", "unsqueeze", "squeeze", "slice", "split"}


class FieldTracker(TorchDispatchMode):
    """Follows the field of every tensor through the operations of a forward; the input's own field is 1 pixel.

    Args:
        space: axes of space of the input, the last ones of its shape.
    """

    def __init__(self, space: int):
        super().__init__()
        self.pixel = ReceptiveField((Axis(),) * space)
        self.fields: dict[int, ReceptiveField | None] = {}
        # ids are unique only while the tensors live; on the meta device they weigh nothing
        self.alive: list[Tensor] = []

    def field(self, tensor: Tensor) -> ReceptiveField | None:
        return self.fields.get(id(tensor))

    def field_of_output(self, output: Any) -> ReceptiveField | None:
        """Of what a module returned: its last tensor, the coarsest level of a pyramid."""
        tensors = tensors_of(output)
        return self.field(tensors[-1]) if tensors else None

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        tracked = [t for t in tensors_of(list(args)) if id(t) in self.fields]
        if not tracked and name == "empty":
            return self._remember(result, self.pixel)
        if tracked:
            self._remember(result, self._propagate(name.rstrip("_"), func, args, tracked, result))
        return result

    def _remember(self, result: Any, field: ReceptiveField | None) -> Any:
        for tensor in tensors_of(result):
            self.fields[id(tensor)] = field
            self.alive.append(tensor)
        return result

    def _propagate(self, name: str, func: Any, args: Any, tracked: list[Tensor], result: Any) -> ReceptiveField | None:
        fields = [self.field(t) for t in tracked]
        if any(field is None for field in fields):
            return None
        field = next(f for f in fields if f is not None)
        for other in fields:
            field = field.union(other) if other is not None else field
        before, after = self._space(tracked[0]), self._space(tensors_of(result)[0])
        if name == "convolution":
            transposed, (_, _, *kernel) = args[6], args[1].shape
            return None if transposed else slide(field, kernel, args[3], args[4], args[5])
        if name.startswith("max_pool"):
            kernel, stride, padding, dilation = (*args[1:5], *([], 0, 1)[len(args) - 2 :])[:4]
            return slide(field, kernel, stride or kernel, padding, dilation)
        if name.startswith("avg_pool"):
            kernel, stride, padding = (*args[1:4], *([], 0)[len(args) - 2 :])[:3]
            return slide(field, kernel, stride or kernel, padding, 1)
        if name in POSITIONWISE or torch.Tag.pointwise in func.tags or (name in RESHAPING and before == after):
            return field if len(after) == len(before) else None
        return None

    def _space(self, tensor: Tensor) -> tuple[int, ...]:
        return tuple(tensor.shape[-len(self.pixel.axes) :])


def slide(field: ReceptiveField, kernel: Any, stride: Any, padding: Any, dilation: Any) -> ReceptiveField:
    """The field of a window that slides over `field`; each argument is a number or one an axis (the last ones)."""
    n = len(field.axes)
    each = [[v] * n if isinstance(v, int) else (list(v) * n)[-n:] for v in (kernel, stride, padding, dilation)]
    return ReceptiveField(tuple(axis.after(*one) for axis, *one in zip(field.axes, *each, strict=True)))
