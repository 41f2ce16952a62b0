"""Class folders: an image's class is the folder it lies in.

    train/cat/1.jpg  val/cat/2.jpg      splits above the classes
    cat/train/1.jpg  cat/val/2.jpg      splits below the classes
    cat/1.jpg        animals/cat/1.jpg  no splits; classes may be nested

Class indices follow the names sorted as plain text over all splits together, so that a split that lacks a class
never shifts the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from olhar.config import DataConfig
from olhar.data import pairs
from olhar.data.listing import Candidate, Listing, count, join, kinds, split_of
from olhar.data.pairing import is_structure
from olhar.data.sample import SPLITS, Collection, Record, Split
from olhar.errors import UserError

Folders = tuple[str, ...]  # the names of the folders an image lies in, outermost first


@dataclass(frozen=True)
class Labelled:
    name: str
    split: Split
    label: str


@dataclass(frozen=True)
class Layout:
    """Which images the folders label, and how."""

    splits: Literal["above", "below", "none"]  # where the folders of splits stand, seen from the classes
    examples: tuple[Labelled, ...]
    unlabelled: tuple[str, ...]  # images that lie in no class folder
    split_folders: tuple[str, ...]  # as they are written, in the order train, val, test
    inside: str  # the one folder that holds all the images, with its slash; "" where there is none

    @property
    def class_names(self) -> tuple[str, ...]:
        return tuple(sorted({example.label for example in self.examples}))


def probe(listing: Listing, config: DataConfig) -> list[Candidate]:
    """Class folders, where most images lie in one of at least two folders that can be classes, and those are not
    named as what is given and what it is to become, with pictures of the same names."""
    if config.task is None and config.format is None and any(found.certain for found in pairs.lay_out(listing.images)):
        return []
    layout = lay_out(listing.images)
    if layout is None or len(layout.class_names) < 2:
        return []
    first = layout.examples[0]
    what = f"class folders ({len(layout.class_names):,} of them)"
    sample = f"{first.name} is '{first.label}'"
    return [Candidate("folders", what, sample, "--data.format folders", lambda: read(listing, layout, config))]


def lay_out(images: Sequence[str]) -> Layout | None:
    """Tell splits from classes by where the words train, val and test stand; None where no folder can be a class."""
    inside = _common_folder(images)
    folders = {name: tuple(name.removeprefix(inside).split("/")[:-1]) for name in images}
    splits = _where_splits_stand(set(folders.values()))
    place = {"above": _above, "below": _below, "none": _train}[splits]
    has_train = any(split_of(path[0]) == "train" for path in folders.values() if path)
    examples, unlabelled, split_folders = [], [], {}
    for name, path in folders.items():
        word, label = place(path)
        if not label or (splits == "above" and not word and has_train):
            unlabelled.append(name)
            continue
        split = (split_of(word) if word else None) or "train"
        examples.append(Labelled(name, split, "/".join(label)))
        split_folders[word] = split
    tops = {example.label.split("/")[0].lower() for example in examples}
    if len(unlabelled) >= len(examples) or all(split_of(top) or is_structure(top) for top in tops):
        return None
    words = sorted((w for w in split_folders if w), key=lambda word: (SPLITS.index(split_folders[word]), word))
    return Layout(splits, tuple(examples), tuple(unlabelled), tuple(words), inside)


def _above(path: Folders) -> tuple[str, Folders]:
    return (path[0], path[1:]) if path and split_of(path[0]) else ("", path)


def _below(path: Folders) -> tuple[str, Folders]:
    return (path[-1], path[:-1]) if path and split_of(path[-1]) else ("", ())


def _train(path: Folders) -> tuple[str, Folders]:
    return "", path


def _common_folder(images: Sequence[str]) -> str:
    """The folder, such as an archive's own, that holds every image in further folders."""
    inside = ""
    while True:
        rest = [name[len(inside) :].split("/", 2) for name in images]
        tops = {parts[0] for parts in rest if len(parts) > 1}
        deeper = sum(len(parts) > 2 for parts in rest)
        if len(tops) != 1 or split_of(next(iter(tops))) or deeper <= len(rest) / 2:
            return inside
        if any(len(parts) == 1 for parts in rest):
            return inside
        inside += f"{tops.pop()}/"


def _where_splits_stand(paths: set[Folders]) -> Literal["above", "below", "none"]:
    """Above, where folders named after splits hold folders; below, where most folders end in a split's name.

    Folders beside test/ that are no split are its classes, for training, where test/ holds one of the same name;
    otherwise 'test' is a class like them.
    """
    under = {path[1:] for path in paths if len(path) > 1 and split_of(path[0])}
    beside = {path for path in paths if path and not split_of(path[0])}
    if under and (not beside or under & beside or any(split_of(path[0]) == "train" for path in paths if path)):
        return "above"
    endings = sum(len(path) > 1 and split_of(path[-1]) is not None for path in paths)
    return "below" if endings > len(paths) / 2 else "none"


def read(listing: Listing, layout: Layout, config: DataConfig) -> Collection:
    """The labelled images. Raises UserError where another task than classification is asked for."""
    if config.task not in (None, "classify"):
        raise UserError(
            f"{listing.root} holds class folders, which name classes, not numbers: use --task classify, "
            f"or give a table with a column of numbers."
        )
    names = layout.class_names
    index = {name: i for i, name in enumerate(names)}
    records = [Record(e.name, listing.root / e.name, e.split, label=index[e.label]) for e in layout.examples]
    under = join(
        [f"{layout.inside}{word}/" if layout.splits == "above" else f"{word}/" for word in layout.split_folders]
    )
    where = {"above": f" under {under}", "below": f" split by {under} inside them", "none": ""}[layout.splits]
    if layout.inside and layout.splits != "above":
        where = f" in {layout.inside}{where}"
    return Collection(
        root=str(listing.root),
        format="class folders",
        task="classify",
        records=records,
        explanation=f"{len(names):,} folders of {kinds([e.name for e in layout.examples])}{where}: "
        f"classification, {len(names):,} classes",
        class_names=names,
        notes=_notes(layout),
        split_origin=_origins(layout),
    )


def _notes(layout: Layout) -> tuple[str, ...]:
    if not layout.unlabelled:
        return ()
    left = count(len(layout.unlabelled), "image")
    return (f"{left} in no class folder left out (first: {layout.unlabelled[0]}).",)


def _origins(layout: Layout) -> dict[str, str]:
    origin: dict[str, str] = {}
    for split in dict.fromkeys(example.split for example in layout.examples):
        words = [word for word in layout.split_folders if split_of(word) == split]
        origin[split] = f"the folder {join([w + '/' for w in words])}" if words else "the class folders"
    return origin
