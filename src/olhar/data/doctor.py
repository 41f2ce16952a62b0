"""What is wrong with the data, and what the images are like."""

import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from olhar.data.decode import header
from olhar.data.sample import Collection, Finding, Record
from olhar.errors import UserError


@dataclass(frozen=True)
class Sizes:
    """Heights and widths over the images, in pixels, upright."""

    median: tuple[int, int]
    smallest: tuple[int, int]
    largest: tuple[int, int]


@dataclass(frozen=True)
class Report:
    findings: tuple[Finding, ...]
    drop: frozenset[str]
    sizes: Sizes
    modes: dict[str, int]
    seconds: float


def examine(collection: Collection, level: str = "quick") -> Report:
    start = time.perf_counter()
    heights, widths, modes, drop = [], [], Counter(), set()

    def look(record: Record):
        try:
            if isinstance(record.image, Path):
                h = header(record.image)
                return h.height, h.width, h.mode
            c, height, width = record.image.render().shape
            return height, width, "L" if c == 1 else "RGB"
        except UserError:
            return None

    with ThreadPoolExecutor() as pool:
        for record, found in zip(collection.records, pool.map(look, collection.records), strict=True):
            if found is None:
                drop.add(record.id)
                continue
            heights.append(found[0])
            widths.append(found[1])
            modes[found[2]] += 1
    sizes = Sizes(
        (round(median(heights)), round(median(widths))), (min(heights), min(widths)), (max(heights), max(widths))
    )
    return Report((), frozenset(drop), sizes, dict(modes), time.perf_counter() - start)


def refuse(findings, allow=()) -> None:
    """Raise for the findings that stop a run."""
    refused = [f for f in findings if f.level == "refused" and f.code not in allow]
    if refused:
        raise UserError("\n".join(f"{f.message} {f.cure}" for f in refused))
