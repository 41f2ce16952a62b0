"""The command line's options, made from the dataclasses of config.py: one place for each setting.

A setting is an option by its dotted name (`--optim.lr 0.1`); the ones most people touch have a short name too
(`--lr 0.1`). Standard library only: help and usage errors must answer at once.
"""

import argparse
import ast
import dataclasses
import functools
import inspect
import re
import sys
import types
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn, Union, get_args, get_origin, get_type_hints

from olhar import config
from olhar.errors import UserError, nearest

SHORT = {
    "data.task": "--task",
    "model.name": "--model",
    "train.epochs": "--epochs",
    "train.budget": "--budget",
    "train.batch_size": "--batch-size",
    "data.image_size": "--image-size",
    "optim.lr": "--lr",
    "model.weights": "--weights",
    "train.seed": "--seed",
    "data.download": "--download",
    "data.allow": "--allow",
    "data.ignore": "--ignore",
    "data.corruption": "--corruption",
}
"""Short names. With `--run` they are the fourteen plain options of `olhar train`: a test keeps it at that."""

WORDS = {"yes": True, "true": True, "on": True, "no": False, "false": False, "off": False, "none": None}


class Usage(argparse.ArgumentParser):
    """An ArgumentParser whose errors are one sentence, with the nearest option, and exit status 2."""

    def __init__(self, verb: str, arguments: str, description: str | None):
        self.takes_minus = False  # an argument may begin with one, as expressions do
        super().__init__(
            prog=f"olhar {verb}",
            usage=f"olhar {verb} {arguments} [options]",
            description=description,
            formatter_class=_Formatter,
            allow_abbrev=False,
        )

    def error(self, message: str) -> NoReturn:
        sentence = message.removeprefix("argument ").replace("the following arguments are required:", "missing:")
        sentence = sentence[:1].upper() + sentence[1:].rstrip(".") + ("" if message.endswith("?") else ".")
        self.exit(2, f"{sentence}\n`{self.prog} --help` shows every option.\n")

    def print_help(self, file: Any = None) -> None:
        if sys.stdout.isatty() and file is None:
            from olhar import terminal

            terminal.show_help(self.format_help())
        else:
            super().print_help(file)

    def parse_args(self, args: Sequence[str]) -> argparse.Namespace:  # type: ignore[override]
        """As argparse does it; an option nobody knows is answered with the nearest one."""
        known = {name for action in self._actions for name in action.option_strings}
        yes_no = {n for a in self._actions if a.type is yes_or_no for n in a.option_strings}
        if self.takes_minus:  # argparse takes no word with a blank for an option
            args = [f" {w}" if w[:1] == "-" and w[:2] != "--" and w not in known else w for w in args]
        found, unknown = super().parse_known_args(tidy(args, known, yes_no))
        for word in unknown:
            if word.startswith("-") and word != "-":
                self.error(f"there is no option {word.partition('=')[0]}: {nearest(word.partition('=')[0], known)}")
            option = f"--{word.partition('=')[0]}"
            hint = f": did you mean {option}?" if "=" in word and option in known else ""
            self.error(f"'{word}' is one argument too many{hint}")
        try:
            config.Config().with_changes(changes(found))
        except UserError as mistake:
            self.error(f"--{mistake}")  # the message begins with the name of the setting
        return found


class _Formatter(argparse.HelpFormatter):
    """One width everywhere, so that help reads the same in a pipe, and a short name without its dotted twin."""

    def __init__(self, prog: str):
        super().__init__(prog, max_help_position=34, width=100)

    def _format_action_invocation(self, action: argparse.Action) -> str:
        names = [n for n in action.option_strings if "." not in n] or list(action.option_strings)
        if not names:
            return str(action.metavar)
        return ", ".join(names) + ("" if action.nargs == 0 else f" {action.metavar}")


def tidy(args: Sequence[str], known: set[str], yes_no: set[str]) -> list[str]:
    """The spellings people use, as the parser wants them: `--batch_size 8`, `--optim.weight-decay 0`, `--latent auto`
    for `--model.latent auto` where no other setting is called so, a bare `--train.tensorboard` for
    `--train.tensorboard=yes`."""
    result: list[str] = []
    last = {option: option.rpartition(".")[2] for option in known if "." in option}
    only = {name: option for option, name in last.items() if [*last.values()].count(name) == 1}
    for position, word in enumerate(args):
        if word == "--":
            return [*result, *args[position:]]
        if word.startswith("--"):
            name, equals, value = word.partition("=")
            other = "--" + (name[2:].replace("-", "_") if "." in name else name[2:].replace("_", "-"))
            name = name if name in known else other if other in known else only.get(name[2:].replace("-", "_"), name)
            following = args[position + 1].lower() if position + 1 < len(args) else ""
            if name in yes_no and not equals and following not in WORDS:
                equals, value = "=", "yes"
            word = name + equals + value
        result.append(word)
    return result


@functools.cache
def documentation() -> dict[str, str]:
    """The sentence below each setting in config.py, by dotted name: {"optim.lr": "Peak learning rate."}."""
    tree = ast.parse(inspect.getsource(config))
    classes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef)}
    result = {}
    for part in dataclasses.fields(config.Config):
        body = classes[part.type if isinstance(part.type, str) else part.type.__name__].body
        for node, below in zip(body, [*body[1:], None], strict=True):
            if not (isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)):
                continue
            if isinstance(below, ast.Expr) and isinstance(below.value, ast.Constant):
                result[f"{part.name}.{node.target.id}"] = " ".join(str(below.value.value).split())
    return result


def add_settings(parser: argparse.ArgumentParser, keys: Sequence[str] = tuple(config.all_settings())) -> None:
    """Give `parser` an option for each of the settings `keys`, those with a short name first."""
    plain = parser.add_argument_group("settings")
    groups = {s: parser.add_argument_group(f"further settings of {s}") for s in config.SECTIONS}
    for key in [*(key for key in SHORT if key in keys), *(key for key in keys if key not in SHORT)]:
        section, _, name = key.partition(".")
        part = type(getattr(config.Config(), section))
        default = getattr(part(), name)
        hint = get_type_hints(part)[name]
        place = plain if key in SHORT else groups[section]
        place.add_argument(
            *([SHORT[key]] if key in SHORT else []),
            f"--{key}",
            dest=key,
            default=argparse.SUPPRESS,
            help=_help(key, default),
            **_reading(key, hint),
        )


def changes(found: argparse.Namespace) -> dict[str, Any]:
    """The settings that were typed, by dotted name: what `Config.with_changes` takes."""
    return {key: value for key, value in vars(found).items() if "." in key}


def as_typed(settings: dict[str, Any]) -> list[str]:
    """The inverse of `changes`, as words of a command line."""
    words: list[str] = []
    for key, value in settings.items():
        words.append(SHORT.get(key, f"--{key}"))
        if key != "data.download":
            words.append(",".join(value) if isinstance(value, list) else str(value))
    return words


def _help(key: str, default: Any) -> str:
    shown = "" if default in (None, (), {}, False) else f" [{default}]"
    return (documentation().get(key, "").replace("None: ", "Left out: ") + shown).replace("%", "%%")


def _reading(key: str, hint: Any) -> dict[str, Any]:
    """argparse's arguments for a setting of type `hint`."""
    name = key.partition(".")[2]
    optional = get_origin(hint) in (Union, types.UnionType)
    base = next(arg for arg in get_args(hint) if arg is not type(None)) if optional else hint
    if key == "data.download":
        return {"action": "store_true"}
    if get_origin(base) is Literal:
        return {"type": choice(get_args(base)), "metavar": "{" + ",".join(get_args(base)) + "}"}
    if get_origin(base) is tuple:
        return {"action": "extend", "type": lambda text: tuple(text.split(",")), "metavar": "CODE"}
    if get_origin(base) is dict:
        return {"action": "extend", "type": pairs, "metavar": "NAME=VALUE"}
    if base is bool:
        return {"type": yes_or_no, "metavar": "yes|no"}
    metavar = {int: "N", float: "X"}.get(base, "PATH" if name == "weights" else "NAME")
    reader: Callable[[str], Any] = {int: whole, float: real}.get(base, str)
    if key == "train.budget":
        reader, metavar = duration, "10min"
    return {"type": functools.partial(none_or, reader) if optional else reader, "metavar": metavar}


def choice(allowed: Sequence[str]) -> Callable[[str], str]:
    """A reader of one of a few words."""

    def read(text: str) -> str:
        if text in allowed:
            return text
        raise argparse.ArgumentTypeError(f"'{text}' is not one of {', '.join(allowed)}")

    return read


def yes_or_no(text: str) -> bool | None:
    """`yes` and `no`, and other words for them."""
    if text.lower() in WORDS:
        return WORDS[text.lower()]
    raise argparse.ArgumentTypeError(f"'{text}' is neither yes nor no")


def seed(text: str) -> int:
    """A whole number that a random generator takes."""
    if not -(2**63) <= whole(text) < 2**63:
        raise argparse.ArgumentTypeError(f"'{text}' is no seed: give a number below 2^63")
    return whole(text)


def whole(text: str) -> int:
    """A whole number."""
    try:
        return int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number") from None


def size(text: str) -> tuple[int, int]:
    """Width and height as `96x64`, or one number for both: (height, width)."""
    found = re.fullmatch(r"([1-9][0-9]*)(?:x([1-9][0-9]*))?", text)
    if not found:
        raise argparse.ArgumentTypeError(f"'{text}' is not a size like 64 or 96x64")
    return int(found[2] or found[1]), int(found[1])


def positive(text: str) -> int:
    """A whole number, 1 or more."""
    if whole(text) < 1:
        raise argparse.ArgumentTypeError(f"'{text}' is not 1 or more")
    return int(text)


def point(text: str) -> dict[str, float]:
    """`x=3,w=pi/2` as numbers by name."""
    from olhar.theory.expression import parse

    found = {}
    for part in text.split(","):
        name, _, number = part.partition("=")
        try:
            last = parse(number).steps[-1]  # of numbers alone it is what they come to
            value = last.arguments[0] if last.operation == "=" and name.strip() else number
        except UserError:
            value = number
        if isinstance(value, str):
            raise argparse.ArgumentTypeError(f"'{part}' is not a name and its number, such as x=3")
        found[name.strip()] = value
    return found


def picture_file(text: str) -> Path:
    """A file whose ending says how to draw."""
    if Path(text).suffix.lower() not in (".svg", ".png", ".pdf"):
        raise argparse.ArgumentTypeError(f"'{text}' does not end in .svg, .png or .pdf")
    return Path(text)


def real(text: str) -> float:
    """A number."""
    try:
        return float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"'{text}' is not a number") from None


def duration(text: str) -> str:
    """A duration, kept as it was written: `10min`."""
    try:
        config.parse_duration(text)
    except UserError as mistake:
        raise argparse.ArgumentTypeError(str(mistake)) from None
    return text


def none_or(reader: Callable[[str], Any], text: str) -> Any:
    """A setting that may be left to be decided: `none` says so."""
    return None if text.lower() == "none" else reader(text)


def pairs(text: str) -> list[tuple[str, Any]]:
    """`width=64,hidden=256,128` -> [("width", 64), ("hidden", "256,128")]: the model reads lists itself."""
    result: list[tuple[str, Any]] = []
    for item in re.split(r",(?=\w+=)", text):
        name, equals, value = item.partition("=")
        if not (name and equals):
            raise argparse.ArgumentTypeError(f"'{item}' is not NAME=VALUE")
        result.append((name, _literal(value)))
    return result


def _literal(text: str) -> Any:
    for reader in (int, float):
        try:
            return reader(text)
        except ValueError:
            pass
    return WORDS.get(text.lower(), text)
