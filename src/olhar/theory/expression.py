"""An expression as text, read into atomic operations: arithmetic, named functions and nothing else.

Python's own grammar reads the text, no part of it is ever executed: only the kinds of nodes listed here become
operations, everything else is refused with its position. What stands in brackets is kept as it was written, so that
2*(x - 5) is a difference and a product, and not 2*x - 10.
"""

import ast
import keyword
import math
import operator
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from olhar.errors import UserError, nearest

ARITHMETIC: dict[type[ast.operator], str] = {
    ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Pow: "**",
}  # fmt: skip


def sigmoid(x: float) -> float:
    """Eq 1.14, without overflow where x is very negative."""
    return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))


def softplus(x: float) -> float:
    """log(1 + e^x), without overflow where x is very positive."""
    return max(x, 0.0) + math.log1p(math.exp(-abs(x)))


# What each operation does to numbers.
NUMERIC: dict[str, Callable[..., Any]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "/": operator.truediv, "**": math.pow,
    "negative": operator.neg, "=": lambda x: x,
    "exp": math.exp, "log": math.log, "sqrt": math.sqrt, "abs": abs, "max": max, "min": min,
    "sin": math.sin, "cos": math.cos, "tan": math.tan, "asin": math.asin, "acos": math.acos, "atan": math.atan,
    "sec": lambda x: 1 / math.cos(x), "csc": lambda x: 1 / math.sin(x), "cot": lambda x: 1 / math.tan(x),
    "atan2": math.atan2, "sinh": math.sinh, "cosh": math.cosh, "tanh": math.tanh,
    "asinh": math.asinh, "acosh": math.acosh, "atanh": math.atanh,
    "erf": math.erf, "erfc": math.erfc, "gamma": math.gamma, "loggamma": math.lgamma,
    "sigmoid": sigmoid, "relu": lambda x: max(x, 0.0), "softplus": softplus, "silu": lambda x: x * sigmoid(x),
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
}  # fmt: skip
FUNCTIONS = tuple(name for name in NUMERIC if name[0].isalpha() and name != "negative")
ARGUMENTS = {"log": (1, 2), "max": (2,), "min": (2,), "atan2": (2,)}  # others take one; log(x, b) is to the base b
OTHER_NAMES = {
    "ln": "log", "Abs": "abs", "Max": "max", "maximum": "max", "Min": "min", "minimum": "min", "ReLU": "relu",
    "arcsin": "asin", "arccos": "acos", "arctan": "atan", "arctan2": "atan2", "lgamma": "loggamma",
}  # fmt: skip
LIBRARIES = ("torch", "np", "numpy", "math", "sympy", "F")  # torch.exp(x) is exp(x)
CONSTANTS = {"pi": math.pi, "E": math.e}  # as sympy reads them
HEADING = re.compile(r"^(\w+)\s*\([\w\s,]*\)\s*=(?!=)")  # of f(x) = x**2: what f depends on is seen anyway
# An expression to be read and understood; a longer one would be a page of operations.
MOST_OPERATIONS = 200
CHARACTERS_AT_MOST = 4000
CURE = "write products as 2*x, powers as x**2, and several steps as a = 3*x; f = a**2."

Argument = str | float


@dataclass(frozen=True)
class Step:
    """One atomic operation: `name` = `operation` of `arguments`, names or numbers."""

    name: str
    operation: str
    arguments: tuple[Argument, ...]

    def __str__(self) -> str:
        shown = [a if isinstance(a, str) else number(a) for a in self.arguments]
        if self.operation in ARITHMETIC.values():
            if shown[1].startswith("-"):
                shown[1] = f"({shown[1]})"
            join = self.operation if self.operation == "**" else f" {self.operation} "
            return join.join(shown)
        if self.operation == "negative":
            return f"-{shown[0]}"
        return shown[0] if self.operation == "=" else f"{self.operation}({', '.join(shown)})"


@dataclass(frozen=True)
class Expression:
    """Operations in the order they are computed; the last is the result. `symbols`: names that no step gives."""

    text: str
    steps: tuple[Step, ...]
    symbols: tuple[str, ...]

    @property
    def result(self) -> str:
        return self.steps[-1].name


def number(value: float) -> str:
    """5 for 5.0, pi for itself, and as few digits as say it exactly."""
    for name, constant in CONSTANTS.items():
        if value == constant:
            return name
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def parse(text: str) -> Expression:
    """Read `(x - 5)**2 + 8`, or several steps such as `a = w*x + b; f = (a - y)**2`.

    Operations between numbers alone are computed at once. Those without a name of their own are called q1, q2, ..., as
    in the decomposition of Eq 1.23, and the last f.

    Raises:
        UserError: it cannot be read; the sentence has the position.
    """
    lines = [HEADING.sub(r"\1 =", line.strip()) for line in text.replace(";", "\n").splitlines()]
    source = "\n".join(line for line in lines if line)
    if not source:
        raise UserError(f"There is no expression to explain: {CURE}")
    if len(source) > CHARACTERS_AT_MOST:
        raise UserError(f"The expression has {len(source)} characters, more than {CHARACTERS_AT_MOST}: explain a part.")
    try:
        tree = ast.parse(source)
    except (SyntaxError, RecursionError, MemoryError, ValueError) as broken:
        taken = next((word for word in re.findall(r"[^\W\d]\w*", source) if keyword.iskeyword(word)), None)
        if taken:
            raise UserError(f"'{taken}' is a word of Python's and cannot be a name: call it {taken}1.") from None
        line, column = getattr(broken, "lineno", None) or 1, getattr(broken, "offset", None) or 1
        raise wrong(source, line, column - 1, "cannot be read") from None
    reader = Reader(source, {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)})
    try:
        for i, statement in enumerate(tree.body):
            reader.statement(statement, last=i == len(tree.body) - 1)
    except RecursionError:
        raise UserError(f"The expression is nested too deeply: {CURE}") from None
    return Expression("; ".join(source.splitlines()), tuple(reader.steps), tuple(reader.symbols))


def wrong(source: str, line: int, column: int, why: str) -> UserError:
    """One sentence with the line, where there are several, the character, counted from 1, and what stands there."""
    rows = source.splitlines()
    row = rows[min(line, len(rows)) - 1]
    at = f"character {column + 1} of " + (f"line {line}, " if len(rows) > 1 else "")
    there = f" ('{row[column : column + 12]}')" if column < len(row) else " (its end)"
    return UserError(f"{at}'{row[:80]}'{there} {why}: {CURE}".replace("character", "Character", 1))


class Reader:
    """Walks the syntax tree and writes one `Step` for each operation."""

    def __init__(self, source: str, names: set[str]):
        self.source = source
        self.steps: list[Step] = []
        self.symbols: list[str] = []
        self.names = names
        self.count = 0
        # q and f as in the notes, unless the text has a use for them
        self.prefix = next(p for p in ("q", "u", "v", "step") if not any(is_numbered(n, p) for n in names))
        self.result = next(n for n in ("f", "y", "z", "result") if n not in names)

    def refuse(self, node: ast.AST, why: str, offset: int | None = None) -> UserError:
        """What is wrong with a node; `offset`: the byte of its line to point at, where that is not its first."""
        line, first = getattr(node, "lineno", 1), getattr(node, "col_offset", 0)
        before = self.source.splitlines()[line - 1].encode()[: first if offset is None else offset]
        return wrong(self.source, line, len(before.decode(errors="ignore")), why)

    def statement(self, node: ast.stmt, last: bool) -> None:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name in self.symbols or any(step.name == name for step in self.steps):
                raise self.refuse(node, f"gives '{name}' a second meaning")
            self.settle(node.value, name)
        elif isinstance(node, ast.Expr) and last:
            self.settle(node.value, self.result)
        else:
            raise self.refuse(node, "is neither a step such as a = 3*x nor, at the end, an expression")

    def settle(self, node: ast.expr, name: str) -> None:
        """The value of `node` under a name of its own."""
        operation, arguments = self.operation(node)
        self.write(node, name, operation, arguments)

    def write(self, node: ast.expr, name: str, operation: str, arguments: tuple[Argument, ...]) -> None:
        if len(self.steps) >= MOST_OPERATIONS:
            raise self.refuse(node, f"is operation {MOST_OPERATIONS + 1}, more than a reader can follow")
        self.steps.append(Step(name, operation, arguments))

    def operation(self, node: ast.expr) -> tuple[str, tuple[Argument, ...]]:
        """What is done last in a node, and to what; numbers alone are "=" their value."""
        if isinstance(node, ast.BinOp) and type(node.op) in ARITHMETIC:
            found = ARITHMETIC[type(node.op)], (self.value(node.left), self.value(node.right))
            if found[0] == "/" and found[1][1] == 0:
                raise self.refuse(node, "divides by zero")
        elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            found = "negative", (self.value(node.operand),)
        elif isinstance(node, ast.Call):
            found = self.function(node), tuple(self.value(argument) for argument in node.args)
        else:
            return "=", (self.value(node),)
        if all(not isinstance(argument, str) for argument in found[1]):
            return "=", (self.compute(node, *found),)
        return found

    def value(self, node: ast.expr) -> Argument:
        """A number or a name for a node; its operations are written before."""
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd):
            return self.value(node.operand)
        if isinstance(node, ast.Constant) and isinstance(node.value, int | float) and not isinstance(node.value, bool):
            return self.finite(node, node.value)
        if isinstance(node, ast.Name):
            return self.symbol(node)
        if not isinstance(node, ast.BinOp | ast.UnaryOp | ast.Call):
            raise self.refuse(node, "is no number, name or operation")
        if isinstance(node, ast.BinOp) and type(node.op) not in ARITHMETIC:
            raise self.refuse(node, "is not one of + - * / **", node.left.end_col_offset)
        if isinstance(node, ast.UnaryOp) and not isinstance(node.op, ast.USub):
            raise self.refuse(node, "is not one of + - * / **")
        operation, arguments = self.operation(node)
        if operation == "=":
            return arguments[0]
        self.count += 1
        name = f"{self.prefix}{self.count}"
        self.write(node, name, operation, arguments)
        return name

    def symbol(self, node: ast.Name) -> Argument:
        given = {step.name for step in self.steps}
        if node.id in CONSTANTS and node.id not in given:
            return CONSTANTS[node.id]
        if node.id not in given and node.id not in self.symbols:
            if node.id in FUNCTIONS:
                raise self.refuse(node, f"is a function without its brackets, {node.id}(x)")
            self.symbols.append(node.id)
        return node.id

    def function(self, node: ast.Call) -> str:
        called = node.func
        if isinstance(called, ast.Attribute) and isinstance(called.value, ast.Name) and called.value.id in LIBRARIES:
            name = called.attr
        else:
            name = called.id if isinstance(called, ast.Name) else ""
        name = OTHER_NAMES.get(name, name)
        if name not in FUNCTIONS:
            raise self.refuse(node, f"is no function known here, {nearest(name, FUNCTIONS).rstrip('?.')}")
        takes = ARGUMENTS.get(name, (1,))
        if len(node.args) not in takes or node.keywords or any(isinstance(a, ast.Starred) for a in node.args):
            raise self.refuse(node, f"gives {name} {len(node.args)} arguments and not {' or '.join(map(str, takes))}")
        return name

    def compute(self, node: ast.expr, operation: str, arguments: tuple[Argument, ...]) -> float:
        try:
            return self.finite(node, NUMERIC[operation](*arguments))
        except (ArithmeticError, ValueError):
            raise self.refuse(node, "has no finite value") from None

    def finite(self, node: ast.expr, value: float) -> float:
        try:
            value = float(value)
        except OverflowError:
            value = math.inf
        if not math.isfinite(value):
            raise self.refuse(node, "has no finite value")
        return value


def is_numbered(name: str, prefix: str) -> bool:
    return name.startswith(prefix) and name[len(prefix) :].isdecimal()
