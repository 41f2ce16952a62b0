"""Images and masks: for each image a picture of its size whose values are the classes of the pixels.

    images/train/1.jpg  masks/train/1.png
    train/1.png         trainannot/1.png          CamVid
    JPEGImages/1.jpg    SegmentationClass/1.png   Pascal VOC, splits in ImageSets/Segmentation/
    images/1.jpg        annotations/trimaps/1.png Oxford-IIIT Pet, splits in annotations/*.txt
    1.jpg               1_mask.png

What belongs together is told by names alone (olhar.data.pairing); what the values mean, by a look at some masks.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from olhar.config import DataConfig
from olhar.data import leftovers
from olhar.data.header import FORMATS
from olhar.data.listing import Candidate, Listing, count, extension, join, kinds
from olhar.data.pairing import ENDINGS, IMAGES, INSTANCES, MASKS, Matched, Part, cuts, match, named, part, words_of
from olhar.data.sample import SPLITS, Collection, Finding, Record, Split
from olhar.data.split_lists import SplitLists, read_lists
from olhar.errors import UserError

if TYPE_CHECKING:
    from olhar.data.mask_coding import Decision

PEEKED = 3  # masks of which most must look like masks
FLAT = 0.7  # share of pixels equal to their right neighbour: of photographs hardly half are, even of smooth ones
FEW_VALUES = 64  # in one mask; drawings of more colours than that are told by their flatness
MATCHED_SHARE = 0.5  # of the masks in a folder that must find an image: with fewer it holds something else


@dataclass(frozen=True)
class Layout:
    """Which image has which mask. `folder` holds the masks, `images` the images; "" where both lie together."""

    found: Matched
    images: str
    folder: str


def probe(listing: Listing, config: DataConfig) -> list[Candidate]:
    """The folders of masks whose names fit those of images, and which hold what can be masks."""
    layouts = lay_out(listing.images)
    if config.task != "segment" and config.format != "masks":
        layouts = [layout for layout in layouts if look_like_masks(listing, layout)]
    candidates = []
    for layout in layouts:
        first, second = layout.found.pairs[0]
        what = f"images and masks ({count(len(layout.found.pairs), 'pair')})"
        choose = "--data.format masks" if len(layouts) == 1 else f"move the other masks out of {listing.root}"
        sample = f"{second.name} says what is where in {first.name}"
        candidates.append(Candidate("masks", what, sample, choose, partial(read, listing, layout, config)))
    return candidates


def lay_out(images: Sequence[str]) -> list[Layout]:
    """Every folder of masks with the images it fits. Where no folder is named after masks, names of files may be."""
    parts = [part(name, IMAGES | MASKS) for name in images if not in_folder(name, INSTANCES)]
    masks = [p for p in parts if in_folder(p.name, MASKS)]
    if not masks:
        return beside(parts)
    rest = [p for p in parts if not in_folder(p.name, MASKS)]
    pictures = [p for p in rest if in_folder(p.name, IMAGES)] or rest
    layouts = []
    for kind in dict.fromkeys(p.kind for p in masks):
        here = [p for p in masks if p.kind == kind]
        found = match(pictures, here)
        if len(found.pairs) >= MATCHED_SHARE * len(here) and found.pairs:
            layouts.append(Layout(found, folder_of([p for p, _ in found.pairs]), folder_of(here)))
    return layouts


def beside(parts: Sequence[Part]) -> list[Layout]:
    """Masks in the folders of their images: told by a word before or after the image's name, or of the same name and
    not JPEG where the image is."""
    stems = {(p.split, p.rest, p.kind, p.stem) for p in parts}
    jpegs = {(p.split, p.rest, p.kind, p.stem) for p in parts if is_jpeg(p)}

    def is_mask(p: Part) -> bool:
        if not is_jpeg(p) and (p.split, p.rest, p.kind, p.stem) in jpegs:
            return True
        return any(
            {*map(str.lower, words_of(affix))} & ENDINGS and (p.split, p.rest, p.kind, core) in stems
            for core, affix in cuts(p.stem)
            if core != p.stem
        )

    told = {p: is_mask(p) for p in parts}
    found = match([p for p in parts if not told[p]], [p for p in parts if told[p]])
    return [Layout(found, "", "")] if found.pairs else []


def is_jpeg(p: Part) -> bool:
    """Whether a file's name says that it is compressed with a loss."""
    return extension(p.name) in FORMATS["JPEG"].extensions


def in_folder(name: str, words: frozenset[str]) -> bool:
    """Whether one of the folders of a file is named so."""
    return any(named(folder, words) for folder in name.split("/")[:-1])


def folder_of(parts: Sequence[Part]) -> str:
    """The folder that holds the files, down to the one that says what they are, as a person would write it."""
    folders = [p.name.split("/")[:-1] for p in parts]
    shared: list[str] = []
    for pieces in zip(*folders, strict=False):
        if len(set(pieces)) > 1:
            break
        shared.append(pieces[0])
    if shared and any(named(piece, IMAGES | MASKS) for piece in shared):
        return "/".join(shared) + "/"
    tops = {next((f for f in pieces if named(f, IMAGES | MASKS)), "".join(pieces[:1]) or ".") for pieces in folders}
    return join([f"{top}/" for top in sorted(tops)[:4]])


def look_like_masks(listing: Listing, found: Layout) -> bool:
    """Whether most of a few masks have few values or flat regions, and are no photographs."""
    from olhar.data.masks import flatness_and_values, spread

    names = [second.name for _, second in found.found.pairs]
    looks = []
    for name in spread(names, PEEKED):
        try:
            flat, values = flatness_and_values(listing.root / name)
        except UserError:
            continue
        looks.append(flat >= FLAT or values <= FEW_VALUES)
    return not looks or 2 * sum(looks) > len(looks)


def read(listing: Listing, layout: Layout, config: DataConfig) -> Collection:
    """The pairs as records. Raises UserError where what the values mean cannot be told."""
    from olhar.data import mask_coding
    from olhar.data.class_list import class_lists
    from olhar.data.masks import MaskFile

    pairs = layout.found.pairs
    masks = [second for _, second in pairs]
    stems = [first.stem for first, _ in pairs]
    lists = class_lists(listing, {p.name.rpartition("/")[0] for p in masks})
    seen = mask_coding.sample([listing.root / p.name for p in masks], bool(lists))
    decision = mask_coding.decide(seen, lists, stems, layout.folder, config.ignore)
    splits, split_lists = place_splits(listing, layout)
    records = [
        Record(first.name, listing.root / first.name, split, mask=MaskFile(listing.root / second.name, decision.coding))
        for (first, second), split in zip(pairs, splits, strict=True)
        if split is not None
    ]
    origin = origins(layout, split_lists, {r.split for r in records})
    notes, findings = left_over(layout, splits, split_lists)
    if decision.named.startswith("as in"):
        known = decision.named.removeprefix("as in ")
        notes.append(f"The images are named as those of {known}; a classes.txt would name the classes otherwise.")
    if decision.binary:
        findings.append(leftovers.black_and_white(decision.class_names))
    return Collection(
        root=str(listing.root),
        format="masks",
        task="segment",
        records=records,
        explanation=explain(layout, decision, origin),
        class_names=decision.class_names,
        palette=decision.palette,
        notes=tuple(notes),
        split_origin=origin,
        findings=tuple(findings),
    )


def place_splits(listing: Listing, layout: Layout) -> tuple[list[Split | None], SplitLists]:
    """The split of every pair: from its folders, where those of all say one; else from lists of names; else train.

    None for a pair that the lists do not name.
    """
    pairs = layout.found.pairs
    splits: list[Split | None] = [first.split or second.split for first, second in pairs]
    if None not in splits:
        return splits, SplitLists()
    lists = read_lists(listing, [first.name for first, _ in (*pairs, *((p, p) for p in layout.found.first_left))])
    named_here: list[Split | None] = [lists.splits.get(first.name) for first, _ in pairs]
    if any(named_here):
        return named_here, lists
    whole: list[Split | None] = [split or "train" for split in splits]
    return whole, SplitLists()


def origins(layout: Layout, lists: SplitLists, present: set[Split]) -> dict[str, str]:
    """Where each split comes from."""
    if lists.files:
        return {split: lists.files[split] for split in SPLITS if split in present}
    by_folder = any(p.split or q.split for p, q in layout.found.pairs)
    return {split: "their folders" if by_folder else "the folder of images" for split in SPLITS if split in present}


def left_over(layout: Layout, splits: Sequence[Split | None], lists: SplitLists) -> tuple[list[str], list[Finding]]:
    """What is to be said of images without a mask, masks without an image, and names that fit neither.

    A split without any mask, such as a test that others score, and images that no list names are left out with a note.
    """
    pairs, alone = layout.found.pairs, list(layout.found.first_left)
    notes: list[str] = []
    if lists.files:
        unnamed = [p for (p, _), split in zip(pairs, splits, strict=True) if split is None]
        unnamed += [p for p in alone if p.name not in lists.splits]
        alone = [p for p in alone if p.name in lists.splits]
        if unnamed:
            notes.append(f"{count(len(unnamed), 'image')} in no list of a split left out (first: {unnamed[0].name}).")
    masked = {lists.splits.get(p.name, p.split or q.split) for p, q in pairs}
    for split, n in Counter(lists.splits.get(p.name, p.split) for p in alone).items():
        if split is not None and split not in masked:
            notes.append(f"{split} has no masks: its {count(n, 'image')} are left out.")
            alone = [p for p in alone if lists.splits.get(p.name, p.split) != split]
    bare, orphaned = [p.name for p in alone], [q.name for q in layout.found.second_left]
    findings = [
        *leftovers.without_partner(bare, len(pairs), "image-without-mask", "image", "mask", "masks"),
        *leftovers.without_partner(orphaned, len(pairs), "mask-without-image", "mask", "image", "images"),
        *leftovers.of_lists(lists.absent, lists.twice, join(list(lists.files.values()))),
    ]
    return notes, findings


def explain(layout: Layout, decision: "Decision", origin: dict[str, str]) -> str:
    """The one sentence: what lies where, what the values of the masks are, and why we think so."""
    pairs = layout.found.pairs
    first, second = kinds([p.name for p, _ in pairs]), kinds([q.name for _, q in pairs])
    affix = layout.found.affix.replace("*", "NAME")
    called = f" called {affix}" if affix not in ("", "NAME") else ""
    images, masks = (f" in {layout.images}", f" in {layout.folder}") if layout.folder else ("", " beside them")
    where = f"{count(len(pairs), 'image')} ({first}){images} with masks ({second}{called}){masks}"
    splits = "".join(f"; splits by {words}" for words in [split_words(origin)] if words)
    return f"{where} {decision.sentence()}{splits}"


def split_words(origin: dict[str, str]) -> str:
    """Where the splits come from, each place once; files of one folder by their names in it."""
    places = list(dict.fromkeys(origin.values()))
    folders = {place.rpartition("/")[0] for place in places}
    if len(places) > 1 and len(folders) == 1 and (folder := folders.pop()):
        return f"{join([place.rpartition('/')[2] for place in places])} in {folder}/"
    return join(places) if len(origin) > 1 else ""
