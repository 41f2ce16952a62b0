"""Two files for one example, such as an image and its mask: told by the names of their folders, and by their own.

    images/train/1.jpg  masks/train/1.png     the splits below
    train/images/1.jpg  train/masks/1.png     the splits above
    train/1.jpg         trainannot/1.png      the splits in the name
    1.jpg               1_mask.png            in one folder, told by the name of the file

Nothing is opened: ten thousand names are paired in a tenth of a second.
"""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from olhar.data.listing import SPLIT_WORDS, split_of
from olhar.data.sample import Split

# Folders and endings of files named after what the files are, not after what is in the picture.
IMAGES = frozenset(
    {"images", "image", "imgs", "img", "photos", "photo", "pictures", "jpegimages", "frames", "rgb", "data"}
    | {"input", "inputs", "leftimg8bit", "701_stillsraw_full", "im"}
)
MASKS = frozenset(
    {"masks", "mask", "labels", "label", "annotations", "annotation", "annot", "annots", "gt", "gts", "ground_truth"}
    | {"groundtruth", "ground-truth", "segmentation", "segmentations", "segmentationclass", "segmentationclassaug"}
    | {"segmentationclasspng", "seg", "segs", "trimaps", "trimap", "labeledapproved_full", "labelled", "labeled"}
)
INSTANCES = frozenset({"segmentationobject", "segmentationobjectpng"})  # which thing, not which class: not read here
ENDINGS = MASKS | {"l", "labelids", "labeltrainids", "gtfine", "annotated", "m"}
AFFIXES = IMAGES | {"lr", "hr", "lq", "hq", "noisy", "clean", "low", "high", "target", "before", "after", "x", "y"}

CUT = re.compile(r"[\W_]|(?<=\d)(?=[a-zA-Z])")  # where a name can be cut: at a separator, and between 12 and abc
SAMPLED = 200  # files whose names vote on what stands before or after the name of the other


@dataclass(frozen=True, slots=True)
class Part:
    """One file of an example, and what its folders say."""

    name: str  # below the root
    stem: str
    split: Split | None
    rest: str  # the folders that name neither a split nor what the files are
    kind: str  # the folders that name what the files are, without the split's name


@dataclass(frozen=True)
class Matched:
    """Which files belong together, and those for which there is none; `affix` stands around the second's name."""

    pairs: tuple[tuple[Part, Part], ...]
    first_left: tuple[Part, ...]
    second_left: tuple[Part, ...]
    affix: str = ""


@lru_cache(maxsize=4096)
def named(folder: str, words: frozenset[str]) -> tuple[str, Split | None] | None:
    """The word of `words` that one folder's name is, and the split written with it: "train_masks", "trainannot"."""
    lower = folder.lower()
    if lower in words:
        return lower, None
    for word, split in SPLIT_WORDS.items():
        for rest in (lower.removeprefix(word), lower.removesuffix(word)):
            if rest != lower and rest.strip("_-. ") in words:
                return rest.strip("_-. "), split
    return None


def is_structure(folder: str) -> bool:
    """Whether a folder is named after the kind of file it holds."""
    return any(named(folder, words) for words in (IMAGES, MASKS, INSTANCES))


def part(name: str, words: frozenset[str]) -> Part:
    """One file; `words` are the names of folders that say what it is."""
    folder, _, file = name.rpartition("/")
    split, rest, kind = _folders(folder, words)
    return Part(name, file.rpartition(".")[0], split, rest, kind)


@lru_cache(maxsize=4096)
def _folders(folder: str, words: frozenset[str]) -> tuple[Split | None, str, str]:
    splits: list[Split] = []
    rest, kind = [], []
    for piece in filter(None, folder.split("/")):
        if split := split_of(piece):
            splits.append(split)
        elif found := named(piece, words):
            kind.append(piece if found[1] is None else found[0])
            if found[1]:
                splits.append(found[1])
        else:
            rest.append(piece)
    return (splits[0] if splits else None), "/".join(rest), "/".join(kind)


def match(first: Sequence[Part], second: Sequence[Part]) -> Matched:
    """Join files of one name in folders that differ only by what they hold; then those whose names differ by what
    stands before or after them; where not one is found so, those of one name anywhere."""
    found = _match(first, second, lambda p: (p.split, p.rest))
    return found if found.pairs else _match(first, second, lambda p: ())


def _match(first: Sequence[Part], second: Sequence[Part], place: Callable[[Part], tuple[object, ...]]) -> Matched:
    pairs: dict[Part, Part] = {}
    left = _join(first, second, place, pairs, lambda p: p.stem, lambda p: p.stem)
    waiting = [p for p in first if p not in pairs]
    affix = ""
    if left and waiting and (cut := voted(waiting, left)):
        (before, after), (front, back) = cut
        left = _join(waiting, left, place, pairs, _without(before, after), _without(front, back))
        affix = f"{front}*{back}"
    return Matched(
        tuple((p, pairs[p]) for p in first if p in pairs), tuple(p for p in first if p not in pairs), tuple(left), affix
    )


def _join(
    first: Iterable[Part],
    second: Sequence[Part],
    place: Callable[[Part], tuple[object, ...]],
    pairs: dict[Part, Part],
    name_first: Callable[[Part], str | None],
    name_second: Callable[[Part], str | None],
) -> list[Part]:
    """Add the pairs of equal place and name, of which there must be one first; what is left of the second."""
    index: dict[tuple[object, ...], list[Part]] = defaultdict(list)
    for p in first:
        if name := name_first(p):
            index[(*place(p), name)].append(p)
    left = []
    for p in second:
        fits = index.get((*place(p), name_second(p)), [])
        if len(fits) == 1 and fits[0] not in pairs:
            pairs[fits[0]] = p
        else:
            left.append(p)
    return left


Affix = tuple[str, str]  # what stands before and after a name


def voted(first: Sequence[Part], second: Sequence[Part]) -> tuple[Affix, Affix] | None:
    """What has to be taken off the names on each side for most of them to agree; None where nothing does that."""
    cores: dict[str, list[Affix]] = defaultdict(list)
    for p in first:
        for core, affix in cuts(p.stem):
            if all(word.lower() in AFFIXES for word in words_of(affix)):
                cores[core].append(affix)
    step = max(1, len(second) // SAMPLED)
    sample = second[::step]
    votes: Counter[tuple[Affix, Affix]] = Counter()
    for p in sample:
        votes.update({(mine, affix) for core, affix in cuts(p.stem) for mine in cores.get(core, ())})
    likely = [pair for pair, n in votes.items() if 2 * n >= len(sample)]
    return min(likely, key=lambda pair: (-votes[pair], len("".join(pair[0] + pair[1])), pair)) if likely else None


def cuts(stem: str) -> list[tuple[str, Affix]]:
    """The ways to read a name as a core with something before or after it; what is taken off holds a letter."""
    found = [(stem, ("", ""))]
    for cut in CUT.finditer(stem):
        after, before = stem[cut.end() :], stem[: cut.start()]
        for core, affix in ((after, (stem[: cut.end()], "")), (before, ("", stem[cut.start() :]))):
            if core and any(c.isalpha() for c in "".join(affix)):
                found.append((core, affix))
    return found


def words_of(affix: Affix) -> list[str]:
    """The words in what is taken off a name."""
    return [word for word in re.split(r"[\W_]+", "_".join(affix)) if word]


def _without(before: str, after: str) -> Callable[[Part], str | None]:
    def core(p: Part) -> str | None:
        fits = p.stem.startswith(before) and p.stem.endswith(after) and len(p.stem) > len(before) + len(after)
        return p.stem[len(before) : len(p.stem) - len(after)] if fits else None

    return core
