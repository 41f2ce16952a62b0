"""What a user did wrong, in one sentence: the cause, the file, the cure."""

import difflib
from collections.abc import Iterable
from pathlib import Path


class UserError(ValueError):
    """A mistake in the data, the run or the options, never in this code.

    The message is one plain sentence that names the cause, the file and the cure; the command line prints it
    alone, without a traceback, and exits with status 1.
    """


def nearest(word: str, options: Iterable[str]) -> str:
    """The end of an error message: the nearest option, or all of them when none is near.

    >>> nearest("resnet81", ["resnet18", "cnn"])
    "did you mean 'resnet18'?"
    """
    known = sorted(options)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{close[0]}'?"
    shown = ", ".join(known[:12]) + (f" and {len(known) - 12} more" if len(known) > 12 else "")
    return f"known: {shown}."


def nearest_path(path: Path) -> str:
    """The same for a path that does not exist: the nearest name in the deepest folder that does."""
    parent, missing = path.parent, path.name
    while not parent.exists():
        parent, missing = parent.parent, parent.name
    if not parent.is_dir():
        return f"{parent} is a file, not a folder."
    names = sorted(p.name for p in parent.iterdir() if not p.name.startswith("."))
    close = difflib.get_close_matches(missing, names, n=1, cutoff=0.5)
    if close:
        return f"did you mean '{parent / close[0]}'?"
    where = "this folder" if parent == Path() else f"'{parent}'"
    more = f" and {len(names) - 8} more" if len(names) > 8 else ""
    return f"{where} holds {', '.join(names[:8])}{more}." if names else f"{where} is empty."
