"""Expressions and torch functions taken apart: beside sympy's and torch's derivatives; what cannot be read is said."""

import json
import math
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import sympy
import torch
from torch import nn

from olhar import cli
from olhar.errors import UserError
from olhar.inspection.figure import DARK, LIGHT, save
from olhar.theory.chain_rule import explain
from olhar.theory.draw_chain import chain as draw
from olhar.theory.expression import parse
from olhar.theory.tensor_graph import trace

# Expressions of one letter x and one a, as torch and sympy write them.
READ = [
    "x", "-x", "x - 5", "2*(x - a)", "(x - 5)**2 + 8", "x*x", "x**3/a", "a**x", "exp(-x**2/2)", "log(x)*x",
    "sqrt(x + a)", "sin(x)*cos(a*x)", "tan(x/3)", "tanh(x)", "sinh(x) - cosh(a)", "atan(x) + asin(x/9) - acos(a/9)",
    "sigmoid(a*x)**2", "relu(x - a) + relu(a - x)", "abs(a - x)", "x/(1 + x)/(a + x)", "-(x - a)**2",
    "pi*x**2 + 1.5e-3", "E**x", "max(x, a)*min(x, 2)", "log(x, 3) + atan2(x, a)",
    "asinh(x) + acosh(x + 1) - atanh(x/9)",
    "erf(x)*erfc(a)", "loggamma(x)", "softplus(x) + silu(a*x) - gelu(x)", "torch.exp(x)", "f(x) = x**2",
]  # fmt: skip


@pytest.mark.parametrize("text", READ)
def test_derivatives_are_those_of_torch(text: str):
    values = {"x": 1.3, "a": 0.7}
    used = {name: value for name, value in values.items() if name in parse(text).symbols}
    found = explain(text, used, by=list(used))
    leaves = {name: torch.tensor(value, dtype=torch.float64, requires_grad=True) for name, value in used.items()}
    names = "exp sqrt sin cos tan tanh sinh cosh atan asin acos asinh acosh atanh erf erfc sigmoid relu abs"
    functions: dict = {name: getattr(torch, name) for name in names.split()}
    functions |= {name: getattr(nn.functional, name) for name in ("softplus", "silu", "gelu")}
    functions |= {"max": torch.maximum, "atan2": torch.atan2, "loggamma": torch.lgamma, "torch": torch}
    functions["min"] = lambda x, most: x.clamp(max=most)
    functions["log"] = lambda x, base=math.e: torch.log(x) / math.log(base)
    constants = {"pi": math.pi, "E": math.e}
    result = torch.as_tensor(eval(text.split("= ")[-1], constants | functions | leaves), dtype=torch.float64)
    assert found.value == pytest.approx(result.item(), rel=1e-12)
    gradients = torch.autograd.grad(result, list(leaves.values()))
    assert list(found.gradient().values()) == pytest.approx([g.item() for g in gradients], rel=1e-9)
    numbers = {sympy.Symbol(name, real=True): value for name, value in used.items()}
    whole = [float(found.derivative(name).subs(numbers).evalf()) for name in used]
    assert whole == pytest.approx([g.item() for g in gradients], rel=1e-9)


def test_what_stands_in_brackets_stays_as_it_was_written():
    assert [str(step) for step in parse("2*(x - 5)").steps] == ["x - 5", "2 * q1"]
    assert [str(step) for step in parse("x*(2*3 - 1) - (-2)").steps] == ["x * 5", "q1 - (-2)"]


def test_names_of_their_own_are_left_to_those_who_use_them():
    found = parse("f*q1 + 1")
    assert [step.name for step in found.steps] == ["u1", "y"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("(x - 5", "Character 1 of '(x - 5'"),
        ("x^2 + 8", "Character 2 of 'x^2 + 8' ('^2 + 8') is not one of + - * / **"),
        ("2x", "cannot be read: write products as 2*x"),
        ("x + αβ..c", "Character 8"),
        ("foo(x)", "is no function known here"),
        ("sigmiod(x)", "did you mean 'sigmoid'"),
        ("x + exp", "Character 5 of 'x + exp' ('exp') is a function without its brackets"),
        ("exp(x, y)", "gives exp 2 arguments and not 1"),
        ("max(x)", "gives max 1 arguments and not 2"),
        ("os.remove(x)", "is no function known here"),
        ("lambda*x", "'lambda' is a word of Python's and cannot be a name: call it lambda1."),
        ("x + 2/0", "Character 5 of 'x + 2/0' ('2/0') divides by zero"),
        ("y/0", "divides by zero"),
        ("exp(x=2)", "gives exp 0 arguments"),
        ("a = x; a = 2; a", "Character 1 of line 2, 'a = 2' ('a = 2') gives 'a' a second meaning"),
        ("x; y", "is neither a step"),
        ("x**2 = 4", "cannot be read"),
        ("x.real", "is no number, name or operation"),
        ("[x for x in y]", "is no number, name or operation"),
        ("x if y else 2", "is no number, name or operation"),
        ("True + x", "is no number, name or operation"),
        ("1j*x", "is no number, name or operation"),
        ("__import__('os').system('true')", "is no function known here"),
        ("9**9**9**9", "has no finite value"),
        ("log(-1) + x", "has no finite value"),
        ("1e999*x", "has no finite value"),
        ("", "There is no expression to explain"),
        ("(" * 400 + "x" + ")" * 400, "cannot be read"),
        ("+".join(["x"] * 300), "is operation 201|nested too deeply"),
        ("x" * 5000, "more than 4000"),
        ("-" * 3000 + "x", "is operation 201|nested too deeply|cannot be read"),
    ],
)
def test_what_cannot_be_read_is_said_with_its_place(text: str, expected: str):
    with pytest.raises(UserError) as refused:
        parse(text)
    assert any(part in str(refused.value) for part in expected.split("|"))
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize(
    ("text", "derivative"), [("sec(x)", "tan(x)*sec(x)"), ("csc(x)", "-cot(x)*csc(x)"), ("cot(x)", "-cot(x)**2 - 1")]
)
def test_functions_that_torch_lacks_are_sympys(text: str, derivative: str):
    found = explain(text, {"x": 0.4})
    assert str(found.derivative("x")) == derivative
    number = sympy.sympify(text).subs(sympy.Symbol("x"), 0.4)
    assert found.value == pytest.approx(float(number))


def test_a_constant_needs_no_derivative():
    """(-2)**n has none by n, and 0**2 is no quotient."""
    assert explain("x**n", {"x": -2, "n": 2}, by=["x"]).gradient() == {"x": -4}
    assert explain("x**n", {"x": 0, "n": 2}, by=["x"]).gradient() == {"x": 0}
    with pytest.raises(UserError, match="is not finite at n = 2"):
        explain("x**n", {"x": -2, "n": 2}, by=["n"])


@pytest.mark.parametrize(
    ("text", "at", "expected"),
    [
        ("log(x)", {"x": -1}, "f = log(x) has no finite value where x = -1"),
        ("1/x", {"x": 0}, "no finite value"),
        ("x**0.5", {"x": -2}, "no finite value"),
        ("exp(x)", {"x": 1e4}, "no finite value"),
        ("sqrt(x)", {"x": 0}, "is not finite at x = 0"),
        ("x + y", {"x": 1}, "has no value for y: give all of x, y"),
        ("weight*x", {"wieght": 1}, "did you mean 'weight'?"),
        ("2", {"x": 1}, "There is no 'x' in '2'"),
    ],
)
def test_a_point_without_a_value_is_said(text: str, at: dict[str, float], expected: str):
    with pytest.raises(UserError) as refused:
        explain(text, at)
    assert expected in str(refused.value)


def test_what_is_used_twice_has_the_sum_of_its_ways():
    found = explain("x*y + x", {"x": 2, "y": 3})
    step = found.product("x")
    assert step is not None
    assert [(local.of, local.value) for local in step.locals] == [("q1", 3), ("f", 1)]
    with pytest.raises(UserError, match="no single product"):
        found.factors("x")


def test_what_does_not_matter_has_no_derivative():
    found = explain("a = x**2; y**3", {"x": 1, "y": 2}, by=["x", "y"])
    assert found.gradient() == {"x": 0, "y": 12}
    assert found.derivative("x") == 0


@pytest.mark.parametrize(
    ("text", "at"),
    [("(x - 5)**2 + 8", {"x": 3}), ("sigmoid(2*x)**2*relu(x) + y", {"x": 0.3, "y": 1}), ("a*(x - b)**2 - c", {})],
)
@pytest.mark.parametrize("style", [LIGHT, DARK], ids=["light", "dark"])
def test_a_graph_has_a_box_an_operation_and_an_arrow_a_derivative(text: str, at: dict, style, tmp_path: Path):
    found = explain(text, at)
    figure = draw(found, style)
    texts = [t.get_text() for t in figure.axes[0].texts]
    for step in found.backward:
        assert any(f"d{found.result}/d{step.by} = " in t for t in texts)
        for local in step.locals:
            assert any(t.startswith(f"{local.name} = ") for t in texts)
    file = save(figure, tmp_path / "graph.svg", style)
    assert ET.fromstring(file.read_bytes()).tag.endswith("svg")
    edge = figure.bbox
    boxes = [t.get_window_extent() for t in figure.axes[0].texts if t.get_text()]
    assert all(edge.x0 <= box.x0 and box.x1 <= edge.x1 and edge.y0 <= box.y0 and box.y1 <= edge.y1 for box in boxes)


def test_the_command_prints_the_graph_and_draws_it(capsys, tmp_path: Path):
    file = tmp_path / "graph.svg"
    assert cli.main(["explain", "(x - 5)**2 + 8", "--at", "x=3", "--out", str(file)]) == 0
    out = capsys.readouterr().out
    assert "q2  q1**2       4  dq2/dq1 = 2*q1    -4" in out
    assert "df/dx = 2*x - 10 = -4" in out
    assert file.read_text().startswith("<?xml")
    assert cli.main(["explain", "a*(x - b)**2 - c"]) == 0
    assert "df/dx = 2*a*(-b + x)\n" in capsys.readouterr().out
    assert cli.main(["explain", "w*x + b", "--at", "x=2,w=3", "--at", "b=1", "--by", "w", "--by", "b", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert cli.main(["explain", "-x**2", "--at", "x=3*pi/2"]) == 0
    assert f"df/dx = -2*x = {-3 * math.pi:.4g}" in capsys.readouterr().out
    assert found["gradient"] == {"w": 2, "b": 1}
    assert found["derivatives"] == {"w": "x", "b": "1"}


@pytest.mark.parametrize(
    ("words", "status", "expected"),
    [
        (["explain", "x^2"], 1, "Character 2"),
        (["explain", "x*y", "--at", "x=1"], 1, "no value for y"),
        (["explain", "x*y", "--by", "z"], 1, "There is no 'z'"),
        (["explain", "x", "--at", "x=nan"], 2, "such as x=3"),
        (["explain", "x", "--at", "x"], 2, "'x' is not a name and its number, such as x=3"),
        (["explain", "x", "--at", "x=three"], 2, "such as x=3"),
        (["explain", "x", "--out", "x.jpg"], 2, "does not end in .svg, .png or .pdf"),
        (["explain"], 2, "Missing: EXPRESSION"),
    ],
)
def test_a_mistake_on_the_command_line_is_one_sentence(capsys, words: list[str], status: int, expected: str):
    assert cli.main(words) == status
    out, err = capsys.readouterr()
    assert out == ""
    assert expected in err


FUNCTIONS = {
    "arithmetic": lambda x, w: ((w @ x - 1) ** 2).sum(),
    "softmax and cross-entropy": lambda x, w: -torch.log_softmax(w @ x, 0)[1],
    "used twice": lambda x, w: (torch.relu(w @ x).sum() * x).sum(),
    "one number": lambda x, w: x[0] * w[0, 0],
    "several results": lambda x, w: nn.functional.layer_norm(w @ x, (4,)).max(0)[0] + torch.cat(x.split(1)).sum(),
    "attention": lambda x, w: nn.functional.scaled_dot_product_attention(w[None], w[None], w[None] * x).square().sum(),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_any_torch_function_is_a_chain_of_local_jacobians(name: str):
    torch.manual_seed(0)
    x, w = torch.randn(3, dtype=torch.float64), torch.randn(4, 3, dtype=torch.float64)
    graph = trace(FUNCTIONS[name], x, w)
    leaves = [t.clone().requires_grad_() for t in (x, w)]
    expected = torch.autograd.grad(FUNCTIONS[name](*leaves), leaves)
    inputs = [step for step in graph.operations if step.operation == "input"]
    for step, gradient in zip(inputs, expected, strict=True):
        torch.testing.assert_close(step.gradient, gradient)
    for step in graph.operations:
        if step.gradient is not None:
            torch.testing.assert_close(graph.chained(step.name), step.gradient.flatten())
    assert len(graph.rows()) == len(graph.operations)


def test_a_model_brings_its_parameters_and_is_left_as_it_was():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.ReLU(inplace=True), nn.Linear(4, 1)).double()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    image = torch.randn(3, dtype=torch.float64)
    graph = trace(lambda x: model(x).sum(), image)
    model(image).sum().backward()
    constants = [step for step in graph.operations if step.operation == "constant"]
    for step, parameter in zip(constants, model.parameters(), strict=True):
        torch.testing.assert_close(step.gradient, parameter.grad)
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    evaluated = nn.Sequential(nn.BatchNorm1d(3), nn.ReLU()).eval()
    graph = trace(lambda x: evaluated(x).sum(), torch.randn(2, 3))
    assert sum(step.gradient is not None for step in graph.operations if step.operation == "constant") == 2


@pytest.mark.parametrize(
    ("function", "sentence"),
    [
        (lambda x: x * 2, "gives 4 numbers: its gradient needs one"),
        (lambda x: (x.sum(), x), "does not return one tensor"),
        (lambda x: x.argmax(), "no derivative by any of its inputs"),
        (lambda x: x.sum() if x.sum() > 0 else -x.sum(), "choose with torch.where"),
    ],
    ids=["four", "two", "whole", "branch"],
)
def test_a_function_without_a_gradient_is_refused(function, sentence: str):
    with pytest.raises(UserError, match=sentence):
        trace(function, torch.ones(4))
