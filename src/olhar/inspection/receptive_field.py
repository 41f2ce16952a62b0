"""The receptive field: which pixels of the image one position of a layer can see (section 2.4, Figure 2.9).

Along one axis a position sees a window of neighbouring pixels (some may lie outside the image: padding). The windows of
a convolution or a pool of kernel k, stride s, padding p and dilation d are alike, and each is s strides further than
the one before:

    size' = size + (k - 1) d stride,    start' = start - p stride,    stride' = s stride

Interpolation and transposed convolution give several positions for one, which see different windows, and sometimes of
different sizes: there the windows of one period are kept. Where branches join, the window is the union of theirs
(Araujo et al. 2019, "Computing Receptive Fields of Convolutional Neural Networks"). The model's own forward is
followed operation by operation, so skips, shared layers and functional calls count. Normalisation counts as pointwise:
what statistics carry is not a field.

Shapes: C channels, H W space.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from olhar.inspection.capture import dry_run, tensors_of


@dataclass(frozen=True)
class Axis:
    """The field along one axis of the image, in pixels; that of an endless image, which `visible` cuts at its ends.

    Args:
        windows: the first and the last pixel that each position of one period sees, from position 0 on.
        step: pixels from one period to the next: position i + len(windows) sees `step` pixels further than i.
    """

    windows: tuple[tuple[int, int], ...] = ((0, 0),)
    step: int = 1

    @property
    def sizes(self) -> tuple[int, ...]:
        """Of all windows, in rising order: one number unless interpolation gave positions different fields."""
        return tuple(sorted({last - first + 1 for first, last in self.windows}))

    @property
    def size(self) -> int:
        """Of the largest window."""
        return self.sizes[-1]

    @property
    def stride(self) -> int | Fraction:
        """Pixels from one position to the next; a fraction where the layer is finer than the image."""
        stride = Fraction(self.step, len(self.windows))
        return int(stride) if stride.denominator == 1 else stride

    @property
    def start(self) -> int:
        """The first pixel of position 0."""
        return self.windows[0][0]

    def window(self, position: int) -> tuple[int, int]:
        """First and last pixel that `position` of the layer sees; outside [0, length) is padding."""
        periods, phase = divmod(position, len(self.windows))
        first, last = self.windows[phase]
        return first + periods * self.step, last + periods * self.step

    def visible(self, position: int, length: int) -> range:
        """The pixels of an image of `length` that `position` sees: its window without the padding."""
        first, last = self.window(position)
        return range(max(first, 0), min(last + 1, length))

    def through(self, sources: Sequence[Sequence[int]], advance: int) -> "Axis":
        """The field of a layer over this one.

        Args:
            sources: the positions of this one that each position of a period of the layer sees.
            advance: how many positions further the next period sees.
        """
        repeats = len(self.windows) // math.gcd(len(self.windows), advance)
        windows = []
        for repeat in range(repeats):
            seen = [[self.window(source + repeat * advance) for source in some] for some in sources]
            windows += [(min(first for first, _ in some), max(last for _, last in some)) for some in seen]
        return Axis(tuple(windows), self.step * repeats * advance // len(self.windows))

    def union(self, other: "Axis", length: int) -> "Axis":
        """The smallest field that holds both, where two branches meet in a layer of `length` positions."""
        period = math.lcm(len(self.windows), len(other.windows))
        stride = min(self.stride, other.stride)
        if self.stride != other.stride or period > length:
            # They never repeat together within the layer: then each position has a window of its own. Strides differ
            # where a map was too small to be halved (one pixel stays one).
            period = length * Fraction(stride).denominator
        pairs = [(self.window(i), other.window(i)) for i in range(period)]
        return Axis(tuple((min(a[0], b[0]), max(a[1], b[1])) for a, b in pairs), int(period * stride))


@dataclass(frozen=True)
class ReceptiveField:
    """One `Axis` for each axis of space: (H, W) for images, one for signals."""

    axes: tuple[Axis, ...]

    @property
    def size(self) -> tuple[int, ...]:
        return tuple(axis.size for axis in self.axes)

    @property
    def stride(self) -> tuple[int | Fraction, ...]:
        return tuple(axis.stride for axis in self.axes)

    @property
    def start(self) -> tuple[int, ...]:
        return tuple(axis.start for axis in self.axes)

    def union(self, other: "ReceptiveField", space: Sequence[int]) -> "ReceptiveField":
        """Axis by axis; `space` is the size of the layer where they meet."""
        return ReceptiveField(tuple(a.union(b, n) for a, b, n in zip(self.axes, other.axes, space, strict=True)))

    def through(self, steps: Sequence[tuple[Sequence[Sequence[int]], int]]) -> "ReceptiveField":
        """Axis by axis; each step is the (sources, advance) of `Axis.through`."""
        return ReceptiveField(tuple(axis.through(*step) for axis, step in zip(self.axes, steps, strict=True)))


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
    "native_group_norm", "native_layer_norm", "native_dropout", "_softmax", "clone", "detach", "_to_copy",
    "contiguous", "alias", "lift_fresh",
}  # fmt: skip
# Operations that join or rearrange: positions survive where the axes of space keep their sizes.
KEEPING = {
    "cat", "stack", "view", "_unsafe_view", "_reshape_alias", "reshape", "permute", "unsqueeze", "squeeze", "slice",
    "split",
}  # fmt: skip
# (sources, advance) of `Axis.through`.
Step = tuple[Sequence[Sequence[int]], int]


class Interpolation(NamedTuple):
    """Position i looks at (i + centre) ratio, less the centre where it mixes several `taps` of its input there."""

    taps: int
    centre: Fraction = Fraction(1, 2)


INTERPOLATIONS = {
    **{f"upsample_nearest{n}d": Interpolation(1, Fraction(0)) for n in (1, 2, 3)},
    **{f"_upsample_nearest_exact{n}d": Interpolation(1) for n in (1, 2, 3)},
    **{f"upsample_{name}": Interpolation(2) for name in ("linear1d", "bilinear2d", "trilinear3d")},
    "upsample_bicubic2d": Interpolation(4),
}


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
        before, after = self._space(tracked[0]), self._space(tensors_of(result)[0])
        field = next(f for f in fields if f is not None)
        for other in fields[1:]:
            field = field.union(other, after) if other is not None else field
        steps = self._steps(name, args, before, after)
        if steps is not None:
            return field.through(steps)
        if name in KEEPING:
            return field if before == after else None
        return field if name in POSITIONWISE or torch.Tag.pointwise in func.tags else None

    def _steps(self, name: str, args: Any, before: tuple[int, ...], after: tuple[int, ...]) -> list[Step] | None:
        """What an operation that moves positions does along each axis; None if it does not, or nobody knows how."""
        n = len(before)
        if name == "convolution":
            make = transposed_steps if args[6] else sliding_steps
            return make(n, args[1].shape[2:], args[3], args[4], args[5])
        if name.startswith("max_pool"):
            kernel, stride, padding, dilation = (*args[1:5], *([], 0, 1)[len(args) - 2 :])[:4]
            return sliding_steps(n, kernel, stride or kernel, padding, dilation)
        if name.startswith("avg_pool"):
            kernel, stride, padding = (*args[1:4], *([], 0)[len(args) - 2 :])[:3]
            return sliding_steps(n, kernel, stride or kernel, padding, 1)
        if kind := INTERPOLATIONS.get(name):
            corners = kind.taps > 1 and bool(args[2])
            scales = [*args[2 if kind.taps == 1 else 3 :], *[None] * n][:n]
            return [interpolation_step(kind, *one, corners) for one in zip(before, after, scales, strict=True)]
        if name == "pixel_shuffle":
            return [([[0]] * args[1], 1)] * n
        if name == "pixel_unshuffle":
            return sliding_steps(n, args[1], args[1], 0, 1)
        if name == "constant_pad_nd":
            lefts = [*args[1][::2], *[0] * n][:n]  # of the last axis first
            return [([[-left]], 1) for left in reversed(lefts)]
        if name == "slice" and before != after:
            cut: list[Any] = [*args[1:], *(0, None, None, 1)[len(args) - 1 :]]
            dim, start, _, step = cut
            axis = dim % args[0].ndim - args[0].ndim + n
            steps: list[Step] = [([[0]], 1)] * n
            steps[axis] = ([[range(before[axis])[start or 0 :].start]], step)
            return steps
        return None

    def _space(self, tensor: Tensor) -> tuple[int, ...]:
        return tuple(tensor.shape[-len(self.pixel.axes) :])


def each(n: int, *values: Any) -> list[tuple[int, ...]]:
    """Each value, a number or one an axis (the last ones), for each of n axes."""
    lists = [[v] * n if isinstance(v, int) else (list(v) * n)[-n:] for v in values]
    return list(zip(*lists, strict=True))


def sliding_steps(n: int, kernel: Any, stride: Any, padding: Any, dilation: Any) -> list[Step]:
    """Of a window that slides."""
    return [([range(-p, -p + (k - 1) * d + 1, d)], s) for k, s, p, d in each(n, kernel, stride, padding, dilation)]


def transposed_steps(n: int, kernel: Any, stride: Any, padding: Any, dilation: Any) -> list[Step]:
    """Of a transposed convolution: position i gives to i s - p + t d of its output, for each t of the kernel."""
    steps: list[Step] = []
    for k, s, p, d in each(n, kernel, stride, padding, dilation):
        taps = [[(i + p - t * d) for t in range(k)] for i in range(s)]
        # A stride wider than the kernel leaves positions that nothing gives to: say the nearest.
        steps.append(([[tap // s for tap in some if tap % s == 0] or [some[0] // s] for some in taps], 1))
    return steps


def interpolation_step(
    kind: Interpolation, before: int, after: int, scale: float | None, corners: bool = False
) -> Step:
    """Of interpolation from `before` to `after` positions; `scale` where a factor and not a size was asked for.

    The pattern repeats with the ratio of the sizes, p/q: after q positions it is p positions further.
    """
    ratio, centre = Fraction(before, after), kind.centre
    if corners:  # the first and the last position stay where they are
        ratio, centre = Fraction(before - 1, max(1, after - 1)), Fraction(0)
    elif scale:
        ratio = 1 / Fraction(scale).limit_denominator(1000)
    sources = []
    for i in range(ratio.denominator):
        at = (i + centre) * ratio - (centre if kind.taps > 1 else 0)
        first = math.floor(at) - (kind.taps - 1) // 2
        # On a position itself the weight of its neighbours is zero.
        sources.append([math.floor(at)] if at.denominator == 1 else range(first, first + kind.taps))
    return sources, ratio.numerator
