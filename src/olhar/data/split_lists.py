"""Lists of files that name their splits: train.txt, val.txt and test.txt, as in ImageSets/Segmentation/ of Pascal VOC.

A line begins with the name of an image, with or without its folder and its extension.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

from olhar.data.columns import endings
from olhar.data.header import IMAGE_EXTENSIONS
from olhar.data.listing import Listing, extension, split_of
from olhar.data.sample import SPLITS, Split
from olhar.data.table_file import read_text

SAMPLED = 50  # lines of a list that must mostly name images for it to be one


class Named(NamedTuple):
    """A line of a list, the images that it may name, and how many folders were left off to find them."""

    text: str
    images: list[str]
    off: int


@dataclass(frozen=True)
class SplitLists:
    """What the lists say: the split of each image by its path, which files said it, and names that fit nothing."""

    splits: dict[str, Split] = field(default_factory=dict)
    files: dict[Split, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    twice: tuple[str, ...] = ()  # images in two lists: each is left where it is measured, not where it is learnt


def read_lists(listing: Listing, images: Iterable[str]) -> SplitLists:
    """The lists whose lines name these images, by their paths or the ends of them. Of several folders of lists, as VOC
    has one a task, the one for segmentation, else the one that names the most."""
    index: dict[str, list[str]] = {}
    by_folder: dict[str, dict[Split, tuple[str, list[Named]]]] = defaultdict(dict)
    for name in listing.texts:
        folder, _, file = name.rpartition("/")
        word = file.rpartition(".")[0].lower()
        split = "train" if word == "trainval" else split_of(word)
        if extension(name) != ".txt" or split is None or (word == "trainval" and "train" in by_folder[folder]):
            continue
        index = index or endings(images)
        lines = [named_by(line, index) for line in read_text(listing.root / name).splitlines() if line.strip()]
        if 2 * sum(bool(line.images) for line in lines[:SAMPLED]) > len(lines[:SAMPLED]):
            by_folder[folder][split] = (name, lines)
    usable = {folder: lists for folder, lists in by_folder.items() if lists}
    if not usable:
        return SplitLists()

    def rank(folder: str) -> tuple[bool, int, str]:
        return "segmentation" in folder.lower(), sum(len(lines) for _, lines in usable[folder].values()), folder

    return _joined(usable[max(usable, key=rank)])


def _joined(lists: dict[Split, tuple[str, list[Named]]]) -> SplitLists:
    splits: dict[str, Split] = {}
    absent: list[str] = []
    twice: list[str] = []
    ordered: list[Split] = [split for split in SPLITS if split in lists]
    for split in ordered:
        for line in lists[split][1]:
            # a bare name means all that bear it; with a folder that none of them is in, nobody knows which
            if not line.images or (line.off and len(line.images) > 1):
                absent.append(line.text.split()[0])
                continue
            twice += [image for image in line.images if splits.get(image, split) != split]
            splits |= dict.fromkeys(line.images, split)
    return SplitLists(splits, {split: lists[split][0] for split in ordered}, tuple(absent), tuple(twice))


def named_by(line: str, index: Mapping[str, list[str]]) -> Named:
    """What a line names among the images of `columns.endings`: the whole line, else its first word, with its extension,
    else without; as it stands, else what is left of it without its first folders."""
    texts = [text.replace("\\", "/").removeprefix("./") for text in (line.strip(), line.split()[0])]
    for off in range(texts[0].count("/") + 1):
        for text in texts:
            path = "/".join(text.split("/")[off:])
            bare = path.rpartition(".")[0] if extension(path) in IMAGE_EXTENSIONS else ""
            for written in filter(None, (path, bare)):
                if fits := index.get(written.lower()):
                    exact = [name for name in fits if written in (name, name.rpartition(".")[0])]
                    return Named(line.strip(), exact or fits, off)
    return Named(line.strip(), [], 0)
