"""Backpropagation through layers (sections 1.2.3-1.2.5, Eq 1.28-1.59), and what the forward must store for it.

Vectors are rows: a layer takes a [m] to W a [n] (Eq 1.42 writes it as a W^T). The gradient of the loss is a row vector
that is multiplied by one Jacobian after another, from the last layer to the first; that is all of Eq 1.59.

Shapes: m n numbers that enter and leave a layer, N images.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd.graph import saved_tensors_hooks
from torch.func import functional_call

from olhar.errors import UserError

Vector = Float[Tensor, "_"]
Matrix = Float[Tensor, "_ _"]


def product(a: Tensor, b: Tensor) -> Tensor:
    """a b of two matrices (Eq 1.36-1.38): w x^T is a number, w x of two rows is nothing.

    Raises:
        UserError: the columns of the first are not as many as the rows of the second.
    """
    shapes = [" x ".join(map(str, t.shape)) for t in (a, b)]
    if a.ndim != 2 or b.ndim != 2:
        raise UserError(f"Matrices of {shapes[0]} and {shapes[1]} have no product: write a row as 1 x m.")
    if a.shape[1] != b.shape[0]:
        cure = "transpose the second." if a.shape[1] == b.shape[1] else "the inner sizes must be equal."
        raise UserError(f"A matrix of {shapes[0]} times one of {shapes[1]} is not defined: {cure}")
    return a @ b


def selector(n: int, i: int) -> Vector:
    """δ_i: n zeros but a 1 at position i, counted from 0 (Eq 1.47)."""
    return torch.zeros(n, dtype=torch.float64).index_fill(0, torch.tensor([i]), 1.0)


def derivative_by_weight(a: Vector, n: int, i: int, j: int) -> Vector:
    """d(W a)/dw_ij = δ_i a_j (Eq 1.43-1.47, 1.54): what enters at j, put at position i of the output."""
    return selector(n, i).to(a.dtype) * a[j]


@runtime_checkable
class Layer(Protocol):
    """Anything with a forward and the Jacobian of its output by its input, at that input."""

    def __call__(self, a: Vector) -> Vector: ...

    def jacobian(self, a: Vector) -> Matrix: ...


@dataclass(frozen=True, eq=False)
class Linear:
    """f(a) = W a + b (Eq 1.41), whose Jacobian is W wherever it is taken (Eq 1.51)."""

    weight: Float[Tensor, "n m"]
    bias: Float[Tensor, " n"] | None = None

    def __call__(self, a: Vector) -> Vector:
        return self.weight @ a if self.bias is None else self.weight @ a + self.bias

    def jacobian(self, a: Vector) -> Matrix:
        return self.weight


@dataclass(frozen=True, eq=False)
class Elementwise:
    """A function of each number alone: its Jacobian is diagonal, relu's diag(a > 0)."""

    function: Callable[[Tensor], Tensor]
    derivative: Callable[[Tensor], Tensor]

    def __call__(self, a: Vector) -> Vector:
        return self.function(a)

    def jacobian(self, a: Vector) -> Matrix:
        return torch.diag(self.derivative(a))


RELU = Elementwise(torch.relu, lambda a: (a > 0).to(a.dtype))
SIGMOID = Elementwise(torch.sigmoid, lambda a: torch.sigmoid(a) * (1 - torch.sigmoid(a)))
TANH = Elementwise(torch.tanh, lambda a: 1 - torch.tanh(a) ** 2)


@dataclass(frozen=True)
class Softmax:
    """Eq 1.13, where every number depends on every other: its Jacobian is diag(p) - p^T p."""

    def __call__(self, a: Vector) -> Vector:
        return torch.softmax(a, 0)

    def jacobian(self, a: Vector) -> Matrix:
        p = self(a)
        return torch.diag(p) - torch.outer(p, p)


def forward(layers: Sequence[Layer], x: Vector) -> list[Vector]:
    """a^0 = x, a^1, ..., a^L: the activations, all kept because the backward needs them."""
    activations = [x]
    for layer in layers:
        activations.append(layer(activations[-1]))
    return activations


def derivative_of_loss(layers: Sequence[Layer], x: Vector, loss_gradient: Vector, layer: int, i: int, j: int) -> float:
    """∂L/∂w_ij of one weight, as Eq 1.59 is written: ∇L J_L J_{L-1} ... J_{l+1} δ_i^T a_j^{l-1}.

    Args:
        loss_gradient: ∇L with respect to a^L.
        layer: l, counted from 1; it must be linear.
        i: row of the weight, j its column, counted from 0.
    """
    activations = forward(layers, x)
    row = loss_gradient
    for k in range(len(layers), layer, -1):
        row = row @ layers[k - 1].jacobian(activations[k - 1])
    n = len(activations[layer])
    return (row @ derivative_by_weight(activations[layer - 1], n, i, j)).item()


@dataclass(frozen=True, eq=False)
class Gradients:
    """Of one layer: `output`, ∂L/∂a^l; of a linear one, `weight` and `bias`."""

    output: Vector
    weight: Matrix | None = None
    bias: Vector | None = None


def backpropagate(layers: Sequence[Layer], x: Vector, loss_gradient: Vector) -> list[Gradients]:
    """Eq 1.59 for all weights of all layers in one way back; the first layer's first.

    The row vector of the way so far is the gradient of the layer's output. All weights of a layer share it: that of
    w_ij is its number i times the input's number j.
    """
    activations = forward(layers, x)
    row, found = loss_gradient, []
    for layer, a in zip(reversed(layers), reversed(activations[:-1]), strict=True):
        linear = isinstance(layer, Linear)
        biased = isinstance(layer, Linear) and layer.bias is not None
        found.insert(0, Gradients(row, torch.outer(row, a) if linear else None, row if biased else None))
        row = row @ layer.jacobian(a)
    return found


@dataclass(frozen=True)
class Stored:
    """What one module keeps for its backward: bytes that nobody before it kept already, and their shapes."""

    name: str
    kind: str
    bytes: int
    shapes: tuple[tuple[int, ...], ...]


def stored_for_backward(
    model: nn.Module, input_shape: Sequence[int], batch: int = 1, others: Sequence[Tensor] = ()
) -> list[Stored]:
    """The bytes that each layer of a model stores in training, one row a module that stores any, in their order.

    Parameters are stored anyway and do not count; what two layers need is counted with the first. Only shapes are
    computed, so that it takes neither the memory nor the time.

    Args:
        input_shape: of one image, (C, H, W).
        others: what else the model is given, such as tokens.
    """
    names = {module: name for name, module in model.named_modules()}
    stack: list[nn.Module] = [model]
    seen: dict[int, Tensor] = {}  # by storage; the tensors are kept, so that no number is given twice
    tensors: dict[nn.Module, list[Tensor]] = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()._cdata
        if storage not in seen:
            seen[storage] = tensor
            tensors.setdefault(stack[-1], []).append(tensor)
        return tensor

    def opens(module: nn.Module, _: Any) -> None:
        stack.append(module)

    def closes(*_: Any) -> None:
        stack.pop()

    values = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    handles = [m.register_forward_pre_hook(opens) for m in names]
    handles += [m.register_forward_hook(closes) for m in names]
    modes = {module: module.training for module in names}
    try:
        # shapes alone, but as on a processor: on the meta device attention would keep its weights, which it need not
        with FakeTensorMode(allow_non_fake_inputs=True), saved_tensors_hooks(pack, lambda tensor: tensor):
            shapes = {n: torch.empty(v.shape, dtype=v.dtype, requires_grad=v.requires_grad) for n, v in values.items()}
            seen.update({v.untyped_storage()._cdata: v for v in shapes.values()})
            functional_call(model.train(), shapes, (torch.empty(batch, *input_shape), *others))
    finally:
        for module, mode in modes.items():
            module.training = mode
        for handle in handles:
            handle.remove()
    return [
        Stored(names[m], type(m).__name__, sum(t.untyped_storage().nbytes() for t in kept), shapes_of(kept))
        for m, kept in tensors.items()
    ]


def shapes_of(tensors: Sequence[Tensor]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(tensor.shape) for tensor in tensors)
