"""From what the user typed to a Collection, with one sentence on what was found and why.

A reader is one file with `probe(listing, config) -> list[Candidate]`; all of them look at the same one walk over
the folder. To add a format, write its reader and name it in READERS.
"""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from olhar.config import DataConfig
from olhar.data import folders
from olhar.data.listing import Candidate, Listing, count, scan
from olhar.data.sample import Collection
from olhar.data.splits import complete
from olhar.errors import UserError, nearest

READERS: dict[str, Callable[[Listing, DataConfig], list[Candidate]]] = {
    "folders": folders.probe,
}
TASKS = ("classify", "regress")
EMBEDDED = ("digits", "shapes")


def recognise(data: str | Path, task: str | None = None, config: DataConfig | None = None) -> Collection:
    """What `data` holds: a folder, or the name of an embedded set.

    A path that exists is read as a path even where it bears the name of a set; `digits:` is always the set.
    The collection's `explanation` says in one sentence what was found, why, and where its splits come from.

    Raises UserError where nothing labelled is found, and where there are several ways to read the data: then it
    lists them, with one example each and the option that chooses it.
    """
    config = config or DataConfig()
    config = replace(config, task=task or config.task)
    if config.task not in (None, *TASKS):
        raise UserError(f"There is no task '{config.task}': {nearest(str(config.task), TASKS)}")
    path = Path(data).expanduser()
    name, _, arguments = str(data).partition(":")
    if not path.exists() and name in EMBEDDED:
        return finish(embedded(name, arguments, config), config)
    if not path.exists():
        raise UserError(absent(str(data), path))
    return finish(read_folder(path, config), config)


def finish(collection: Collection, config: DataConfig) -> Collection:
    """The splits that are lacking, and a full stop."""
    collection = complete(collection, config)
    return replace(collection, explanation=collection.explanation.rstrip(".") + ".")


def embedded(name: str, arguments: str, config: DataConfig) -> Collection:
    """A set that travels with the package."""
    if name == "digits":
        from olhar.data import digits

        return digits.collection(config)
    from olhar.data import shapes

    return shapes.collection(config.task, config, arguments)


def read_folder(path: Path, config: DataConfig) -> Collection:
    """The one way to read a folder."""
    listing = scan(path)
    candidates = [candidate for probe in READERS.values() for candidate in probe(listing, config)]
    if len(candidates) == 1:
        return candidates[0].read()
    if not candidates:
        raise UserError(unlabelled(listing))
    ways = "".join(f"\n  {c.what}: {c.sample}. Choose with {c.choose}" for c in candidates)
    raise UserError(f"{path} can be read in {len(candidates)} ways; choose one:{ways}")


def unlabelled(listing: Listing) -> str:
    """Why nothing to learn was found, and which layouts are read."""
    return f"{listing.root} holds {count(len(listing.images), 'image')} but no labels."


def absent(data: str, path: Path) -> str:
    """The nearest name beside a path that does not exist."""
    return f"{data} does not exist."
