"""Held-out images: chosen by a hash of their names, so that the choice depends on nothing else.

Neither the order of the files, nor the platform, nor a generator of random numbers changes what is held out; the
training seed does not either, so that runs with several seeds are measured on the same images.
"""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import replace

from olhar.config import DataConfig
from olhar.data.sample import Collection, Record, Split

SEED = 0  # of every split made here: it is stored in the run with the split itself
QUANTILES = 10  # strata of a number: deciles, coarse enough that 100 images still fill them
# A class with fewer examples gives none away: a quarter of what there is to learn from is too much.
FEWEST_TO_SHARE = 4
LARGEST_GROUP = 0.5  # of what is to be held out: a group with more of it stays in train
STRATIFIED = ("classify", "regress")  # images with one answer each; the others are spread by chance alone


def complete(collection: Collection, config: DataConfig) -> Collection:
    """The collection with the splits it lacks held out from train, and a sentence on where each comes from.

    The test split is made only where `config.test_fraction` asks for it; then `config.val_fraction` of what is left
    of train is held out for validation. A collection without train is left alone.
    """
    records, origin, said = list(collection.records), dict(collection.split_origin), []
    present = {record.split for record in records}
    wanted: tuple[tuple[Split, str, float], ...] = (
        ("test", "test", config.test_fraction),
        ("val", "validation", config.val_fraction),
    )
    for split, word, fraction in wanted:
        if split in present or "train" not in present or fraction <= 0:
            continue
        num_train = sum(record.split == "train" for record in records)
        together = ""
        if collection.captioned:
            records, together = hold_out_captions(records, fraction, split)
        else:
            records = hold_out(records, fraction, split)
        share = f"{sum(record.split == split for record in records) / num_train:.0%} of train"
        how = "stratified" if collection.task in STRATIFIED else f"chosen by a hash of their names{together}"
        origin[split] = f"{share}, {how}, seed {SEED}"
        said.append(f"no {word} split: {share} held out, {how}, seed {SEED}, stored in the run")
    explanation = "; ".join([collection.explanation, *said])
    return replace(collection, records=records, split_origin=origin, explanation=explanation)


def hold_out(records: Sequence[Record], fraction: float, into: Split, seed: int = SEED) -> list[Record]:
    """The records in their order, with a stratified `fraction` of train moved to the split `into`.

    Strata are classes; for several labels an image, its rarest label (as iterative stratification does first:
    Sechidis et al., 2011); for a number, its decile. Each stratum gives its share up to rounding, and a stratum of
    four or more gives at least one; train always keeps one of each.
    """
    strata: dict[int, list[int]] = defaultdict(list)
    train = [i for i, record in enumerate(records) if record.split == "train"]
    for i, stratum in zip(train, _strata([records[i] for i in train]), strict=True):
        strata[stratum].append(i)
    moved: set[int] = set()
    groups = [strata[key] for key in sorted(strata)]
    for members, share in zip(groups, _shares([len(members) for members in groups], fraction), strict=True):
        members.sort(key=lambda i: _hash(seed, records[i]))
        moved.update(members[:share])
    return [replace(r, split=into) if i in moved else r for i, r in enumerate(records)]


def hold_out_captions(
    records: Sequence[Record], fraction: float, into: Split, seed: int = SEED
) -> tuple[list[Record], str]:
    """The records in their order, with a `fraction` of train moved to the split `into`, and what to say of it.

    Images that share a caption go together, so that what is measured was never read in training. Groups are taken in
    the order of a hash; large ones stay in train. Where captions repeat so much that this gives less than half of the
    images wanted, single images are taken instead.
    """
    train = [i for i, record in enumerate(records) if record.split == "train"]
    groups = _groups([records[i] for i in train])
    wanted = round(fraction * len(train))
    moved: set[int] = set()
    for group in sorted(groups, key=lambda group: _hash(seed, records[train[group[0]]])):
        if len(group) <= max(1, LARGEST_GROUP * wanted) and len(moved) + len(group) <= wanted:
            moved.update(train[k] for k in group)
    if 2 * len(moved) < wanted:
        return hold_out(records, fraction, into, seed), ", though captions of train are among them"
    alike = ", images of one caption together" if len(groups) < len(train) else ""
    return [replace(r, split=into) if i in moved else r for i, r in enumerate(records)], alike


def _groups(records: Sequence[Record]) -> list[list[int]]:
    """Places of records that belong together: they share a caption, or each does with another of the group."""
    above = list(range(len(records)))

    def top(place: int) -> int:
        while above[place] != place:
            above[place] = above[above[place]]
            place = above[place]
        return place

    first: dict[str, int] = {}
    for place, record in enumerate(records):
        for caption in record.captions:
            one, other = top(place), top(first.setdefault(caption.casefold(), place))
            above[max(one, other)] = min(one, other)
    groups: dict[int, list[int]] = defaultdict(list)
    for place in range(len(records)):
        groups[top(place)].append(place)
    return list(groups.values())


def _hash(seed: int, record: Record) -> bytes:
    return hashlib.sha256(f"{seed} {record.id}".encode()).digest()


def _strata(records: Sequence[Record]) -> list[int]:
    """What each record must be spread evenly by."""
    if any(record.labels is not None for record in records):
        frequency = Counter(label for record in records for label in record.labels or ())
        return [min(r.labels or (-1,), key=lambda label: (frequency[label], label)) for r in records]
    if any(record.target is not None for record in records):
        values = sorted((record.target or 0.0, record.id) for record in records)
        rank = {name: place for place, (_, name) in enumerate(values)}
        return [rank[record.id] * QUANTILES // len(records) for record in records]
    return [record.label or 0 for record in records]


def _shares(sizes: Sequence[int], fraction: float) -> list[int]:
    """How many each stratum gives: shares that add up, by largest remainders, to `fraction` of all."""
    exact = [fraction * size for size in sizes]
    shares = [math.floor(share) for share in exact]
    short = round(fraction * sum(sizes)) - sum(shares)
    by_remainder = sorted(range(len(sizes)), key=lambda i: (shares[i] - exact[i], i))
    for i in by_remainder[: max(short, 0)]:
        shares[i] += 1
    return [
        min(max(share, 1 if size >= FEWEST_TO_SHARE else 0), max(size - 1, 0))
        for share, size in zip(shares, sizes, strict=True)
    ]
