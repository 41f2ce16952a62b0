"""What is to be said of captions: what was mended as they were read, and what the doctor sees when he looks at them."""

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING

from olhar.data.checks import finding, verb
from olhar.data.listing import count, join
from olhar.data.sample import SPLITS, Collection, Finding, Level, Record

if TYPE_CHECKING:
    from olhar.data.captions import Changed

NOTHING = "Nothing needs to be done"
# Beyond this share of the images, something is wrong with a set, not with a few captions.
SHARE = 0.1
NAME = re.compile(r"\S+\.(jpe?g|png|gif|webp|tiff?|bmp)|https?://\S+|(img|dsc|image|photo|pic)[_-]?\d+", re.IGNORECASE)
SAMPLED = 2000  # captions that say which script and language they are in
FEWEST_WORDS = 0.04  # of all words that must be a language's little ones before it is named

# Little words that one of these languages has and the others mostly do not.
LITTLE_WORDS: dict[str, frozenset[str]] = {
    "English": frozenset({"the", "and", "with", "of", "on", "is", "are", "an", "at", "by"}),
    "Portuguese": frozenset({"um", "uma", "com", "em", "do", "da", "dos", "das", "no", "na", "ao", "e"}),
    "Spanish": frozenset({"el", "los", "las", "una", "con", "y", "del", "en", "está", "su"}),
    "French": frozenset({"le", "les", "des", "une", "avec", "dans", "sur", "et", "du", "est"}),
    "German": frozenset({"der", "die", "das", "ein", "eine", "mit", "auf", "und", "einem", "ist"}),
    "Italian": frozenset({"il", "di", "una", "con", "su", "che", "della", "nel", "sono", "è"}),
}


def level_of(few: int, total: int) -> Level:
    return "refused" if few > SHARE * total else "repaired"


def of_changes(changed: "Changed", images: int, longest: int) -> Iterator[Finding]:
    """What was changed while captions were read; `longest`: characters that a caption may have."""
    if empty := changed.empty:
        what = f"{count(len(empty), 'image')} of {images:,} without a caption {verb(empty, 'is', 'are')} left out"
        cure = "Write what they show, or delete those rows."
        yield finding(level_of(len(empty), images), "empty-caption", what, cure, empty)
    if repeated := list(dict.fromkeys(changed.repeated)):
        what = f"{count(len(repeated), 'image')} with the same caption twice, which is kept once"
        yield finding("repaired", "repeated-caption", what, f"{NOTHING}.", repeated)
    if cut := list(dict.fromkeys(changed.cut)):
        what = (
            f"{count(len(cut), 'image')} with a caption of more than {longest:,} characters (up to "
            f"{changed.longest:,}), cut there"
        )
        cure = "Say first what matters: a model reads some tens of words."
        yield finding("repaired", "long-caption", what, cure, cut)
    if odd := list(dict.fromkeys(changed.no_text)):
        what = f"{count(len(odd), 'image')} with control characters in the caption, left out of it"
        yield finding("repaired", "control-characters", what, f"{NOTHING}.", odd)
    if odd := list(dict.fromkeys(changed.garbled)):
        what = f"{count(len(odd), 'image')} with letters that were lost before (\ufffd) in the caption"
        yield finding("warning", "garbled-caption", what, "Write the captions again, as UTF-8.", odd)
    if moved := list(dict.fromkeys(changed.moved)):
        what = f"{count(len(moved), 'image')} in two splits, kept where {verb(moved, 'it is', 'they are')} measured"
        yield finding(
            "warning", "leakage", what, "Leave each in one split: what is measured must not be learnt.", moved
        )


def not_utf8(files: Sequence[str]) -> Finding:
    """Files whose bytes are no UTF-8 were read all the same."""
    what = f"{count(len(files), 'file')} of captions not in UTF-8, read as Windows-1252"
    cure = "Look whether letters with accents are right in the pictures; if not, save the file as UTF-8."
    return finding("warning", "encoding", what, cure, files)


def separator(files: Sequence[str]) -> Finding:
    """Files that are called .csv and have tabs between their cells."""
    what = f"{count(len(files), 'file')} called .csv with tabs between the cells, read so"
    return finding("repaired", "separator", what, f"{NOTHING}.", files)


def of_captions(collection: Collection, records: Sequence[Record]) -> Iterator[Finding]:
    """Captions that cannot tell images apart, stand in two splits, or say nothing."""
    if not any(record.captions for record in records):
        return
    by_text: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        for text in {caption.casefold() for caption in record.captions}:
            by_text[text].append(record)
    if len(by_text) == 1 and len(records) > 1:
        what = f"All {len(records):,} images have the same caption, '{short(records[0].captions[0])}'"
        yield finding("refused", "one-caption", what, "Say of each image what it shows: from this nothing is learnt.")
        return
    if collection.task == "align":  # what is drawn from one caption twice is not the same picture
        yield from of_shared(by_text)
    if named := [record.id for record in records if all(map(NAME.fullmatch, record.captions))]:
        what = f"{count(len(named), 'image')} with the name of a file or an address for a caption"
        yield finding("warning", "name-caption", what, "Say what the image shows, or choose --data.text-column.", named)


def of_shared(by_text: dict[str, list[Record]]) -> Iterator[Finding]:
    """Captions, given with the images that have them, that cannot tell images apart or stand in two splits."""
    shared = {text: own for text, own in by_text.items() if len(own) > 1}
    if shared:
        images = {record.id for own in shared.values() for record in own}
        commonest = max(shared, key=lambda text: len(shared[text]))
        what = (
            f"{count(len(shared), 'caption')} of several images, {len(images):,} in all; the commonest, "
            f"'{short(commonest)}', of {len(shared[commonest]):,}"
        )
        cure = f"{NOTHING}: images that share a caption all count as right for it. Captions that say more teach more."
        yield finding("repaired", "equal-captions", what, cure)
    leaked = {
        record.id: record.split
        for own in shared.values()
        if any(record.split == "train" for record in own)
        for record in own
        if record.split != "train"
    }
    if leaked:
        which = join([f"{n:,} of {split}" for split, n in Counter(leaked.values()).items()])
        what = f"{count(len(leaked), 'image')} ({which}) with a caption that train has too"
        cure = "Put images of one caption into one split: the measured figures are too good like this."
        yield finding("warning", "caption-leakage", what, cure, leaked)


def sentence(collection: Collection) -> str:
    """In which script and language captions are, and how long: what `olhar check` says of them."""
    from olhar.data.captions import word_count

    texts = [caption for record in collection.records for caption in record.captions]
    lengths = sorted(map(word_count, texts))
    middle, most = lengths[len(lengths) // 2], lengths[min(len(lengths) - 1, int(0.95 * len(lengths)))]
    longest = max(map(len, texts))
    lengths = f"{count(middle, 'word')} in the middle, 95% up to {most:,}, at most {lengths[-1]:,}"
    return f"{count(len(texts), 'caption')} {in_language(texts)}: {lengths}; the longest has {longest:,} characters."


def examples(collection: Collection, n: int = 3) -> list[tuple[str, str]]:
    """(id, caption) of a few images, spread over the training images, to be looked at."""
    train = collection.split("train") or list(collection.records)
    chosen = train[:: max(1, len(train) // n)][:n]
    return [(record.id, " | ".join(map(short, record.captions[:2]))) for record in chosen]


def in_language(texts: Sequence[str]) -> str:
    """Scripts, the commonest first with its language where its little words tell: "in Latin script (English)"."""
    some = texts[:: max(1, len(texts) // SAMPLED)][:SAMPLED]
    scripts = Counter(script for text in some if (script := script_of(text)))
    if not scripts:
        return "without letters"
    shares = [(name, n / scripts.total()) for name, n in scripts.most_common(3) if n >= 0.01 * scripts.total()]
    if len(shares) > 1:
        return "in " + join([f"{name} ({share:.0%})" for name, share in shares]) + " script"
    language = language_of(some) if shares[0][0] == "Latin" else ""
    return f"in {shares[0][0]} script" + (f" ({language}, by its little words)" if language else "")


def language_of(texts: Sequence[str]) -> str:
    """The language whose little words stand out; empty where none does."""
    words = Counter(word for text in texts for word in re.findall(r"\w+", text.casefold()))
    hits = {name: sum(words[word] for word in little) for name, little in LITTLE_WORDS.items()}
    (first, most), (_, second) = Counter(hits).most_common(2)
    return first if most >= FEWEST_WORDS * words.total() and most >= 1.5 * second else ""


def script_of(text: str) -> str:
    """The script of most letters of a text; empty where it has none."""
    scripts = Counter(script for letter in text if (script := script_of_letter(letter)))
    return scripts.most_common(1)[0][0] if scripts else ""


@lru_cache(maxsize=4096)
def script_of_letter(letter: str) -> str:
    """The first word of a letter's name in Unicode: Latin, Cyrillic, Cjk ..."""
    if not letter.isalpha():
        return ""
    name = unicodedata.name(letter, "").partition(" ")[0]
    return {"CJK": "Chinese or Japanese", "HANGUL": "Korean"}.get(name, name.capitalize())


def short(text: str) -> str:
    """A caption short enough to stand in a sentence."""
    return text if len(text) <= 60 else text[:57] + "..."


def by_split(collection: Collection) -> list[tuple[str, list[int]]]:
    """Rows of a table: captions and different ones in each split that has images."""
    rows: dict[str, list[int]] = {"captions": [], "different captions": []}
    for split in SPLITS:
        if records := collection.split(split):
            texts = [caption.casefold() for record in records for caption in record.captions]
            rows["captions"].append(len(texts))
            rows["different captions"].append(len(set(texts)))
    return list(rows.items())
