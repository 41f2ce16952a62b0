"""From what files say of images to records with captions: what every reader of captions has in common.

A caption leaves here with single blanks, without signs that are no text, and no longer than LONGEST; each once for an
image. What had to be changed for that is said (olhar.data.caption_checks).
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from olhar.config import DataConfig
from olhar.data import caption_checks
from olhar.data.listing import count, join, kinds
from olhar.data.sample import SPLITS, Collection, Finding, Record, Split
from olhar.errors import UserError

CAPTIONED = ("align", "diffuse")  # tasks that learn from captions
LONGEST = 2000  # characters: some 400 words, beyond what any text encoder here reads
BLANKS = re.compile(r"\s+")
NO_TEXT = re.compile(r"[\x00-\x08\x0e-\x1f\x7f-\x9f\ufeff]")  # control characters that are no blanks
WIDE = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")  # scripts without blanks between words
WIDE_WORD = 2  # letters of those to a word, about


@dataclass(frozen=True, slots=True)
class Said:
    """One thing, or several, that a file says of an image: its name below the root, and its split where one is said."""

    image: str
    split: Split | None
    captions: tuple[str, ...]


@dataclass
class Changed:
    """What had to be changed: the images, in their order."""

    empty: list[str] = field(default_factory=list)
    repeated: list[str] = field(default_factory=list)
    cut: list[str] = field(default_factory=list)
    no_text: list[str] = field(default_factory=list)
    garbled: list[str] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)
    longest: int = 0


@dataclass(frozen=True)
class Gathered:
    """Records, each with one caption or more, and what is to be said of them."""

    records: tuple[Record, ...]
    findings: tuple[Finding, ...]


def gather(root: Path, rows: Iterable[Said], where: str) -> Gathered:
    """One record an image, in the order in which images are first named; without a caption they are left out.

    `where` names the files that say all this. An image that is put into two splits stays where it is measured.
    Raises UserError where not one caption is left.
    """
    captions: dict[str, dict[str, None]] = {}
    splits: dict[str, Split | None] = {}
    changed = Changed()
    for row in rows:
        own = captions.setdefault(row.image, {})
        split = splits.setdefault(row.image, row.split)
        if row.split is not None and row.split != split:
            both: tuple[Split, Split] = (row.split, split or "train")
            splits[row.image] = max(both, key=SPLITS.index)
            changed.moved.append(row.image)
        for text in row.captions:
            text = clean(text, row.image, changed)
            if text in own:
                changed.repeated.append(row.image)
            if text:
                own[text] = None
    changed.empty = [image for image, own in captions.items() if not own]
    records = tuple(
        Record(image, root / image, splits[image] or "train", captions=tuple(own))
        for image, own in captions.items()
        if own
    )
    if not records:
        raise UserError(f"{where} says nothing of any image: every caption is empty. Fill them in.")
    return Gathered(records, tuple(caption_checks.of_changes(changed, len(captions), LONGEST)))


def clean(text: str, image: str, changed: Changed) -> str:
    """A caption as it is kept; what had to be changed is noted for its image."""
    if NO_TEXT.search(text):
        changed.no_text.append(image)
        text = NO_TEXT.sub(" ", text)
    if "\ufffd" in text:  # what a program writes where it could not read a letter
        changed.garbled.append(image)
    text = BLANKS.sub(" ", unicodedata.normalize("NFC", text)).strip()
    if len(text) > LONGEST:
        changed.cut.append(image)
        changed.longest = max(changed.longest, len(text))
        text = text[:LONGEST].rpartition(" ")[0] or text[:LONGEST]  # between words
    return text


def collection_of(
    root: Path,
    rows: Sequence[Said],
    task: str | None,
    says: tuple[str, str],
    where: str,
    origin: str,
    notes: Sequence[str] = (),
    findings: Sequence[Finding] = (),
) -> Collection:
    """The collection of these rows.

    Args:
        task: what to learn; None for align.
        says: the sentence on what was found, before and after the images: "a.txt says what", "show".
        where: the files by name.
        origin: what the splits come from, where the rows have any.
    """
    if not all(row.split for row in rows) or not any(row.split == "train" for row in rows):
        rows = [Said(row.image, None, row.captions) for row in rows]
    gathered = gather(root, rows, where)
    records = gathered.records
    present = [split for split in SPLITS if split in {record.split for record in records}]
    by = f"; splits by {origin}" if len(present) > 1 else ""
    goal = "pictures from captions" if task == "diffuse" else "images and captions"
    what = f"{count(len(records), 'image')} ({kinds([r.id for r in records])})"
    return Collection(
        root=str(root),
        format="captions",
        task=task or CAPTIONED[0],
        records=records,
        explanation=f"{says[0]} {what} {says[1]} ({said_of(records)}): {goal}{by}",
        notes=tuple(notes),
        split_origin=dict.fromkeys(present, origin if by else where),
        findings=(*findings, *gathered.findings),
    )


def absences(missing: Sequence[str], read: object, where: str, root: Path, config: DataConfig) -> list[str]:
    """A note that images which are not there are left out. Raises UserError where that is not allowed."""
    if not missing:
        return []
    what = f"{where} has captions of {count(len(missing), 'image')} not found below {root} (first: {join(missing[:3])})"
    if "missing-files" not in config.allow or not read:
        raise UserError(f"{what}: put them there, or leave them out with --allow missing-files.")
    return [f"{what}: left out."]


def said_of(records: Sequence[Record]) -> str:
    """How many captions there are and how long: "5 each, 400 different, 9 words in the middle"."""
    each = sorted({len(record.captions) for record in records})
    number = "one each" if each == [1] else f"{each[0]} each" if len(each) == 1 else f"{each[0]} to {each[-1]} each"
    texts = [caption for record in records for caption in record.captions]
    different = len({text.casefold() for text in texts})
    words = round(median(map(word_count, texts)))
    alike = f", {different:,} different" if different < len(texts) else ", no two alike" if len(texts) > 1 else ""
    return f"{number}{alike}, {count(words, 'word')} in the middle"


def word_count(text: str) -> int:
    """How many words a text has; of scripts that leave no blanks between them, about."""
    wide = len(WIDE.findall(text))
    return len(WIDE.sub(" ", text).split()) + -(-wide // WIDE_WORD) if wide else len(text.split())


def listed(names: Sequence[str]) -> str:
    """Names in quotes, as an error lists what it found."""
    return join([f"'{name}'" for name in names])
