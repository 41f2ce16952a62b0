"""The chain rule, step by step (section 1.2.2, Eq 1.19-1.26): what automatic differentiation does to an expression.

Forward: the expression is a sequence of atomic operations, each computed from earlier ones. Backward: the derivative
of the result with respect to each of them is the product of the derivative one step nearer to the result with a local
derivative, in the contrary order; where a value is used twice, the products are added.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import sympy

from olhar.errors import UserError, nearest
from olhar.theory.expression import CONSTANTS, NUMERIC, Expression, Step, number, parse

# Names that stand for what a function is differentiated by, when nobody says it: x, y, z, x1, x2, ...
VARIABLE = re.compile(r"[xyz]_?\d*")
# Products of sums are multiplied out for reading only where they stay short.
SHORT = 40


class sigmoid(sympy.Function):  # noqa: N801 - the name that is printed
    """Eq 1.14, whose derivative is written with itself."""

    nargs = 1

    def fdiff(self: Any, argindex: int = 1) -> Any:
        return self * (1 - self)

    def _eval_evalf(self: Any, prec: int) -> Any:
        return (1 / (1 + sympy.exp(-self.args[0])))._eval_evalf(prec)


class step(sympy.Function):  # noqa: N801 - the name that is printed
    """1 where x > 0 and 0 elsewhere."""

    nargs = 1

    @classmethod
    def eval(cls, x: Any) -> Any:
        return sympy.Integer(bool(x > 0)) if x.is_number else None


class relu(sympy.Function):  # noqa: N801 - the name that is printed
    """max(x, 0); at 0 its derivative is taken as 0, as torch does."""

    nargs = 1

    def fdiff(self, argindex: int = 1) -> Any:
        return step(self.args[0])

    def _eval_evalf(self: Any, prec: int) -> Any:
        return sympy.Max(0, self.args[0])._eval_evalf(prec)


SYMBOLIC: dict[str, Any] = {
    "+": lambda a, b: a + b, "-": lambda a, b: a - b, "*": lambda a, b: a * b, "/": lambda a, b: a / b,
    "**": lambda a, b: a**b, "negative": lambda a: -a, "=": lambda a: a, "abs": sympy.Abs,
    "max": sympy.Max, "min": sympy.Min, "sigmoid": sigmoid, "relu": relu,
    "softplus": lambda x: sympy.log(1 + sympy.exp(x)), "silu": lambda x: x * sigmoid(x),
    "gelu": lambda x: x * (1 + sympy.erf(x / sympy.sqrt(2))) / 2,
}  # fmt: skip


def symbolic(step: Step, symbols: Mapping[str, sympy.Symbol]) -> sympy.Expr:
    """A step in sympy's terms."""
    made = SYMBOLIC.get(step.operation) or getattr(sympy, step.operation)
    return made(*(symbols[a] if isinstance(a, str) else exact(a) for a in step.arguments))


def partial(step: Step, by: str, symbols: Mapping[str, sympy.Symbol]) -> sympy.Expr:
    """∂step/∂by, everything else that enters it held fixed."""
    found = symbolic(step, symbols).diff(symbols[by])
    # y x^(y-1) and not y x^y / x, which has no value where x is 0
    return sympy.powsimp(found) if step.operation == "**" and step.arguments[0] == by else found


def exact(value: float) -> sympy.Expr:
    if value in CONSTANTS.values():
        return getattr(sympy, number(value))
    return sympy.Integer(int(value)) if value.is_integer() else sympy.Float(repr(value))


@dataclass(frozen=True)
class Local:
    """∂of/∂by of one operation, with everything else that enters it held fixed; its value where there is a point."""

    of: str
    by: str
    expression: sympy.Expr
    value: float | None

    @property
    def name(self) -> str:
        return f"d{self.of}/d{self.by}"


@dataclass(frozen=True)
class Operation:
    """One step of the forward: its text, its value, and its derivative with respect to each thing it is made of."""

    name: str
    text: str
    value: float | None
    locals: tuple[Local, ...]


@dataclass(frozen=True)
class Backward:
    """One step of the backward: d result / d `by`, the sum over `locals` of d result / d of times ∂of/∂by.

    `expression` is in the names of the graph, 2*q1; none of `locals` for the result itself, whose derivative is 1.
    """

    by: str
    locals: tuple[Local, ...]
    expression: sympy.Expr
    value: float | None


@dataclass(frozen=True)
class Chain:
    """An expression taken apart.

    Args:
        variables: what it is differentiated by; `constants`, its other symbols.
        point: the value of every symbol, empty where none was asked for.
        operations: in the order of the forward.
        backward: in the order of the backward, the result first, then only what lies between it and the variables.
    """

    expression: Expression
    variables: tuple[str, ...]
    constants: tuple[str, ...]
    point: dict[str, float]
    operations: tuple[Operation, ...]
    backward: tuple[Backward, ...]

    @property
    def result(self) -> str:
        return self.expression.result

    @property
    def value(self) -> float | None:
        return self.operations[-1].value

    def product(self, variable: str) -> Backward | None:
        """The backward step of a variable; None where the result does not depend on it."""
        return next((step for step in self.backward if step.by == variable), None)

    def derivative(self, variable: str) -> sympy.Expr:
        """d result / d variable, in the symbols that were typed: 2*x - 10 (Eq 1.21)."""
        step = self.product(variable)
        if step is None:
            return sympy.Integer(0)
        symbols = symbols_of(self.expression)
        found = step.expression
        for made in reversed(self.expression.steps):
            found = found.subs(symbols[made.name], symbolic(made, symbols))
        expanded = sympy.expand(found) if sympy.count_ops(found) < SHORT and low_powers(found) else found
        return min(found, expanded, key=sympy.count_ops)

    def gradient(self) -> dict[str, float | None]:
        """The value of each partial derivative (Eq 1.27); None without a point."""
        steps = {v: self.product(v) for v in self.variables}
        return {v: (step.value if step else 0.0 if self.point else None) for v, step in steps.items()}

    def rows(self) -> list[tuple[str, str, float | None, str, float | None]]:
        """The forward as a table: name, operation, value, local derivative and its value; a row a derivative."""
        found = []
        for step in self.operations:
            for i, local in enumerate(step.locals or (None,)):
                shown = (f"{local.name} = {local.expression}", local.value) if local else ("", None)
                own = ("", "", None) if i else (step.name, step.text, step.value)
                found.append((*own, *shown))
        return found

    def products(self) -> list[tuple[str, str, str, float | None]]:
        """The backward as a table: derivative, the products it is the sum of, what they come to, its value."""
        end = self.result
        found = []
        for step in self.backward:
            terms = " + ".join(f"d{end}/d{local.of} * {local.name}" for local in step.locals) or "1"
            found.append((f"d{end}/d{step.by}", terms, str(step.expression), step.value))
        return found

    def factors(self, variable: str) -> list[Local]:
        """The local derivatives whose product is the derivative, from the result to the variable (Eq 1.24).

        Raises:
            UserError: there are several paths between them, so that it is a sum of products.
        """
        found: list[Local] = []
        at = variable
        while at != self.result:
            step = self.product(at)
            if step is None or len(step.locals) != 1:
                raise UserError(f"The derivative by '{variable}' is no single product: read the backward steps.")
            found.insert(0, step.locals[0])
            at = step.locals[0].of
        return found


def symbols_of(expression: Expression) -> dict[str, sympy.Symbol]:
    names = [*expression.symbols, *(step.name for step in expression.steps)]
    return {name: sympy.Symbol(name, real=True) for name in names}


def low_powers(expression: sympy.Expr) -> bool:
    """Whether multiplying out stays short: (x - 1)**1000 does not."""
    return all(p.exp.is_number and abs(p.exp) <= 4 for p in expression.atoms(sympy.Pow) if p.base.is_Add)


def explain(text: str, at: Mapping[str, float] | None = None, by: Sequence[str] = ()) -> Chain:
    """Take an expression apart: forward, local derivatives and backward, and their values at a point.

        explain("(x - 5)**2 + 8", at={"x": 3}).derivative("x")  # 2*x - 10

    Args:
        at: a number for every symbol, or nothing.
        by: what to differentiate by. Nothing: x, y, z, x1, ... where there are such names, else every symbol.

    Raises:
        UserError: the text cannot be read, a name is missing or unknown, or a value is not finite at the point.
    """
    expression = parse(text)
    known = expression.symbols
    for name in (*by, *(at or {})):
        if name not in known:
            raise UserError(f"There is no '{name}' in '{expression.text}': {nearest(name, known) if known else ''}")
    variables = tuple(by) or tuple(s for s in known if VARIABLE.fullmatch(s)) or known
    missing = [name for name in known if at and name not in at]
    if missing:
        raise UserError(f"'{expression.text}' has no value for {missing[0]}: give all of {', '.join(known)}.")
    values = forward_values(expression, at) if at else {}
    symbols = symbols_of(expression)
    leads = leading(expression, variables)
    operations = []
    for step in expression.steps:
        inputs = dict.fromkeys(a for a in step.arguments if isinstance(a, str))
        found = tuple(local(step.name, a, partial(step, a, symbols), values, a in leads) for a in inputs)
        operations.append(Operation(step.name, str(step), values.get(step.name), found))
    constants = tuple(name for name in known if name not in variables)
    steps = tuple(backward(operations, variables, leads))
    return Chain(expression, variables, constants, dict(at or {}), tuple(operations), steps)


def forward_values(expression: Expression, at: Mapping[str, float]) -> dict[str, float]:
    """The value of every name, in the order of the steps."""
    values = {name: float(value) for name, value in at.items()}
    for step in expression.steps:
        arguments = [values[a] if isinstance(a, str) else a for a in step.arguments]
        try:
            value = NUMERIC[step.operation](*arguments)
        except (ArithmeticError, ValueError):
            value = math.nan
        if not math.isfinite(value):
            shown = ", ".join(f"{a} = {values[a]:g}" for a in step.arguments if isinstance(a, str))
            raise UserError(f"{step.name} = {step} has no finite value where {shown}: choose another point.")
        values[step.name] = value
    return values


def leading(expression: Expression, variables: Sequence[str]) -> set[str]:
    """The variables, and every operation that depends on one."""
    leads = set(variables)
    for step in expression.steps:
        if leads.intersection(step.arguments):
            leads.add(step.name)
    return leads


def local(of: str, by: str, expression: sympy.Expr, values: Mapping[str, float], needed: bool) -> Local:
    """A local derivative with its value; one that is not needed may have none, as that of (-2)**n by n."""
    if not values:
        return Local(of, by, expression, None)
    found = expression.subs({s: values[s.name] for s in expression.free_symbols}).evalf()  # type: ignore[attr-defined]
    if not (found.is_real and found.is_finite):
        if not needed:
            return Local(of, by, expression, None)
        raise UserError(f"d{of}/d{by} = {expression} is not finite at {by} = {values[by]:g}: choose another point.")
    return Local(of, by, expression, float(found))


def backward(operations: Sequence[Operation], variables: Sequence[str], leads: set[str]) -> list[Backward]:
    """From the result to the variables, what leads to none of them left out."""
    result = operations[-1]
    done = {result.name: Backward(result.name, (), sympy.Integer(1), None if result.value is None else 1.0)}
    for name in [*(step.name for step in reversed(operations[:-1])), *variables]:
        uses = [use for step in operations for use in step.locals if use.by == name and use.of in done]
        if name not in leads or not uses:
            continue
        expression = sympy.Add(*(done[use.of].expression * use.expression for use in uses))
        value = None
        if result.value is not None:
            value = sum((done[use.of].value or 0.0) * (use.value or 0.0) for use in uses)
        done[name] = Backward(name, tuple(uses), expression, value)
    return list(done.values())
