"""What the documents say can be typed: their commands parse, and the paths they name exist."""

import re
import shlex
from pathlib import Path

import pytest

from olhar import cli

ROOT = Path(__file__).parents[1]
DOCUMENTS = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "docs/results.md")
MADE_LATER: set[str] = set()


def text(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def commands(document: str) -> list[str]:
    """Everything in backquotes or an indented block that starts with `olhar` and a verb, from `olhar` on."""
    pieces = re.findall(r"`([^`\n]+)`", document) + re.findall(r"(?m)^    (.+)$", document)
    found = [re.search(rf"(?:^|\s)olhar ((?:{'|'.join(cli.VERBS)})\b[^#|&]*)", piece) for piece in pieces]
    return [match[1].strip().rstrip("\\").strip() for match in found if match]


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_command_of_a_document_parses(name: str):
    for command in commands(text(name)):
        verb, *words = shlex.split(command)
        cli.parser(verb).parse_args(words)  # a mistake exits with status 2


def test_the_readme_shows_every_verb():
    shown = {command.split()[0] for command in commands(text("README.md"))}
    assert shown == set(cli.VERBS)


def test_the_first_screen_shows_commands_that_parse():
    for command in commands(cli.FIRST_SCREEN.replace("  olhar", "    olhar")):
        verb, *words = re.split(r"\s{2,}", command)[0].split()
        cli.parser(verb).parse_args(words)


@pytest.mark.parametrize("name", DOCUMENTS)
def test_every_path_a_document_names_exists(name: str):
    document = text(name)
    named = re.findall(r"\b(?:src|tests|docs|benchmarks)/[\w./-]*\w/?|\.ci/run|\.importlinter", document)
    named += [link for link in re.findall(r"\]\(([^)#]+)\)", document) if "://" not in link]
    missing = [path for path in named if not (ROOT / path).exists() and path not in MADE_LATER]
    assert not missing


def test_the_python_example_uses_names_that_exist():
    import olhar

    example = re.search(r"```python\n(.*?)```", text("README.md"), re.S)
    assert example
    compile(example[1], "README.md", "exec")
    for name in set(re.findall(r"olhar\.(\w+)", example[1])):
        assert callable(getattr(olhar, name))
    for name in set(re.findall(r"\brun\.(\w+)\(", example[1])):
        assert callable(getattr(olhar.Run, name))
