"""What is to be said of boxes: what was mended as they were read, and what the doctor sees when he looks at them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from olhar.data.checks import IMBALANCE, Looks, finding, them, verb
from olhar.data.listing import count, join
from olhar.data.sample import SPLITS, Collection, Finding, Record

NOTHING = "Nothing needs to be done"
FEWEST_OBJECTS = 20  # of a class: fewer seldom teach it
# Beyond this many of its boxes mended, something is wrong with a set, not with a few boxes.
MENDED_SHARE = 0.1


def _named(n: int, what: str, cure: str, code: str, images: Iterable[str]) -> Finding:
    """Something that was mended in n boxes, with the first of their images."""
    images = list(images)
    where = f" in {count(len(images), 'image')}" if len(images) > 1 else ""
    return finding("repaired", code, f"{count(n, 'box', 'boxes')} {what}{where}", cure, images)


def other_form(meant: str, expected: str, files: Iterable[str]) -> Finding:
    """Boxes are given otherwise than their format has it."""
    files = list(files)
    where = files[0] if len(files) == 1 else "the annotations"
    what = f"The boxes of {where} are {meant}, not {expected}: as these many would end before they begin or outside"
    cure = f"{NOTHING}, unless the pictures in the report show boxes in the wrong places."
    return finding("repaired", "box-form", what, cure)


def counted_from_one() -> Finding:
    """Pixels are counted from 1."""
    what = "The boxes count pixels from 1, as Pascal VOC does, and are read so: no box begins with 0"
    return finding("repaired", "counted-from-one", what, f"{NOTHING}.")


def turned(n: int, images: Sequence[str]) -> Finding:
    what = f"whose second corner lies before the first, with {'its' if n == 1 else 'their'} corners exchanged"
    return _named(n, what, f"{NOTHING}.", "box-corners", images)


def outside(n: int, images: Sequence[str]) -> Finding:
    what = f"{'reaches' if n == 1 else 'reach'} outside the image and {'is' if n == 1 else 'are'} clipped"
    cure = f"{NOTHING}, unless the boxes were drawn on images of another size."
    return _named(n, what, cure, "box-outside", images)


def without_area(n: int, images: Sequence[str]) -> Finding:
    what = f"without an area inside the image {'is' if n == 1 else 'are'} left out"
    return _named(n, what, "Draw them again or delete them.", "box-area", images)


def repeated(n: int, images: Sequence[str]) -> Finding:
    what = f"equal to another of the same class {'is' if n == 1 else 'are'} left out"
    return _named(n, what, f"{NOTHING}.", "box-duplicate", images)


def unknown_classes(numbers: Sequence[int], classes: int, files: Sequence[str]) -> Finding:
    """Numbers of classes beyond their names."""
    different = sorted(set(numbers))
    shown = join([str(number) for number in different[:6]])
    what = (
        f"{count(len(numbers), 'box', 'boxes')} of {verb(different, 'class', 'classes')} {shown}, and there are "
        f"{count(classes, 'name')} (0 to {classes - 1})"
    )
    cure = f"Add the names of the classes, or correct the numbers; otherwise those boxes are left out of {them(files)}."
    return finding("refused", "class-range", what, cure, dict.fromkeys(files))


def alike_names(alike: Sequence[Sequence[tuple[str, int]]], files: Iterable[str]) -> Finding:
    """Names of classes that are equal or differ by case only, each with its number of objects."""
    groups = [join([f"'{name}' ({n:,})" for name, n in group]) for group in alike]
    equal = all(len({name for name, _ in group}) == 1 for group in alike)
    rule = "occur twice are one class" if equal else "differ only by case are one class, the commonest spelling"
    what = f"Names of classes that {rule}: {'; '.join(groups)}"
    return finding("repaired", "class-case", what, "Write them alike if they are one, or tell them apart.", files)


def broken(errors: Mapping[str, str], total: int) -> Iterator[Finding]:
    """Files of annotations that cannot be read, by their names; with them their images are left out."""
    if errors:
        level = "refused" if len(errors) > MENDED_SHARE * total else "repaired"
        what = f"{count(len(errors), 'file')} of {total:,} with boxes cannot be read, and the image is left out"
        cure = f"The first {next(iter(errors.values()))}. Write {them(errors)} again, or delete {them(errors)}."
        yield finding(level, "broken-annotation", what, cure, errors)


def of_boxes(collection: Collection, records: Sequence[Record], looks: Looks) -> Iterator[Finding]:
    """The doctor's look at a set with boxes: images without any, classes that are rare, sizes that do not agree."""
    boxed = [record for record in records if record.boxes is not None]
    if not boxed:
        return
    yield from of_empty(boxed)
    yield from of_box_classes(collection, boxed)
    yield from of_beyond(boxed, looks)


def of_empty(records: Sequence[Record]) -> Iterator[Finding]:
    """Images without an object."""
    empty = [record.id for record in records if not record.boxes]
    if len(empty) == len(records):
        what = f"None of the {count(len(empty), 'image')} has a box"
        yield finding("refused", "no-boxes", what, "Draw boxes around the objects, or give the files that hold them.")
    elif empty:
        what = f"{count(len(empty), 'image')} without a box {verb(empty, 'is', 'are')} kept as background"
        cure = f"{NOTHING}, unless there are objects in {them(empty)}: what is not drawn is learnt as background."
        yield finding("repaired", "no-object", what, cure, empty)


def of_box_classes(collection: Collection, records: Sequence[Record]) -> Iterator[Finding]:
    """Classes with few objects to learn from, without any to measure with, or outweighed by others."""
    names = collection.class_names
    counts = {
        split: np.bincount(
            [k for r in records if r.split == split for k in r.box_labels or ()], minlength=len(names)
        ).tolist()
        for split in SPLITS
    }
    train = counts["train"]
    if not sum(train):
        return
    few = sorted((k for k in range(len(names)) if train[k] < FEWEST_OBJECTS), key=lambda k: train[k])
    if few:
        what = f"{count(len(few), 'class', 'classes')} with fewer than {FEWEST_OBJECTS} objects to train on"
        cure = "Add images, or delete or merge these classes."
        yield finding("warning", "few-objects", what, cure, [f"'{names[k]}' ({train[k]})" for k in few])
    for split in SPLITS[1:]:
        missing = [f"'{names[k]}'" for k in range(len(names)) if not counts[split][k]]
        if missing and sum(counts[split]):
            what = f"{split} has no object of {count(len(missing), 'class', 'classes')}"
            yield finding("warning", "missing-class", what, "Add some, else these classes are not measured.", missing)
    largest, smallest = int(np.argmax(train)), int(np.argmin(train))
    if train[smallest] and train[largest] >= IMBALANCE * train[smallest]:
        ratio = train[largest] / train[smallest]
        what = (
            f"Class '{names[largest]}' has {train[largest]:,} objects to train on and '{names[smallest]}' "
            f"{train[smallest]:,}, {ratio:.0f} to 1"
        )
        yield finding("warning", "imbalance", what, "Add images of the rare class, and look at its own precision.")


def of_beyond(records: Sequence[Record], looks: Looks) -> Iterator[Finding]:
    """Boxes that end beyond their image: its file has another size than its annotation says, or lies on its side."""
    wrong = []
    for record in records:
        look = looks.get(record.id)
        if look is None or look.error or not isinstance(record.image, Path) or not record.boxes:
            continue
        if max(box[2] for box in record.boxes) > look.width or max(box[3] for box in record.boxes) > look.height:
            wrong.append(record.id)
    if wrong:
        turned_too = all(looks[id].turned for id in wrong)
        what = f"{count(len(wrong), 'image')} with boxes beyond {verb(wrong, 'its', 'their')} border"
        why = "EXIF data turn them, and the boxes were drawn before that" if turned_too else "the file has another size"
        cure = f"Draw the boxes on the images as they are: {why} than the annotation says."
        if turned_too:
            cure = f"Draw the boxes on the upright images: {why}."
        yield finding("refused", "box-size", what, cure, wrong)
