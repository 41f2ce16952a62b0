"""What is wrong with the data: what was repaired, what to know, and what must not be trained on."""

import contextlib
import hashlib
import json
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Literal

from olhar.data import box_checks, caption_checks, checks
from olhar.data.places import cache_folder
from olhar.data.sample import Collection, Finding
from olhar.data.survey import Look, Progress, survey
from olhar.errors import UserError

VERSION = 4  # of what is stored, and of how it was found: another one is not read
SMALLEST_SIDE = 4  # px: less is no picture, but a spacer of a web page or a mistake


@dataclass(frozen=True)
class Sizes:
    """(height, width) over the images, in pixels, upright; each side by itself."""

    median: tuple[int, int]
    smallest: tuple[int, int]
    largest: tuple[int, int]


@dataclass(frozen=True)
class Report:
    """What the doctor found. `drop` are ids of images that are to be left out: they cannot be read, or show nothing.

    `modes` counts the images of each of Pillow's modes. Of drawn images only some are looked at, and a quick look
    reads the pixels of some masks only.
    """

    findings: tuple[Finding, ...]
    drop: frozenset[str]
    sizes: Sizes
    modes: dict[str, int]
    seconds: float
    pixels: dict[str, list[int]] = field(default_factory=dict)  # of each class by split, the ignored ones last
    masks_read: dict[str, int] = field(default_factory=dict)  # how many masks of each split that is of


def examine(
    collection: Collection, level: Literal["quick", "full"] = "quick", progress: Progress | None = None
) -> Report:
    """Look at every image (`quick`: at its header and its end; `full`: at every byte and pixel) and at the labels; of
    masks a quick look reads the pixels of some.

    The report is kept in the user's cache, by the collection's fingerprint: asked again, it answers at once.
    Raises UserError where not one image can be read.
    """
    start = time.perf_counter()
    key = hashlib.sha256(f"{VERSION} {level} {collection.fingerprint()} {collection.findings}".encode()).hexdigest()[
        :24
    ]
    file = cache_folder() / "doctor" / f"{key}.json"
    if file.exists():
        return from_json(file.read_text(encoding="utf-8"), time.perf_counter() - start)
    looks = survey(collection.records, level == "full", progress)
    bad = {id: found for id, found in looks.items() if found.error}
    good = {id: found for id, found in looks.items() if not found.error}
    if not looks:
        said = " ".join(f"{finding.message} {finding.cure}" for finding in collection.findings)
        raise UserError(f"There is not one image to learn from in {collection.root}. {said}".strip())
    if not good:
        first = next(iter(bad))
        what = f"None of the {len(bad):,} images of {collection.root} can be read"
        raise UserError(f"{what}: the first, {first}, {bad[first].error}.")
    tiny = {id: found for id, found in good.items() if min(found.width, found.height) < SMALLEST_SIDE}
    partners = partners_of(collection, good, level == "full", progress)
    drop = frozenset(bad) | frozenset(tiny) | partners.unusable
    kept = [record for record in collection.records if record.id not in drop]
    findings = [*collection.findings, *checks.of_files(bad, good, tiny), *partners.findings]
    findings += [*checks.of_copies(kept, good), *checks.of_labels(collection, kept)]
    findings += checks.of_margins(collection, good)
    findings += box_checks.of_boxes(collection, kept, good)
    findings += caption_checks.of_captions(collection, kept)
    shown = {id: found for id, found in good.items() if id not in tiny} or good
    took = time.perf_counter() - start
    report = Report(tuple(findings), drop, sizes_of(shown), modes_of(shown), took, partners.pixels, partners.masks_read)
    with contextlib.suppress(OSError):  # a cache that cannot be written costs time, not the run
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")
        part.write_text(json.dumps(asdict(report), default=sorted), encoding="utf-8")
        part.replace(file)
    return report


@dataclass(frozen=True)
class Partners:
    """What masks, and targets of pairs, have to say."""

    findings: tuple[Finding, ...] = ()
    unusable: frozenset[str] = frozenset()
    pixels: dict[str, list[int]] = field(default_factory=dict)
    masks_read: dict[str, int] = field(default_factory=dict)


def partners_of(collection: Collection, images: Mapping[str, Look], full: bool, progress: Progress | None) -> Partners:
    """A look at masks and targets, where there are any."""
    if all(record.mask is None and record.clean is None for record in collection.records):
        return Partners()
    from olhar.data import mask_checks

    looks = mask_checks.survey_masks(collection.records, full, progress)
    pixels, masks_read = mask_checks.pixels_by_split(collection, looks)
    findings = tuple(mask_checks.of_masks(collection, looks, images))
    unusable = frozenset(mask_checks.unusable(collection.records, looks, images))
    return Partners(findings, unusable, pixels, masks_read)


def refuse(findings: Iterable[Finding], allow: Sequence[str] = ()) -> None:
    """Raise UserError with every finding that stops a training and is not in `allow`."""
    stops = [f for f in findings if f.level == "refused" and f.code not in allow]
    if stops:
        raise UserError("\n".join(f"{f.message} {f.cure} To train all the same: --allow {f.code}." for f in stops))


def from_json(text: str, seconds: float) -> Report:
    """A stored report, which took `seconds` to read."""
    tree = json.loads(text)
    findings = tuple(Finding(**{**found, "files": tuple(found["files"])}) for found in tree["findings"])
    sizes = Sizes(**{name: (height, width) for name, (height, width) in tree["sizes"].items()})
    drop = frozenset(tree["drop"])
    return Report(findings, drop, sizes, tree["modes"], seconds, tree["pixels"], tree["masks_read"])


def sizes_of(looks: Mapping[str, Look]) -> Sizes:
    heights, widths = [found.height for found in looks.values()], [found.width for found in looks.values()]
    return Sizes(
        (round(median(heights)), round(median(widths))), (min(heights), min(widths)), (max(heights), max(widths))
    )


def modes_of(looks: Mapping[str, Look]) -> dict[str, int]:
    return dict(Counter(found.mode for found in looks.values()).most_common())
