"""Lists of files that name their splits: train.txt, val.txt and test.txt, as in ImageSets/Segmentation/ of Pascal VOC.

A line begins with the name of an image, with or without its folder and its extension.
"""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field

from olhar.data.header import IMAGE_EXTENSIONS
from olhar.data.listing import Listing, extension, split_of
from olhar.data.sample import SPLITS, Split
from olhar.data.table_file import read_text

SAMPLED = 50  # lines of a list that must mostly name images for it to be one


@dataclass(frozen=True)
class SplitLists:
    """What the lists say: the split of each image by its stem, which files said it, and names that fit nothing."""

    splits: dict[str, Split] = field(default_factory=dict)
    files: dict[Split, str] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    twice: tuple[str, ...] = ()  # stems in two lists: each is left where it is measured, not where it is learnt


def read_lists(listing: Listing, stems: Iterable[str]) -> SplitLists:
    """The lists whose lines name images by these stems. Of several folders of lists, as VOC has one a task, the one
    for segmentation, else the one that names the most."""
    known = frozenset(stems)
    by_folder: dict[str, dict[Split, tuple[str, list[str]]]] = defaultdict(dict)
    for name in listing.texts:
        folder, _, file = name.rpartition("/")
        word = file.rpartition(".")[0].lower()
        split = "train" if word == "trainval" else split_of(word)
        if extension(name) != ".txt" or split is None or (word == "trainval" and "train" in by_folder[folder]):
            continue
        lines = [stem_of(line, known) for line in read_text(listing.root / name).splitlines() if line.strip()]
        if 2 * sum(stem in known for stem in lines[:SAMPLED]) > len(lines[:SAMPLED]):
            by_folder[folder][split] = (name, lines)
    usable = {folder: lists for folder, lists in by_folder.items() if lists}
    if not usable:
        return SplitLists()

    def rank(folder: str) -> tuple[bool, int, str]:
        return "segmentation" in folder.lower(), sum(len(lines) for _, lines in usable[folder].values()), folder

    return _joined(usable[max(usable, key=rank)], known)


def _joined(lists: dict[Split, tuple[str, list[str]]], known: frozenset[str]) -> SplitLists:
    splits: dict[str, Split] = {}
    absent: list[str] = []
    twice: list[str] = []
    ordered: list[Split] = [split for split in SPLITS if split in lists]
    for split in ordered:
        for stem in lists[split][1]:
            if stem not in known:
                absent.append(stem)
                continue
            if splits.get(stem, split) != split:
                twice.append(stem)
            splits[stem] = split
    return SplitLists(splits, {split: lists[split][0] for split in ordered}, tuple(absent), tuple(twice))


def stem_of(line: str, known: frozenset[str]) -> str:
    """The image that a line names: its whole text where that is one, else its first word."""
    for text in (line.strip(), line.split()[0]):
        file = text.replace("\\", "/").rpartition("/")[2]
        for stem in (file, file.rpartition(".")[0] if extension(file) in IMAGE_EXTENSIONS else ""):
            if stem in known:
                return stem
    return line.split()[0]
