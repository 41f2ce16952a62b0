"""The house rules as tests: size, what imports what, what importing does, what must be documented."""

import ast
import dataclasses
import re
import socket
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from olhar.config import Config, all_settings
from olhar.options import documentation

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "olhar"
FILES = sorted(SOURCE.rglob("*.py"))
NAMES = [path.relative_to(SOURCE).as_posix() for path in FILES]
PACKAGES_AT_MOST = 50  # beyond torch, torchvision and what they need


def lines_allowed(name: str) -> int:
    if name.startswith("models/"):
        return 300
    if name.startswith("tasks/") or name == "train/loop.py":
        return 150
    return 400


def definitions(path: Path) -> list[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    return [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef)]


def length(node: ast.stmt) -> int:
    return (node.end_lineno or node.lineno) - node.lineno + 1


def imported(path: Path) -> set[str]:
    """The modules a file imports, wherever in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


@pytest.mark.parametrize("name", NAMES)
def test_a_file_a_function_and_a_constructor_stay_within_budget(name: str):
    path = SOURCE / name
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= lines_allowed(name)
    for node in definitions(path):
        if isinstance(node, ast.ClassDef):
            continue
        assert length(node) <= 60, f"{name}: {node.name} has more than 60 lines"
        if node.name == "__init__":
            arguments = len(node.args.posonlyargs + node.args.args + node.args.kwonlyargs) - 1
            assert arguments <= 12, f"{name}: a constructor has {arguments} arguments besides self"


@pytest.mark.parametrize("name", NAMES)
def test_public_functions_and_classes_say_what_they_are(name: str):
    """But for functions so short that their name says it all, and a report's panels: their file says what they show."""
    tree = ast.parse((SOURCE / name).read_text(encoding="utf-8"))
    public = [n for n in tree.body if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")]
    undocumented = [node.name for node in public if not ast.get_docstring(node) and length(node) > 5]
    assert not undocumented or name.startswith("report/panels/")
    assert ast.get_docstring(tree) or not tree.body, "the file does not say what it is for"


@pytest.mark.parametrize("room", ["models", "tasks"])
def test_no_model_imports_a_model_and_no_task_a_task(room: str):
    shared = {"models": {"base"}, "tasks": {"task", "pixel_task", "box_task"}}[room]
    members = {path.stem for path in (SOURCE / room).glob("*.py")} - {"__init__"} - shared
    for member in members - {"classifier", "weights"}:
        others = {f"olhar.{room}.{other}" for other in members - {member}} | {f"olhar.{room}"}
        assert not imported(SOURCE / room / f"{member}.py") & others, member


def test_importing_is_light_and_silent():
    program = (
        "import sys; before = set(sys.modules)\n"
        "import olhar, olhar.cli, olhar.config, olhar.options\n"
        "heavy = {'torch', 'torchvision', 'numpy', 'rich', 'matplotlib', 'PIL', 'yaml'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_every_setting_has_a_sentence():
    assert set(all_settings()) - set(documentation()) == set()


def test_configurations_are_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Config().optim.lr = 0.1  # type: ignore[misc]


def closure(names: list[str]) -> set[str]:
    """Every installed package these requirements pull in, directly or not."""
    found: set[str] = set()
    waiting = [Requirement(name) for name in names]
    while waiting:
        requirement = waiting.pop()
        extras = requirement.extras or {""}
        if requirement.marker and not requirement.marker.evaluate({"extra": ""}):
            continue
        name = re.sub(r"[-_.]+", "-", requirement.name).lower()
        if name in found and not requirement.extras:
            continue
        found.add(name)
        for text in metadata.requires(requirement.name) or []:
            needed = Requirement(text)
            if needed.marker is None or any(needed.marker.evaluate({"extra": extra}) for extra in extras):
                needed.marker = None
                waiting.append(needed)
    return found


def test_few_packages_are_installed():
    dependencies = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    ours = closure(dependencies) - closure(["torch", "torchvision"])
    assert len(ours) <= PACKAGES_AT_MOST, sorted(ours)


def test_the_network_is_out_of_reach():
    with pytest.raises(AssertionError, match="without a network"):
        socket.create_connection(("192.0.2.1", 80), timeout=1)  # an address reserved for documentation
    with pytest.raises(AssertionError, match="without a network"):
        socket.getaddrinfo("example.org", 80)
