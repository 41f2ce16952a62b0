"""The network as a table: what each layer gives, and what it costs (Figures 2.3 and 2.8).

Shapes: C channels, H W space.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from olhar.inspection.capture import dry_run, tensors_of
from olhar.inspection.receptive_field import FieldTracker, ReceptiveField


@dataclass(frozen=True)
class Layer:
    """One call of one module, without its submodules.

    `output_shape` is without the batch axis, and empty for a module with parameters that is never called by
    itself. `parameters` counts each tensor once, at its first call. `multiply_adds` and `activation_bytes` are
    for one image; an output that shares its input's memory (in place, a view) costs nothing.
    `receptive_field` None is the whole image.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    activation_bytes: int
    receptive_field: ReceptiveField | None

    @property
    def space(self) -> tuple[int, ...]:
        """(H, W) of the output, empty where it has no space."""
        return self.output_shape[1:] if len(self.output_shape) == 3 else ()


@dataclass(frozen=True)
class Stage:
    """Consecutive layers that work at one resolution: a block of Figure 2.8. Fields as those of `Layer`."""

    name: str
    layers: tuple[Layer, ...]

    @property
    def output_shape(self) -> tuple[int, ...]:
        return self.layers[-1].output_shape

    @property
    def space(self) -> tuple[int, ...]:
        return self.layers[-1].space

    @property
    def receptive_field(self) -> ReceptiveField | None:
        return self.layers[-1].receptive_field

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def activation_bytes(self) -> int:
        return sum(layer.activation_bytes for layer in self.layers)


@dataclass(frozen=True)
class NetworkTable:
    """Every layer in the order of the forward, for one image of `input_shape` (C, H, W)."""

    input_shape: tuple[int, ...]
    layers: tuple[Layer, ...]
    blocks: tuple[tuple[str, int], ...]  # of each stage, its name and the index of its first layer
    joins: dict[str, tuple[str, str]]  # name of each part in which two paths meet (Figure 2.6): "add" or "cat", kind

    @property
    def parameters(self) -> int:
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def activation_bytes(self) -> int:
        return sum(layer.activation_bytes for layer in self.layers)

    def stages(self) -> list[Stage]:
        """The layers grouped by the resolution they work at, named by the part of the model they are."""
        starts = [start for _, start in self.blocks]
        called = [layer for layer in self.layers if layer.output_shape]
        ends = [*starts[1:], len(called)]
        return [Stage(name, tuple(called[i:j])) for (name, _), i, j in zip(self.blocks, starts, ends, strict=True)]


def network(model: nn.Module, input_shape: Sequence[int]) -> NetworkTable:
    """The table of `model` for one image of `input_shape` (C, H, W), from its own forward with shapes alone.

    A row is a call of a module that has no submodules, or that has parameters or multiply-adds of its own
    beside theirs. Multiply-adds are those of convolutions and matrix products (half of torch's count of
    floating-point operations), as the papers count them.
    """
    ledger = Ledger(model, space=len(input_shape) - 1)
    with ledger.counter, ledger.tracker, Meetings(ledger), ledger.hooks():
        dry_run(model, input_shape)
    return NetworkTable(tuple(input_shape), tuple(ledger.layers()), tuple(ledger.blocks()), ledger.joins)


@dataclass
class Call:
    """A call of a module while it lasts: what stood in the books when it began."""

    name: str
    module: nn.Module
    flops_before: int
    flops_nested: int = 0
    output_shape: tuple[int, ...] = ()
    flops: int = 0
    activation_bytes: int = 0
    receptive_field: ReceptiveField | None = None
    children: list["Call"] = field(default_factory=list)

    @property
    def parameters(self) -> int:
        """Of the module and all below it."""
        return sum(p.numel() for p in self.module.parameters())

    @property
    def space(self) -> tuple[int, ...]:
        """(H, W) of the output; empty for a vector, which has no space left."""
        space = self.output_shape[1:] if len(self.output_shape) == 3 else ()
        return () if space == (1, 1) else space

    def is_row(self) -> bool:
        own = any(True for _ in self.module.parameters(recurse=False))
        return not self.children or own or self.flops > 0

    def mixes_resolutions(self) -> bool:
        return len({child.space for child in self.children}) > 1


@dataclass
class Ledger:
    """Keeps the books of one forward: hooks open and close a `Call` for every module."""

    model: nn.Module
    space: int
    calls: list[Call] = field(default_factory=list)
    stack: list[Call] = field(default_factory=list)
    joins: dict[str, tuple[str, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.counter = FlopCounterMode(display=False)
        self.tracker = FieldTracker(self.space)
        self.names = {module: name for name, module in self.model.named_modules()}

    @contextmanager
    def hooks(self) -> Iterator[None]:
        handles = [m.register_forward_pre_hook(self.opens) for m in self.names]
        handles += [m.register_forward_hook(self.closes) for m in self.names]
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def opens(self, module: nn.Module, inputs: Any) -> None:
        call = Call(self.names[module], module, flops_before=self.counter.get_total_flops())
        self.calls.append(call)
        if self.stack:
            self.stack[-1].children.append(call)
        self.stack.append(call)

    def closes(self, module: nn.Module, inputs: Any, output: Any) -> None:
        call = self.stack.pop()
        all_flops = self.counter.get_total_flops() - call.flops_before
        call.flops = all_flops - call.flops_nested
        if self.stack:
            self.stack[-1].flops_nested += all_flops
        tensors = tensors_of(output)
        held = {storage(t) for t in tensors_of(list(inputs))}
        call.activation_bytes = sum(t.nbytes for t in tensors if storage(t) not in held)
        call.output_shape = tuple(tensors[-1].shape[1:]) if tensors else ()
        call.receptive_field = self.tracker.field_of_output(output)

    def layers(self) -> Iterator[Layer]:
        counted: set[int] = set()

        def own_parameters(module: nn.Module) -> int:
            fresh = {id(p): p.numel() for p in module.parameters(recurse=False) if id(p) not in counted}
            counted.update(fresh)
            return sum(fresh.values())

        for call in self.calls:
            if call.is_row():
                kind = type(call.module).__name__
                work = (own_parameters(call.module), call.flops // 2, 0 if call.children else call.activation_bytes)
                yield Layer(call.name, kind, call.output_shape, *work, call.receptive_field)
        for module, name in self.names.items():
            if parameters := own_parameters(module):
                yield Layer(name, type(module).__name__, (), parameters, 0, 0, None)

    def blocks(self) -> Iterator[tuple[str, int]]:
        """Name and first row of each stage. A group without parameters (a pool) goes to the stage that follows."""
        rows = [call for call in self.calls if call.is_row()]
        order = {id(call): i for i, call in enumerate(self.calls)}
        position = [order[id(row)] for row in rows]
        start = 0
        for group in groups(self.calls[0]):
            if any(call.parameters for call in group):
                yield group_name(group), start
                start = bisect_left(position, order[id(last_call(group[-1]))] + 1)


class Meetings(TorchDispatchMode):
    """Notes in which part of the model two maps of the image meet: added, as a skip is, or laid side by side."""

    def __init__(self, ledger: Ledger):
        super().__init__()
        self.ledger = ledger

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name = func.overloadpacket.__name__.rstrip("_")
        if name in ("add", "cat") and self.ledger.stack:
            met = [t for t in tensors_of(list(args)) if id(t) in self.ledger.tracker.fields and t.ndim > 1]
            if len(met) > 1:
                call = self.ledger.stack[-1]
                self.ledger.joins[call.name] = name, type(call.module).__name__
        return func(*args, **(kwargs or {}))


def groups(call: Call) -> list[list[Call]]:
    """Split a call into runs of neighbours that work at one resolution, only as deep as the resolution changes.

    Neighbouring single layers form a run, cut before a layer with parameters whose input has another resolution
    than the run began with; neighbouring blocks of the same resolution form a run.
    """
    if not call.children:
        return [[call]]
    found: list[list[Call]] = []
    previous: Call | None = None  # the last of the open run
    for child in call.children:
        if child.children and child.mixes_resolutions():
            found += groups(child)
            previous = None
            continue
        same_kind = previous is not None and bool(previous.children) == bool(child.children)
        compared = child if child.children else previous
        same_space = previous is not None and compared is not None and compared.space == found[-1][0].space
        if same_kind and (same_space or not child.parameters):
            found[-1].append(child)
        else:
            found.append([child])
        previous = child
    return found


def last_call(call: Call) -> Call:
    """The call within `call` that began last."""
    return last_call(call.children[-1]) if call.children else call


def group_name(group: Sequence[Call]) -> str:
    """The name of its one module with parameters, or of the first and the last of them."""
    named = [call.name or type(call.module).__name__ for call in group if call.parameters]
    prefix, _, last = named[-1].rpartition(".")
    if named[0] == named[-1]:
        return named[0]
    return f"{named[0]}–{last}" if named[0].startswith(prefix) else f"{named[0]}–{named[-1]}"


def storage(tensor: Tensor) -> int:
    return tensor.untyped_storage()._cdata
