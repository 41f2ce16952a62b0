"""The pieces panels are made of, as functions: the macros of templates/parts.html, which escape what they get."""

from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import ChoiceLoader, Environment, PackageLoader, StrictUndefined
from markupsafe import Markup


@cache
def templates(*packages: str) -> Environment:
    """The report's templates, after those of other packages; everything that is not marked as safe is escaped."""
    loader = ChoiceLoader([PackageLoader(name) for name in (*packages, "olhar.report")])
    return Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)


def style(package: str = "olhar.report") -> str:
    """The style sheet that stands beside a package's templates."""
    return files(package).joinpath("templates/style.css").read_text(encoding="utf-8")


def part(macro: str, /, *args: Any, **kwargs: Any) -> Markup:
    """One piece by the name of its macro: part("facts", [("images", 10, None)])."""
    return getattr(templates().get_template("parts.html").module, macro)(*args, **kwargs)


def join(*parts: Markup) -> Markup:
    return Markup("\n").join(parts)
