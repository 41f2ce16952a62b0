"""The doctor's look at masks and at the targets of pairs: whether they fit their images, and what their pixels say.

Shapes: H W space.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from olhar.data.checks import UNREADABLE_SHARE, finding, them, verb
from olhar.data.header import header
from olhar.data.listing import count, join
from olhar.data.masks import THREADS, MaskFile, class_pixels, count_values, read_values, spread
from olhar.data.sample import IGNORE, SPLITS, Collection, Finding, Record, Source
from olhar.data.survey import SOURCES_SHOWN, TOGETHER, Look, Progress, reason
from olhar.errors import UserError

READ = 256  # masks whose pixels a quick look reads, spread over the set: a second or two
HUGE = 0.95  # share of the pixels: whoever answers this class everywhere seems nearly right
ENOUGH = 100  # masks that must have been read to say that a class is nowhere, where not all were
SHOWN = 6  # values that a message names


@dataclass(frozen=True, slots=True)
class MaskLook:
    """What one look at a mask, or at the target of a pair, found. Height and width are in pixels, 0 if unknown."""

    error: str = ""  # why it cannot be read; the rest is then empty
    height: int = 0
    width: int = 0
    smeared: bool = False  # saved as JPEG
    counts: np.ndarray | None = None  # pixels of each class, int64 [256]; None where they were not read
    strange: tuple[int, ...] = ()  # values that are no class, the commonest first


Looks = Mapping[str, MaskLook]  # by the id of the record


def survey_masks(records: Sequence[Record], full: bool, progress: Progress | None = None) -> dict[str, MaskLook]:
    """A look at the mask of every record that has one, or at its target: at the header, and of some (`full`: of all)
    at the pixels."""
    masked = [record for record in records if record.mask is not None]
    drawn = [record for record in masked if not hasattr(record.mask, "path")]
    read = {r.id for r in (masked if full else spread(masked, SOURCES_SHOWN if drawn else READ))}
    wanted = [(r.id, r.mask, r.id in read) for r in masked if r.id in read or r not in drawn]
    looks: dict[str, MaskLook] = {}
    chunks = [wanted[i : i + TOGETHER] for i in range(0, len(wanted), TOGETHER)]
    with ThreadPoolExecutor(THREADS) as pool:
        for chunk in pool.map(lambda c: [(id, look_at_mask(mask, pixels)) for id, mask, pixels in c if mask], chunks):
            looks.update(chunk)
            if progress and full:
                progress(len(looks), len(wanted))
    targets = [(record.id, record.clean) for record in records if isinstance(record.clean, Path)]
    return looks | {id: look_at_target(path) for id, path in targets}


def look_at_target(path: Path) -> MaskLook:
    """The size of a picture."""
    try:
        found = header(path)
        return MaskLook(height=found.height, width=found.width)
    except UserError as error:
        return MaskLook(error=reason(str(error), path))


def look_at_mask(mask: Source, pixels: bool) -> MaskLook:
    """A look at one mask, `pixels` included or not. What is wrong with it is in `error`."""
    path = getattr(mask, "path", Path())
    try:
        if isinstance(mask, MaskFile):
            return look_at_file(mask, pixels)
        if not pixels:
            return MaskLook(height=getattr(mask, "height", 0), width=getattr(mask, "width", 0))
        classes = class_pixels(mask)
        height, width = classes.shape
        return MaskLook("", height, width, counts=np.bincount(classes.reshape(-1), minlength=256))
    except UserError as error:
        return MaskLook(error=reason(str(error), path))


def look_at_file(mask: MaskFile, pixels: bool) -> MaskLook:
    """A look at a file of a mask."""
    if not pixels:
        found = header(mask.path)
        return MaskLook(height=found.height, width=found.width, smeared=found.format == "JPEG")
    values, smeared = read_values(mask.path, mask.coding.colours)
    table = dict(mask.coding.table)
    counts, strange = np.zeros(256, np.int64), Counter[int]()
    for value, n in ({} if smeared else count_values(values)).items():
        counts[table.get(value, IGNORE)] += n
        if value not in table:
            strange[value] = n
    if smeared:
        counts = np.bincount(mask.pixels().reshape(-1), minlength=256)
    height, width = values.shape
    return MaskLook("", height, width, smeared, counts, tuple(value for value, _ in strange.most_common(SHOWN)))


def pixels_by_split(collection: Collection, looks: Looks) -> tuple[dict[str, list[int]], dict[str, int]]:
    """For each split the pixels of each class in the masks that were read, the ignored ones last; and how many masks
    that were."""
    classes = len(collection.class_names)
    pixels, masks = {}, {}
    for split in SPLITS:
        read = [looks[r.id].counts for r in collection.records if r.split == split and r.id in looks]
        read = [counts for counts in read if counts is not None]
        if read:
            total = np.sum(read, axis=0)
            pixels[split], masks[split] = [*total[:classes].tolist(), int(total[IGNORE])], len(read)
    return pixels, masks


def unusable(records: Sequence[Record], looks: Looks, images: Mapping[str, Look]) -> set[str]:
    """The ids of records whose mask or target cannot be read, or is not of the size that it must have."""
    return {id for id, found in looks.items() if found.error} | {*misfits(records, looks, images)}


def misfits(records: Sequence[Record], looks: Looks, images: Mapping[str, Look]) -> dict[str, str]:
    """By their ids, the records whose mask is not as large as the image, or whose target is not so many times as
    large as most are; with both sizes in words."""
    sizes = {
        record.id: (looks[record.id], images[record.id])
        for record in records
        if record.id in looks and record.id in images
    }
    sizes = {id: (m, i) for id, (m, i) in sizes.items() if m.height and i.height and not m.error and not i.error}
    pairs = {record.id for record in records if record.clean is not None}
    factors = Counter(factor for id, (m, i) in sizes.items() if id in pairs and (factor := times(m, i)))
    usual = factors.most_common(1)[0][0] if factors else 1
    return {
        id: f"{m.width} x {m.height} beside {i.width} x {i.height}"
        for id, (m, i) in sizes.items()
        if times(m, i) != (usual if id in pairs else 1)
    }


def times(target: MaskLook, image: Look) -> int:
    """How many times as large a target is; 0 where that is no whole number, or not the same both ways."""
    factor = target.height // image.height
    return factor if (target.height, target.width) == (factor * image.height, factor * image.width) else 0


def of_masks(collection: Collection, looks: Looks, images: Mapping[str, Look]) -> Iterator[Finding]:
    """Masks and targets that cannot be used, or that say nothing."""
    names = {record.id: name_of(record, collection.root) for record in collection.records if record.id in looks}
    noun = "mask" if collection.task == "segment" else "target"
    if bad := [id for id, found in looks.items() if found.error]:
        level = "refused" if len(bad) > UNREADABLE_SHARE * len(looks) else "repaired"
        what = f"{count(len(bad), noun)} of {len(looks):,} cannot be read and {verb(bad, 'is', 'are')} left out"
        cure = f"The first {looks[bad[0]].error}. Replace or delete {them(bad)}."
        yield finding(level, f"unreadable-{noun}", what, cure, [names[id] for id in bad])
    if wrong := misfits(collection.records, looks, images):
        yield misfit(wrong, [names[id] for id in wrong], noun)
    if noun == "mask":
        yield from of_values(collection, looks, names)


def misfit(wrong: Mapping[str, str], names: Sequence[str], noun: str) -> Finding:
    """Masks and targets of a size that does not fit their images."""
    sizes = f"the first {next(iter(wrong.values()))}"
    if noun == "mask":
        what = f"{count(len(wrong), 'mask')} not of the size of {verb(wrong, 'its image', 'their images')}, {sizes}"
        cure = "Make each mask from its own image; allowed, these images are left out."
        return finding("refused", "mask-size", what, cure, names)
    what = (
        f"{count(len(wrong), 'target')} whose size is no whole multiple of the input's, or another than most, {sizes}"
    )
    return finding("refused", "pair-size", what, "Cut or resize them; allowed, these pairs are left out.", names)


def of_values(collection: Collection, looks: Looks, names: Mapping[str, str]) -> Iterator[Finding]:
    """What the pixels of masks say, as far as they were read."""
    read = {id: found for id, found in looks.items() if found.counts is not None and not found.error}

    def of(test: Callable[[MaskLook], bool], among: Looks = read) -> list[str]:
        return [names[id] for id, found in among.items() if test(found)]

    if smeared := of(lambda found: found.smeared, looks):
        what = f"{count(len(smeared), 'mask')} saved as JPEG, which blurs the values of pixels"
        cure = "Save masks as PNG; allowed, each value is taken for the nearest that is a class."
        yield finding("refused", "mask-jpeg", what, cure, smeared)
    if strange := of(lambda found: bool(found.strange)):
        yield of_strange(collection, read, strange)
    classes = len(collection.class_names)
    if empty := of(lambda found: not present(found, classes)):
        what = f"{count(len(empty), 'mask')} of {len(read):,} read in which every pixel is ignored"
        yield finding("warning", "empty-mask", what, "Delete them: nothing is learnt from them.", empty)
    if single := of(lambda found: len(present(found, classes)) == 1):
        which = Counter(present(found, classes)[0] for found in read.values() if len(present(found, classes)) == 1)
        shown = join([f"'{collection.class_names[k]}' in {n:,}" for k, n in which.most_common(3)])
        shows = verb(single, "shows", "show")
        what = f"{count(len(single), 'mask')} of {len(read):,} read {shows} one class only ({shown})"
        cure = "That is right where there is nothing else to see; otherwise they were saved empty."
        yield finding("warning", "one-class-mask", what, cure, single)
    yield from of_shares(collection, looks)


def present(found: MaskLook, classes: int) -> list[int]:
    """The classes that a mask shows."""
    return [] if found.counts is None else np.flatnonzero(found.counts[:classes]).tolist()


def of_strange(collection: Collection, read: Looks, names: Sequence[str]) -> Finding:
    """Masks with values that are no class."""
    first = next(record.mask for record in collection.records if isinstance(record.mask, MaskFile))
    values = Counter(value for found in read.values() for value in found.strange)
    shown = ", ".join(first.coding.describe(value) for value, _ in values.most_common(SHOWN))
    more = ", ..." if len(values) > SHOWN else ""
    noun = "colours" if first.coding.colours else "values"
    holding = f"{count(len(names), 'mask')} of {len(read):,} read {verb(names, 'holds', 'hold')}"
    what = f"{holding} {noun} that are no class ({shown}{more})"
    add = "add them to the list of classes and colours" if first.coding.colours else "name every class in classes.txt"
    cure = (
        f"Where they are classes, {add}; where a program smoothed the masks, resize them with nearest neighbour; "
        "allowed, these pixels are ignored."
    )
    return finding("refused", "mask-values", what, cure, names)


def of_shares(collection: Collection, looks: Looks) -> Iterator[Finding]:
    """Classes that fill nearly everything, and classes that are nowhere."""
    pixels, masks = pixels_by_split(collection, looks)
    names = collection.class_names
    for split, counts in pixels.items():
        total, largest = sum(counts[:-1]), max(range(len(names)), key=counts.__getitem__)
        among = f"the {count(masks[split], 'mask')} read of {split}"
        if split == "train" and counts[largest] > HUGE * total > 0:
            what = f"{counts[largest] / total:.1%} of the pixels in {among} are '{names[largest]}'"
            cure = "Weigh rare classes up with --objective.class-weights balanced, and judge by the IoU of each class."
            yield finding("warning", "huge-class", what, cure)
        missing = [f"'{name}'" for name, n in zip(names, counts, strict=False) if not n]
        whole = masks[split] == len(collection.split(split))
        if missing and (whole or masks[split] >= ENOUGH):
            what = f"No pixel of {count(len(missing), 'class', 'classes')} in {among}"
            cure = "Add masks that show them, or take them off the list of classes."
            if not whole:
                cure = "Look at all masks with `olhar check --full` before you take them off the list of classes."
            elif split != "train":
                cure = "Add some, else these classes are not measured."
            yield finding("warning", "missing-class", what, cure, missing)


def name_of(record: Record, root: str) -> str:
    """The file of a record's mask or target below the data's folder; its id where there is none."""
    path = record.clean if isinstance(record.clean, Path) else getattr(record.mask, "path", None)
    if path is None or not (isinstance(record.mask, MaskFile) or record.mask is None):
        return record.id
    return path.relative_to(root).as_posix() if path.is_relative_to(root) else str(path)
