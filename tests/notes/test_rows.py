"""No row of the notes is without a test, and no test claims a row that is not there."""

import ast
from pathlib import Path

from rows import ROWS

TESTS = Path(__file__).parents[1]


def marked(source: str) -> list[tuple[str, str]]:
    """(row, test) of every `@pytest.mark.notes(...)` on a test function of a file."""
    return [
        (argument.value, function.name)
        for function in ast.walk(ast.parse(source))
        if isinstance(function, ast.FunctionDef) and function.name.startswith("test_")
        for mark in function.decorator_list
        if isinstance(mark, ast.Call) and ast.unparse(mark.func) == "pytest.mark.notes"
        for argument in mark.args
        if isinstance(argument, ast.Constant)
    ]


def test_every_row_has_a_test_and_every_mark_a_row():
    files = [path.read_text(encoding="utf-8") for path in TESTS.rglob("test_*.py")]
    found = {row for source in files for row, _ in marked(source)}
    assert sorted(set(ROWS) - found) == []
    assert sorted(found - set(ROWS)) == []
    assert all(set(kinds.split()) <= {"EX", "CF", "SY", "AG", "LIB", "INV"} for kinds in ROWS.values())


def test_a_mark_without_a_test_counts_for_nothing():
    of_a_helper = '@pytest.mark.notes("Eq 1.1")\ndef helper(): ...\n'
    of_a_test = '@pytest.mark.notes("Eq 1.2", "Q1")\ndef test_it(): ...\n'
    assert marked(of_a_helper + of_a_test) == [("Eq 1.2", "test_it"), ("Q1", "test_it")]
