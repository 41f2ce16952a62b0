"""The chain rule in any torch function: its atomic operations, their Jacobians, and the products backward.

What `chain_rule` does for an expression of numbers, for tensors: torch itself splits the function into the operations
it can differentiate, and each is looked at alone.

Shapes: `...` those of the values; O I numbers of an operation's output and of one of its inputs.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from olhar.errors import UserError


@dataclass(frozen=True, eq=False)
class TensorOperation:
    """One atomic operation, or one input (`operation` "input", or "constant" for a tensor the function brought along).

    Args:
        inputs: names of the operations whose results it takes.
        value: its result.
        gradient: d result / d value, of the shape of the value; None where the result does not depend on it.
    """

    name: str
    operation: str
    inputs: tuple[str, ...]
    value: Tensor
    gradient: Tensor | None
    call: Callable[[dict[str, Tensor]], Tensor] | None

    def jacobian(self, by: str, values: dict[str, Tensor]) -> Float[Tensor, "O I"]:
        """∂value/∂by with everything else held: the local derivative, a matrix over flattened tensors (Eq 1.50)."""
        assert self.call is not None, "an input has no local derivative"
        call = self.call
        found = torch.func.jacrev(lambda x: call({**values, by: x}))(values[by])
        assert isinstance(found, Tensor)
        return found.reshape(self.value.numel(), values[by].numel())


@dataclass(frozen=True, eq=False)
class TensorGraph:
    """The operations in the order of the forward; the last is the result, one number."""

    operations: tuple[TensorOperation, ...]

    @property
    def values(self) -> dict[str, Tensor]:
        return {step.name: step.value for step in self.operations}

    def __getitem__(self, name: str) -> TensorOperation:
        return next(step for step in self.operations if step.name == name)

    def chained(self, name: str) -> Float[Tensor, " I"]:
        """d result / d name by the chain rule: the sum over its uses of their gradient times their Jacobian."""
        if name == self.operations[-1].name:
            return torch.ones_like(self[name].value).flatten()
        total = torch.zeros_like(self[name].value).flatten()
        for use in self.operations:
            if name in use.inputs and use.gradient is not None:
                total = total + use.gradient.flatten() @ use.jacobian(name, self.values)
        return total

    def rows(self) -> list[tuple[str, str, str, str]]:
        """As a table: name, operation, shape of the value, size of the gradient."""
        return [
            (
                step.name,
                f"{step.operation}({', '.join(step.inputs)})" if step.inputs else step.operation,
                "x".join(map(str, step.value.shape)) or "number",
                "" if step.gradient is None else f"{step.gradient.norm().item():.4g}",
            )
            for step in self.operations
        ]


def trace(function: Callable[..., Tensor], *inputs: Tensor) -> TensorGraph:
    """Split `function(*inputs)` into atomic operations and differentiate its result by every one of them.

    Raises:
        UserError: the result is more than one number, and has no gradient but a Jacobian.
    """
    graph = make_fx(torch.func.functionalize(function))(*inputs)
    graph.graph.eliminate_dead_code()
    leaves = iter(inputs)
    values: dict[str, Tensor] = {}
    kept: list[tuple[fx.Node, str, Any]] = []
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            values[node.name] = differentiable(next(leaves))
            kept.append((node, "input", None))
        elif node.op == "get_attr":
            values[node.name] = differentiable(getattr(graph, node.target))
            kept.append((node, "constant", None))
        elif node.op == "call_function":
            call = caller(node)
            values[node.name] = call(values)
            kept.append((node, node.target.overloadpacket.__name__, call))
    result = values[kept[-1][0].name]
    if result.numel() != 1:
        raise UserError(f"The function gives {result.numel()} numbers: its gradient needs one, such as their sum.")
    tracked = [name for name, value in values.items() if value.requires_grad]
    found = torch.autograd.grad(result.sum(), [values[name] for name in tracked], allow_unused=True)
    gradients = dict(zip(tracked, found, strict=True))
    return TensorGraph(
        tuple(
            TensorOperation(
                *(node.name, kind, tuple(i.name for i in node.all_input_nodes)),
                *(values[node.name].detach(), gradients.get(node.name), call),
            )
            for node, kind, call in kept
        )
    )


def differentiable(value: Tensor) -> Tensor:
    """The value as a leaf of its own; whole numbers have no derivative."""
    return value.detach().requires_grad_(value.is_floating_point())


def caller(node: fx.Node) -> Callable[[dict[str, Tensor]], Tensor]:
    """The operation of a node as a function of the values it is given by name, which it leaves as they are."""
    in_place = node.target._schema.is_mutable  # type: ignore[union-attr]

    def call(values: dict[str, Tensor]) -> Tensor:
        def of(other: fx.Node) -> Tensor:
            return values[other.name].clone() if in_place else values[other.name]

        arguments, options = fx.map_arg(node.args, of), fx.map_arg(node.kwargs, of)
        return node.target(*arguments, **options)  # type: ignore[operator, misc]

    return call
