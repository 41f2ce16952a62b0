"""Section 1.2 of the notes, calculus and backpropagation: every number and equation."""

import math
from itertools import pairwise

import numpy as np
import pytest
import sympy
import torch
import torch.nn.functional as F
from compare import close, printed
from torch import nn

from olhar.errors import UserError
from olhar.models import dense, encoder
from olhar.models.clip import Clip
from olhar.models.denoiser import Denoiser
from olhar.models.text import TextEncoder
from olhar.theory.backprop import (
    RELU,
    SIGMOID,
    TANH,
    Linear,
    Softmax,
    backpropagate,
    derivative_by_weight,
    derivative_of_loss,
    forward,
    product,
    selector,
    stored_for_backward,
)  # fmt: skip
from olhar.theory.chain_rule import explain

CHAIN = "a1 = w1*x + b1; a2 = w2*a1 + b2; a3 = w3*a2 + b3; a4 = (a3 - w4)**2"  # Eq 1.23
x = sympy.Symbol("x", real=True)


def by_autograd(formula, *values: float) -> list[float]:
    inputs = [torch.tensor(v, dtype=torch.float64, requires_grad=True) for v in values]
    return [g.item() for g in torch.autograd.grad(formula(*inputs), inputs)]


@pytest.mark.notes("rate of change")
def test_section_1_2_1_the_secant_tends_to_the_tangent():
    slope = explain("x**2", {"x": 3}).gradient()["x"]
    distances = [abs(((3 + h) ** 2 - 9) / h - slope) for h in (1.0, 0.1, 0.01, 0.001)]
    assert distances == pytest.approx([1.0, 0.1, 0.01, 0.001], rel=1e-6)


@pytest.mark.notes("bottle")
def test_the_example_of_the_bottle_flow_is_the_derivative_of_volume():
    volume = explain("500*(1 - exp(-t/20))", {"t": 5})
    close(volume.value, 500 * (1 - math.exp(-0.25)))
    close(volume.gradient()["t"], 25 * math.exp(-0.25))


@pytest.mark.notes("f = 3x")
def test_the_example_f_is_3x():
    assert [explain("3*x", {"x": v}).value for v in (3, 4)] == [9, 12]
    assert explain("3*x").derivative("x") == 3


@pytest.mark.notes("Table 1.1")
@pytest.mark.parametrize(
    ("text", "expected"), [("7", 0), ("x", 1), ("a*x + b", "a"), ("x**2", "2*x"), ("exp(x)", "exp(x)")]
)
def test_table_1_1(text: str, expected: object):
    found = explain(text)
    derivative = found.derivative("x") if "x" in found.expression.symbols else sum(found.gradient().values(), start=0)
    assert str(derivative) == str(expected)


@pytest.mark.notes("Eq 1.19-1.21")
def test_equations_1_19_to_1_21():
    found = explain("(x - 5)**2 + 8", {"x": 3})
    assert [(o.name, o.text, o.value) for o in found.operations] == [
        ("q1", "x - 5", -2), ("q2", "q1**2", 4), ("f", "q2 + 8", 12),
    ]  # fmt: skip
    assert [str(factor.expression) for factor in found.factors("x")] == ["1", "2*q1", "1"]
    assert sympy.expand(found.derivative("x") - 2 * (x - 5)) == 0
    assert str(found.derivative("x")) == "2*x - 10"
    close(found.gradient()["x"], by_autograd(lambda x: (x - 5) ** 2 + 8, 3.0)[0])


@pytest.mark.notes("Eq 1.22")
def test_equation_1_22():
    found = explain("a*(x - b)**2 - c", {"a": 3, "x": 2, "b": 0.5, "c": 7})
    assert (found.variables, found.constants) == (("x",), ("a", "b", "c"))
    assert [step.text for step in found.operations] == ["x - b", "q1**2", "a * q2", "q3 - c"]
    a, b = sympy.symbols("a b", real=True)
    assert sympy.expand(found.derivative("x") - 2 * a * (x - b)) == 0
    everything = explain(found.expression.text, found.point, by=["a", "x", "b", "c"]).gradient()
    close(list(everything.values()), by_autograd(lambda a, x, b, c: a * (x - b) ** 2 - c, 3.0, 2.0, 0.5, 7.0))


@pytest.mark.notes("Eq 1.23", "Eq 1.24")
def test_equations_1_23_and_1_24_eight_atomic_operations_and_their_product():
    values = {"w1": 0.5, "x": 2, "b1": 1, "w2": -3, "b2": 0.25, "w3": 1.5, "b3": -1, "w4": 0.75}
    found = explain(CHAIN, values)
    assert [step.name for step in found.operations] == ["q1", "a1", "q2", "a2", "q3", "a3", "q4", "a4"]
    assert [str(f.expression) for f in found.factors("x")] == ["2*q4", "1", "1", "w3", "1", "w2", "1", "w1"]
    step = found.product("x")
    assert step is not None
    q4, w1, w2, w3 = sympy.symbols("q4 w1 w2 w3", real=True)
    assert sympy.expand(step.expression - 2 * q4 * w3 * w2 * w1) == 0

    def formula(w1, x, b1, w2, b2, w3, b3, w4):
        return (w3 * (w2 * (w1 * x + b1) + b2) + b3 - w4) ** 2

    every = explain(CHAIN, values, by=list(values))
    close([every.gradient()[name] for name in values], by_autograd(formula, *map(float, values.values())))
    close(every.value, formula(**values))


@pytest.mark.notes("forward and back")
def test_backpropagation_goes_the_contrary_way():
    found = explain(CHAIN)
    order = [step.name for step in found.operations]
    assert [step.by for step in found.backward] == [*reversed(order), "x"]


@pytest.mark.notes("Eq 1.25-1.26")
def test_equations_1_25_and_1_26():
    found = explain("x*y + x", {"x": 2, "y": 3})
    assert {v: str(found.derivative(v)) for v in found.variables} == {"x": "y + 1", "y": "x"}
    close(list(found.gradient().values()), by_autograd(lambda x, y: x * y + x, 2.0, 3.0))


@pytest.mark.notes("Eq 1.27", "6x1 + 3x2")
def test_equation_1_27_the_gradient_is_the_steepest_direction():
    gradient = np.array(list(explain("6*x1 + 3*x2", {"x1": 1, "x2": 1}).gradient().values()))
    assert gradient.tolist() == [6, 3]
    printed(np.linalg.norm(gradient), 6.7082, 4)
    angles = np.linspace(0, 2 * np.pi, 3601)
    slopes = np.stack([np.cos(angles), np.sin(angles)], 1) @ gradient
    assert slopes.max() == pytest.approx(np.linalg.norm(gradient), rel=1e-6)
    assert angles[slopes.argmax()] == pytest.approx(math.atan2(3, 6), abs=1e-3)


W = torch.tensor([[1.0, -2, 3], [0.5, 4, -1]], dtype=torch.float64)
ROW = torch.tensor([2.0, 1, -3], dtype=torch.float64)


@pytest.mark.notes("Eq 1.28-1.30")
def test_equations_1_28_to_1_30_one_number_in_three_ways():
    w = W[0]
    spelt_out = explain(
        "w1*x1 + w2*x2 + w3*x3", {f"{n}{i + 1}": v[i].item() for n, v in (("w", w), ("x", ROW)) for i in range(3)}
    )
    close(spelt_out.value, (w * ROW).sum())
    close(product(w[None], ROW[:, None])[0, 0], spelt_out.value)
    close(Linear(w[None])(ROW)[0], spelt_out.value)


@pytest.mark.notes("Eq 1.31-1.35")
def test_equations_1_31_to_1_35_gradients_of_a_linear_combination():
    a, w = ROW.clone().requires_grad_(), W[0].clone().requires_grad_()
    by_a, by_w = torch.autograd.grad(a @ w, (a, w))
    close(by_a, Linear(W[:1]).jacobian(ROW)[0])
    close(by_w, torch.cat([derivative_by_weight(ROW, 1, 0, j) for j in range(3)]))


@pytest.mark.notes("Eq 1.36-1.38")
def test_equations_1_36_to_1_38_rows_and_columns():
    row, w = ROW[None], W[:1]
    close(product(w, row.T), product(row, w.T))
    assert product(w, row.T).shape == (1, 1)
    with pytest.raises(UserError, match="1 x 3 times one of 1 x 3 is not defined: transpose the second"):
        product(w, row)
    with pytest.raises(UserError, match="write a row as 1 x m"):
        product(ROW, row)
    with pytest.raises(RuntimeError):
        torch.mm(w, row)


@pytest.mark.notes("Eq 1.39-1.42")
def test_equations_1_39_to_1_42_a_linear_layer():
    close(product(W, ROW[None].T), product(ROW[None], W.T).T)
    close(Linear(W)(ROW), F.linear(ROW, W))
    layer = nn.Linear(3, 2).double()
    close(Linear(layer.weight.detach(), layer.bias.detach())(ROW), layer(ROW).detach())


@pytest.mark.notes("Eq 1.43-1.47")
@pytest.mark.parametrize(("i", "j"), [(0, 0), (1, 2)])
def test_equations_1_43_to_1_47_the_derivative_by_one_weight(i: int, j: int):
    jacobian = torch.func.jacrev(lambda w: w @ ROW)(W)  # [n, n, m]
    close(derivative_by_weight(ROW, 2, i, j), jacobian[:, i, j])
    v = np.zeros(2)  # footnote 20
    v[i] = ROW[j]
    close(selector(2, i) * ROW[j], v)


@pytest.mark.notes("Eq 1.48-1.51", "Eq 1.52-1.54")
def test_equations_1_48_to_1_54_the_jacobian_is_the_matrix():
    close(Linear(W).jacobian(ROW), torch.func.jacrev(lambda a: a @ W.T)(ROW))


def network(sizes: list[int], between: list, seed: int = 0) -> list:
    """Linear layers of these sizes, with something between each two."""
    make = torch.Generator().manual_seed(seed)
    layers = []
    for m, n in pairwise(sizes):
        layers += [Linear(torch.randn(n, m, generator=make, dtype=torch.float64) / m**0.5), *between]
    return layers[: len(layers) - len(between)]


@pytest.mark.notes("Eq 1.55-1.56")
def test_equations_1_55_and_1_56_the_jacobian_of_a_network_is_a_product():
    layers = network([4, 5, 6, 3], [TANH])
    a = torch.randn(4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    total = torch.eye(4, dtype=torch.float64)
    for layer, entering in zip(layers, forward(layers, a)[:-1], strict=True):
        total = layer.jacobian(entering) @ total
    close(total, torch.func.jacrev(lambda v: forward(layers, v)[-1])(a))


@pytest.mark.notes("Eq 1.57-1.59", "Q5")
@pytest.mark.parametrize("layer", [1, 3, 5])
def test_equation_1_59_on_the_course_example(layer: int):
    """Q5: a^{l-1} of the notes lacks its index j. Sizes 10 to 60, the weight (4, 6) counted from 0."""
    layers = network([10, 20, 30, 40, 50, 60], [])
    a = torch.randn(10, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    wanted = torch.linspace(-1, 1, 60, dtype=torch.float64)

    def loss(changed: float) -> float:
        moved = list(layers)
        weight = layers[layer - 1].weight.clone()
        weight[4, 6] += changed
        moved[layer - 1] = Linear(weight)
        return (forward(moved, a)[-1] - wanted).square().sum().item()

    gradient = 2 * (forward(layers, a)[-1] - wanted)
    found = derivative_of_loss(layers, a, gradient, layer, 4, 6)
    # the loss is quadratic in one weight, so that a central difference is exact for any step
    close(found, (loss(1.0) - loss(-1.0)) / 2, 1e-9)
    close(backpropagate(layers, a, gradient)[layer - 1].weight[4, 6], found)  # type: ignore[index]


@pytest.mark.notes("Eq 1.57-1.59", "Jacobian of a nonlinearity")
@pytest.mark.parametrize("kind", ["none", "relu", "sigmoid", "tanh", "softmax"])
def test_equation_1_59_with_and_without_layers_that_are_not_linear_is_autograds(kind: str):
    between = {"none": [], "relu": [RELU], "sigmoid": [SIGMOID], "tanh": [TANH], "softmax": [Softmax()]}[kind]
    layers = network([4, 7, 6, 3], between)
    layers[-1] = Linear(layers[-1].weight, torch.linspace(0, 1, 3, dtype=torch.float64))
    a = torch.randn(4, dtype=torch.float64, generator=torch.Generator().manual_seed(3))
    parameters = [layer.weight for layer in layers if isinstance(layer, Linear)] + [layers[-1].bias]
    for parameter in parameters:
        parameter.requires_grad_()
    output = forward(layers, a)[-1]
    loss = F.cross_entropy(output, torch.tensor(1))
    expected = torch.autograd.grad(loss, [output, *parameters])
    with torch.no_grad():
        found = backpropagate(layers, a, expected[0])
    weights = [gradients.weight for gradients in found if gradients.weight is not None]
    for ours, theirs in zip([*weights, found[-1].bias], expected[1:], strict=True):
        close(ours, theirs)
    with torch.no_grad():
        for i, j in ((0, 0), (2, 3)):
            first = derivative_of_loss(layers, a, expected[0], 1, i, j)
            close(first, expected[1][i, j])


@pytest.mark.notes("Jacobian of a nonlinearity")
def test_the_jacobian_of_a_relu_is_diagonal():
    a = torch.tensor([-1.0, 2, 0], dtype=torch.float64)
    close(RELU.jacobian(a), torch.diag((a > 0).double()))
    for layer in (RELU, SIGMOID, TANH, Softmax()):
        close(layer.jacobian(a), torch.func.jacrev(layer)(a))


@pytest.mark.notes("stored activations")
def test_activations_are_stored_for_the_backward():
    model = nn.Sequential(nn.Linear(10, 20), nn.ReLU(), nn.Linear(20, 5), nn.Sigmoid())
    rows = stored_for_backward(model, (10,), batch=8)
    # the input of the first layer, what ReLU gives (that it is the second's input too costs nothing), the sigmoid's
    assert [(row.kind, row.bytes) for row in rows] == [
        ("Linear", 4 * 8 * 10), ("ReLU", 4 * 8 * 20), ("Sigmoid", 4 * 8 * 5),
    ]  # fmt: skip
    assert model.training
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def clip() -> nn.Module:
    reader = TextEncoder(50, 7, 2, width=16, layers=1, heads=2)
    return Clip(encoder("vit-mini8", 3, (32, 32)), reader, width=8)


MODELS = {
    "resnet": lambda: encoder("resnet18", 3, (32, 32), width=8),
    "vit": lambda: encoder("vit-mini8", 3, (32, 32)),
    "decoder": lambda: dense(encoder("resnet18", 3, (32, 32), width=8), "pyramid", 2, width=8),
    "denoiser": lambda: Denoiser(3, (32, 32), widths=(8, 16), heads=2),
    "image and text": clip,
}


@pytest.mark.notes("stored activations")
@pytest.mark.parametrize("name", MODELS)
def test_what_is_stored_is_what_a_real_forward_saves(name: str):
    model = MODELS[name]().train()
    others = [torch.randint(0, 50, (2, 7))] if name == "image and text" else []
    kept: dict[int, torch.Tensor] = {}
    own = {p.untyped_storage().data_ptr() for p in [*model.parameters(), *model.buffers()]}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        output = model(torch.zeros(2, 3, 32, 32), *others)
    expected = sum(t.untyped_storage().nbytes() for pointer, t in kept.items() if pointer not in own)
    assert output is not None
    assert sum(row.bytes for row in stored_for_backward(model, (3, 32, 32), 2, others)) == expected
