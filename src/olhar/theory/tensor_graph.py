"""The chain rule in any torch function: its atomic operations, their Jacobians, and the products backward.

What `chain_rule` does for an expression of numbers, for tensors: torch itself splits the function into the operations
it can differentiate, and each is looked at alone.

Shapes: `...` those of the values; O I numbers of an operation's output and of one of its inputs.
"""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, fx
from torch.fx.experimental.proxy_tensor import make_fx

from olhar.errors import UserError

Caller = Callable[[dict[str, Any]], Any]  # values by name -> a result, or several


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
    call: Caller | None

    def jacobian(self, by: str, values: dict[str, Tensor]) -> Float[Tensor, "O I"]:
        """∂value/∂by with everything else held: the local derivative, a matrix over flattened tensors (Eq 1.50)."""
        assert self.call is not None, "an input has no local derivative"
        call = self.call
        # row by row: not every operation knows how to do all rows at once
        found = torch.autograd.functional.jacobian(lambda x: call({**values, by: x}), values[by])
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

    Of an operation that gives several tensors each that is used is a row.

    Raises:
        UserError: the result is no single number, depends on no input, or which operations are done depends on values.
    """
    graph = traced(function, inputs)
    leaves = iter(inputs)
    values: dict[str, Any] = {}
    calls: dict[str, Caller] = {}
    kept: list[tuple[fx.Node, str, tuple[fx.Node, ...]]] = []
    for node in graph.graph.nodes:
        if node.op == "placeholder":
            values[node.name] = differentiable(next(leaves))
            kept.append((node, "input", ()))
        elif node.op == "get_attr":
            constant = getattr(graph, node.target)
            values[node.name] = differentiable(constant) if constant.requires_grad else constant
            kept.append((node, "constant", ()))
        elif node.target is operator.getitem:
            several, i = node.args
            values[node.name] = values[several.name][i]
            calls[node.name] = lambda given, of=calls[several.name], i=i: of(given)[i]
            kept.append((node, f"{several.target.overloadpacket.__name__}[{i}]", tuple(several.all_input_nodes)))
        elif node.op == "call_function":
            calls[node.name] = caller(node)
            values[node.name] = calls[node.name](values)
            if isinstance(values[node.name], Tensor):
                kept.append((node, node.target.overloadpacket.__name__, tuple(node.all_input_nodes)))
    gradients = gradients_of(result_of(graph, values), values)
    return TensorGraph(
        tuple(
            TensorOperation(
                *(node.name, kind, tuple(i.name for i in arguments)),
                *(values[node.name].detach(), gradients.get(node.name), calls.get(node.name)),
            )
            for node, kind, arguments in kept
        )
    )


def traced(function: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> fx.GraphModule:
    """The operations of a function, none of which changes a tensor or is of no use."""
    try:
        graph = make_fx(torch.func.functionalize(function))(*inputs)
    except RuntimeError as broken:
        if "data-dependent" not in str(broken):
            raise
        raise UserError(
            "The function reads numbers out of a tensor, as `if` and .item() do: choose with torch.where instead."
        ) from None
    graph.graph.eliminate_dead_code()
    return graph


def result_of(graph: fx.GraphModule, values: dict[str, Any]) -> Tensor:
    """What the function returns, which must be one number that has a gradient; it is the last operation."""
    (returned,) = next(node for node in graph.graph.nodes if node.op == "output").args
    if not isinstance(returned, fx.Node):
        raise UserError(
            "The function does not return one tensor, and only of one there is a gradient: return the loss."
        )
    result = values[returned.name]
    if result.numel() != 1:
        raise UserError(f"The function gives {result.numel()} numbers: its gradient needs one, such as their sum.")
    if not result.requires_grad:
        raise UserError("The function's result has no derivative by any of its inputs: whole numbers have none.")
    return result


def gradients_of(result: Tensor, values: dict[str, Any]) -> dict[str, Tensor | None]:
    """d result / d value for every value that can have one, by its name."""
    tracked = {name: value for name, value in values.items() if isinstance(value, Tensor) and value.requires_grad}
    found = torch.autograd.grad(result.sum(), list(tracked.values()), allow_unused=True)
    return dict(zip(tracked, found, strict=True))


def differentiable(value: Tensor) -> Tensor:
    """The value as a leaf of its own; whole numbers have no derivative."""
    return value.detach().requires_grad_(value.is_floating_point())


def caller(node: fx.Node) -> Caller:
    """The operation of a node as a function of the values it is given by name, which it leaves as they are."""
    in_place = node.target._schema.is_mutable  # type: ignore[union-attr]

    def call(values: dict[str, Any]) -> Any:
        def of(other: fx.Node) -> Any:
            return values[other.name].clone() if in_place else values[other.name]

        arguments, options = fx.map_arg(node.args, of), fx.map_arg(node.kwargs, of)
        return node.target(*arguments, **options)  # type: ignore[operator, misc]

    return call
