"""What a reader of pairs has to say to the doctor: files that belong to nothing, and names that fit no file."""

from collections.abc import Iterator, Sequence

from olhar.data.checks import UNREADABLE_SHARE, finding, them, verb
from olhar.data.listing import count
from olhar.data.sample import Finding, Level


def level_of(few: int, paired: int) -> Level:
    """A few are left out; many mean that something is wrong with all of them."""
    return "refused" if few > UNREADABLE_SHARE * (few + paired) else "repaired"


def without_partner(
    names: Sequence[str], paired: int, code: str, this: str, other: str, others: str
) -> Iterator[Finding]:
    """Files for which the other of their pair is missing: "image" without its "mask"."""
    if names:
        alone = f"{count(len(names), this)} {verb(names, 'has', 'have')} no {other}"
        what = f"{alone} and {verb(names, 'is', 'are')} left out"
        cure = f"Give {them(names)} {verb(names, f'a {other}', others)} of the same name, or delete {them(names)}."
        yield finding(level_of(len(names), paired), code, what, cure, names)


def of_lists(absent: Sequence[str], twice: Sequence[str], files: str) -> Iterator[Finding]:
    """Names in lists of splits that fit no image, and those that stand in two."""
    if absent:
        what = f"{count(len(absent), 'image')} named in {files} {verb(absent, 'is', 'are')} not there"
        yield finding(
            "refused", "missing-files", what, "Correct the lists; otherwise those lines are left out.", absent
        )
    if twice:
        what = f"{count(len(twice), 'image')} in more than one of {files}, taken for the later one only"
        yield finding("warning", "leakage", what, "Leave each in one list: what is measured must not be learnt.", twice)


def black_and_white(names: Sequence[str]) -> Finding:
    """The masks hold 0 and 255, and 255 is not read as "not known"."""
    what = f"The masks hold 0 and 255 only, read as two classes: 0 is '{names[0]}', 255 is '{names[1]}'"
    cure = "Nothing needs to be done, unless 255 marks what nobody knows: then save the classes as 0, 1, 2."
    return finding("repaired", "black-and-white", what, cure)
