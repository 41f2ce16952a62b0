"""olhar: train vision models on your own images, and see what they learnt.

    run = olhar.train("photos/", epochs=20)
    run.predict(["new.jpg"])

Importing this package has no side effect and does not import torch: each name below is fetched from its room
when it is first used.
"""

import importlib
import sys
from types import ModuleType
from typing import TYPE_CHECKING, Any

from olhar.errors import UserError

if TYPE_CHECKING:
    from olhar.checkup import check
    from olhar.launch import resume, train
    from olhar.published import adopt
    from olhar.run import Run, load

__version__ = "0.1.0"
__all__ = ["Run", "UserError", "__version__", "adopt", "check", "load", "resume", "train"]

_ROOMS = {"adopt": "published", "train": "launch", "resume": "launch", "Run": "run", "check": "checkup", "load": "run"}


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return getattr(importlib.import_module(f"olhar.{_ROOMS[name]}"), name)
    raise AttributeError(f"module 'olhar' has no attribute '{name}'")


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


class _CallableRoom(ModuleType):
    """The folder olhar/train/, which can be called: it bears the name of the verb `olhar.train(...)`."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return getattr(importlib.import_module("olhar.launch"), "train")(*args, **kwargs)  # noqa: B009


class _Package(ModuleType):
    """This package. Importing `olhar.train.loop` makes Python set the attribute `train` to the folder, which
    would hide the verb; so the folder is made to answer a call as the verb does."""

    def __setattr__(self, name: str, value: Any) -> None:
        if name == "train" and isinstance(value, ModuleType):
            value.__class__ = _CallableRoom
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Package
