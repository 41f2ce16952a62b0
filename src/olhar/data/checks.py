"""The doctor's checks: each yields what it finds, with what to do.

Three levels: `repaired` (it was dealt with, and is said), `warning` (a training may go on), `refused` (it may not,
unless the user allows the finding's code).
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from olhar.data.listing import count, join
from olhar.data.sample import SPLITS, Collection, Finding, Level, Record
from olhar.data.survey import Look, near_files, same_files

UNREADABLE_SHARE = 0.1  # beyond it something is wrong with the data, not with a few files
LARGEST_PIXELS = 50_000_000  # more than today's cameras make; each is slow to decode
LONGEST_ASPECT = 10  # side to side: squeezed into a square, nothing of such an image is left
FEW_IMAGES = 20  # of a class: fewer seldom teach it, and its share of the validation images says little
IMBALANCE = 10  # most to fewest images of a class: from here on, guessing the large classes pays
GREY = frozenset({"1", "L", "LA", "I", "I;16", "F"})  # Pillow's modes without colour
LISTED = 100  # files that a finding keeps

Looks = Mapping[str, Look]


def finding(level: Level, code: str, message: str, cure: str, ids: Iterable[str] = ()) -> Finding:
    """A finding, with the first of its files named in its message."""
    ids = list(ids)
    more = f" and {len(ids) - 3:,} more" if len(ids) > 3 else ""
    named = f": {', '.join(ids[:3])}{more}" if ids else ""
    return Finding(level, code, f"{message}{named}.", cure, tuple(ids[:LISTED]))


def of_files(bad: Looks, good: Looks, tiny: Looks) -> Iterator[Finding]:
    """Files that are left out, files that are not what they seem, and images that a model sees badly."""
    total = len(bad) + len(good)
    if bad:
        level = "refused" if len(bad) > UNREADABLE_SHARE * total else "repaired"
        what = f"{count(len(bad), 'image')} of {total:,} cannot be read and {verb(bad, 'is', 'are')} left out"
        first = next(iter(bad.values())).error
        yield finding(level, "unreadable", what, f"The first {first}. Replace or delete {them(bad)}.", bad)
    if tiny:
        level = "refused" if len(tiny) > UNREADABLE_SHARE * total else "repaired"
        what = f"{count(len(tiny), 'image')} too small to show anything {verb(tiny, 'is', 'are')} left out"
        yield finding(level, "tiny-image", what, f"Replace or delete {them(tiny)}.", tiny)

    def of(test: Callable[[Look], bool]) -> list[str]:
        return [id for id, found in good.items() if test(found)]

    if wrong := of(lambda f: not f.extension_ok):
        what = f"{count(len(wrong), 'file')} whose extension is not that of the format, read by content"
        cure = f"Nothing needs to be done; the first is really {good[wrong[0]].format}."
        yield finding("repaired", "wrong-extension", what, cure, wrong)
    if turned := of(lambda f: f.turned):
        what = f"{count(len(turned), 'image')} turned upright, as {verb(turned, 'its', 'their')} EXIF data ask"
        yield finding("repaired", "exif-rotation", what, "Nothing needs to be done.", turned)
    grey = of(lambda f: f.mode in GREY)
    if 0 < len(grey) < len(good):
        what = f"{count(len(grey), 'grey image')} among {len(good) - len(grey):,} in colour, read as colour"
        cure = "Nothing needs to be done, unless one class is grey and another is not: then that is what is learnt."
        yield finding("repaired", "mixed-colour", what, cure, grey)
    if huge := of(lambda f: f.width * f.height > LARGEST_PIXELS):
        what = f"{count(len(huge), 'image')} of more than {LARGEST_PIXELS // 10**6} megapixels"
        yield finding("warning", "huge-image", what, "Make them smaller: each is slow to read.", huge)
    if long := of(lambda f: max(f.width, f.height) > LONGEST_ASPECT * min(f.width, f.height)):
        what = f"{count(len(long), 'image')} more than {LONGEST_ASPECT} times as long as wide"
        yield finding("warning", "aspect", what, "Cut them into pieces, or crop them to what matters.", long)
    if constant := of(lambda f: f.constant):
        what = f"{count(len(constant), 'image')} of a single colour"
        yield finding("warning", "constant-image", what, "Delete them unless they mean something.", constant)


def of_copies(records: Sequence[Record], looks: Looks) -> Iterator[Finding]:
    """The same picture twice: in one split, in two, and under two labels."""
    paths = {record.id: record.image for record in records if isinstance(record.image, Path)}
    by_id = {record.id: record for record in records}
    equal = same_files(paths, {id: looks[id] for id in paths})
    answers = [{(by_id[id].label, by_id[id].labels, by_id[id].target) for id in group} for group in equal]
    if conflicts := [id for group, said in zip(equal, answers, strict=True) if len(said) > 1 for id in group]:
        what = f"{count(len(conflicts), 'image')} with a copy that is labelled differently"
        yield finding("warning", "conflicting-labels", what, "Keep each once, under its true label.", conflicts)
    yield from leakage(equal, by_id, "leakage", "equal to an image of train, byte by byte")
    if extra := [id for group in equal for id in repeats(group, by_id)]:
        what = f"{count(len(extra), 'exact copy', 'exact copies')} of another image of the same split"
        yield finding("warning", "duplicates", what, "Delete them: they weigh as much as the images they copy.", extra)
    alike = [list(pair) for pair in near_files({id: looks[id] for id in paths})]
    yield from leakage(alike, by_id, "near-leakage", "nearly the same as an image of train")
    if extra := list(dict.fromkeys(id for pair in alike for id in repeats(pair, by_id))):
        what = f"{count(len(extra), 'image')} nearly the same as another of the same split"
        yield finding("warning", "near-duplicates", what, "Look at some: copies teach nothing new.", extra)


def leakage(groups: Iterable[list[str]], by_id: Mapping[str, Record], code: str, what: str) -> Iterator[Finding]:
    """Images to measure with that the model sees in training."""
    leaked = {
        id: by_id[id].split
        for group in groups
        if any(by_id[id].split == "train" for id in group)
        for id in group
        if by_id[id].split != "train"
    }
    if leaked:
        counts = Counter(leaked.values())
        which = join([f"{n:,} of {split}" for split, n in counts.items()])
        cure = "Delete them from one of the splits: the measured figures are too good with them."
        yield finding("warning", code, f"{count(len(leaked), 'image')} ({which}) {what}", cure, leaked)


def repeats(group: Sequence[str], by_id: Mapping[str, Record]) -> list[str]:
    """All of a group but the first of each split."""
    seen: set[str] = set()
    return [id for id in group if by_id[id].split in seen or seen.add(by_id[id].split)]


def of_labels(collection: Collection, records: Sequence[Record]) -> Iterator[Finding]:
    """Whether there is enough to learn from, and to measure with."""
    train = [record for record in records if record.split == "train"]
    if not train:
        return
    if collection.task == "classify":
        yield from of_classes(collection, records)
    elif collection.task == "regress":
        yield from of_targets(collection.target_name, train)
    elif len(train) < FEW_IMAGES:
        yield few_images(train)


def of_margins(collection: Collection, good: Looks) -> Iterator[Finding]:
    """Whoever learns to draw learns squares: of other images the ends are never seen, and never drawn."""
    cut = [id for id, found in good.items() if found.width != found.height]
    if collection.task == "diffuse" and cut:
        what = f"{count(len(cut), 'image')} of {len(good):,} {verb(cut, 'is', 'are')} not square, and cut to the middle"
        cure = "Cut them yourself where the ends matter."
        yield finding("repaired", "not-square", what, cure, cut)


def of_classes(collection: Collection, records: Sequence[Record]) -> Iterator[Finding]:
    """Classes that are rare, absent from a split, or outweighed by others."""
    names = collection.class_names
    counts = {split: Counter[int]() for split in SPLITS}
    for record in records:
        counts[record.split].update(record.labels if record.labels is not None else (record.label or 0,))
    train = counts["train"]
    rare = sorted((k for k in range(len(names)) if train[k] < FEW_IMAGES), key=lambda k: train[k])
    single, few = [k for k in rare if train[k] < 2], [k for k in rare if train[k] >= 2]

    def say(classes: Sequence[int]) -> list[str]:
        return [f"'{names[k]}' ({train[k]})" for k in classes]

    if single:
        # of several labels an image, one that hardly occurs does not stop the others from being learnt
        level = "warning" if collection.multilabel else "refused"
        what = f"{count(len(single), 'class', 'classes')} with fewer than 2 images to train on"
        yield finding(level, "tiny-class", what, "Add images, or delete or merge these classes.", say(single))
    if few:
        what = f"{count(len(few), 'class', 'classes')} with fewer than {FEW_IMAGES} images to train on"
        yield finding("warning", "few-images", what, "Add images: so few seldom teach a class.", say(few))
    for split in SPLITS[1:]:
        missing = [f"'{names[k]}'" for k in range(len(names)) if not counts[split][k]]
        if missing and counts[split]:
            what = f"{split} has no image of {count(len(missing), 'class', 'classes')}"
            yield finding("warning", "missing-class", what, "Add some, else these classes are not measured.", missing)
    largest, smallest = max(range(len(names)), key=lambda k: train[k]), min(range(len(names)), key=lambda k: train[k])
    if train[smallest] and train[largest] >= IMBALANCE * train[smallest]:
        ratio = train[largest] / train[smallest]
        what = (
            f"Class '{names[largest]}' has {train[largest]:,} images to train on and '{names[smallest]}' "
            f"{train[smallest]:,}, {ratio:.0f} to 1"
        )
        cure = "Weigh rare classes up with --objective.class-weights balanced."
        yield finding("warning", "imbalance", what, cure)


def of_targets(name: str, train: Sequence[Record]) -> Iterator[Finding]:
    """A number that cannot be learnt: always the same, or of too few images."""
    if len(train) < 2 or len({record.target for record in train}) == 1:
        what = f"'{name}' has one value only in the {count(len(train), 'image')} of train"
        yield finding("refused", "constant-target", what, "Add images with other values, or choose another column.")
    elif len(train) < FEW_IMAGES:
        yield few_images(train)


def few_images(train: Sequence[Record]) -> Finding:
    """Too few to learn from."""
    what = f"Fewer than {FEW_IMAGES} images to train on ({len(train)})"
    return finding("warning", "few-images", what, "Add images: so few seldom teach anything.")


def verb(things: Any, one: str, several: str) -> str:
    return one if len(things) == 1 else several


def them(things: Any) -> str:
    return verb(things, "it", "them")
