"""Pairs of pictures: one as it is given, and what it is to become.

    input/1.png  target/1.png     also with train/, val/, test/ above or below
    lr/1x2.png   hr/1.png         and with something before or after the names

What it is to become may be larger, by a whole number.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from olhar.config import DataConfig
from olhar.data import leftovers
from olhar.data.listing import Candidate, Listing, count, join, kinds
from olhar.data.pairing import Matched, match, named, part
from olhar.data.sample import SPLITS, Collection, Record

# What is given and what it is to become. The first names are of no two classes; with the others, pictures of one name
# in both folders may be classes too, and the user says which.
PAIRS = (
    *(("input", "target"), ("inputs", "targets"), ("noisy", "clean"), ("lr", "hr"), ("x", "y")),
    *(("low", "high"), ("before", "after")),
)
CERTAIN = 5  # of the names above


@dataclass(frozen=True)
class Layout:
    """Which picture becomes which. In `found` the targets come first."""

    found: Matched
    given: str  # the names of the two folders
    target: str
    certain: bool


def probe(listing: Listing, config: DataConfig) -> list[Candidate]:
    """The two folders, where most pictures of one have a partner of the same name in the other."""
    candidates = []
    for layout in lay_out(listing.images):
        target, given = layout.found.pairs[0]
        what = f"pairs of pictures ({len(layout.found.pairs):,} in {layout.given}/ and {layout.target}/)"
        sample = f"{given.name} is to become {target.name}"
        candidates.append(Candidate("pairs", what, sample, "--task reconstruct", partial(read, listing, layout)))
    return candidates


def lay_out(images: Sequence[str]) -> list[Layout]:
    """Each pair of folder names under which most images lie, with what belongs together."""
    folders = {name.rpartition("/")[0] for name in images}
    layouts = []
    for place, (given, target) in enumerate(PAIRS):
        words = frozenset({given, target})
        here = [{folder for folder in folders if is_called(folder, word)} for word in (target, given)]
        if not all(here):
            continue
        first, second = ([part(name, words) for name in images if name.rpartition("/")[0] in those] for those in here)
        found = match(first, second)
        if 2 * (len(first) + len(second)) >= len(images) and 2 * len(found.pairs) >= len(second):
            layouts.append(Layout(found, given, target, place < CERTAIN))
    return layouts


def is_called(path: str, word: str) -> bool:
    """Whether one of the folders of a path is named so, alone or with the name of a split."""
    return any(named(folder, frozenset({word})) for folder in path.split("/"))


def read(listing: Listing, layout: Layout) -> Collection:
    """The pairs as records."""
    found, root = layout.found, listing.root
    records = [
        Record(given.name, root / given.name, given.split or target.split or "train", clean=root / target.name)
        for target, given in found.pairs
    ]
    present = [split for split in SPLITS if split in {r.split for r in records}]
    by = f"; splits by the folders {join([f'{split}/' for split in present])}" if len(present) > 1 else ""
    bare, unused = [p.name for p in found.second_left], [p.name for p in found.first_left]
    n = len(records)
    findings = [
        *leftovers.without_partner(bare, n, "input-without-target", "picture", "target", "targets"),
        *leftovers.without_partner(unused, n, "target-without-input", "target", "input", "inputs"),
    ]
    return Collection(
        root=str(listing.root),
        format="pairs",
        task="reconstruct",
        records=records,
        explanation=f"{count(len(records), 'picture')} ({kinds([r.id for r in records])}) in {layout.given}/, each to "
        f"become the one of its name in {layout.target}/: reconstruction{by}",
        split_origin=dict.fromkeys(present, "their folders" if by else f"the folder {layout.given}/"),
        findings=tuple(findings),
    )
