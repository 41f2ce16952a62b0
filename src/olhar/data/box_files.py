"""Boxes in a file of their own for each image: which file belongs to which image, and which split they are in.

JPEGImages/1.jpg    Annotations/1.xml, splits in ImageSets/Main/ (Pascal VOC)
images/train/1.jpg  labels/train/1.txt    train/images/1.jpg  train/labels/1.txt (YOLO)
train/1.jpg         train/1.xml           beside each other
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

from olhar.data import box_checks, leftovers
from olhar.data.boxes import Annotated
from olhar.data.listing import Listing, count, join
from olhar.data.mask_folders import in_folder, split_words
from olhar.data.pairing import IMAGES, INSTANCES, MASKS, Part, match, part
from olhar.data.sample import SPLITS, Finding, Split
from olhar.data.split_lists import SplitLists, read_lists
from olhar.errors import UserError

WORDS = MASKS | {"xml", "xmls", "bboxes", "boxes", "bbox", "txt", "yolo", "voc"}  # names of folders of boxes
# A set in which fewer of the files than this find an image is something else.
MATCHED_SHARE = 0.5


class HostileFileError(UserError):
    """A file that no honest program writes: it stops everything, where a broken one is only left out."""


@dataclass(frozen=True)
class Paired:
    """Images with their files, images without one, and files without an image, all below the root."""

    pairs: tuple[tuple[Part, Part], ...]
    alone: tuple[Part, ...]
    orphans: tuple[Part, ...]


def pair(listing: Listing, files: Sequence[str]) -> Paired | None:
    """Join images and files of boxes by their names; None where most of the files fit no image."""
    parts = [part(name, IMAGES | WORDS) for name in listing.images]
    rest = [p for p in parts if not in_folder(p.name, MASKS | INSTANCES)] or parts
    pictures = [p for p in rest if in_folder(p.name, IMAGES)] or rest
    found = match(pictures, [part(name, IMAGES | WORDS) for name in files])
    if not found.pairs or len(found.pairs) < MATCHED_SHARE * min(len(files), len(pictures)):
        return None
    return Paired(found.pairs, found.first_left, found.second_left)


def folder_of(parts: Iterable[Part]) -> str:
    """The folders that hold these files, as a person would write them."""
    folders = sorted({p.name.rpartition("/")[0] for p in parts})
    tops = sorted({folder.split("/")[0] for folder in folders})
    shown = folders if len(folders) <= 3 else tops
    return join([f"{folder}/" for folder in shown[:4]]) if shown != [""] else "the folder"


@dataclass(frozen=True)
class Placed:
    """The split of each image by its name, and what is to be said of it."""

    splits: dict[str, Split]
    origin: dict[str, str]
    notes: tuple[str, ...] = ()
    findings: tuple[Finding, ...] = ()

    @property
    def clause(self) -> str:
        """The end of the sentence on what was found."""
        words = split_words(self.origin)
        return f"; splits by {words}" if words else ""


def place(listing: Listing, images: Sequence[Part], task: str = "main") -> Placed:
    """The splits of images: from the folders where those of all say one; else from lists of names; else train.

    Images that the lists do not name have no split, which is said. Of Pascal VOC's several folders of lists, one a
    task, the one called `task` counts.
    """
    by_folder: dict[str, Split] = {p.name: p.split for p in images if p.split is not None}
    if len(by_folder) == len(images):
        return Placed(by_folder, _origin(by_folder, "their folders"))
    wanted = [name for name in listing.texts if f"/{task}/" in name.lower()]
    sets = [name for name in listing.texts if "imagesets/" in name.lower()]
    texts = wanted or [name for name in listing.texts if name not in sets] or list(listing.texts)
    lists = read_lists(replace(listing, texts=tuple(texts)), [p.name for p in images])
    if lists.splits:
        return Placed(lists.splits, *_said(images, lists))
    everything: dict[str, Split] = {p.name: p.split or "train" for p in images}
    return Placed(everything, _origin(everything, "their folders" if by_folder else "the folder of images"))


def _said(images: Sequence[Part], lists: SplitLists) -> tuple[dict[str, str], tuple[str, ...], tuple[Finding, ...]]:
    """Where the splits of lists come from, and what they leave out."""
    unnamed = [p.name for p in images if p.name not in lists.splits]
    notes = [f"{count(len(unnamed), 'image')} in no list of a split left out (first: {unnamed[0]})."] if unnamed else []
    origin = {split: lists.files[split] for split in SPLITS if split in set(lists.splits.values())}
    return origin, tuple(notes), tuple(leftovers.of_lists(lists.absent, lists.twice, join(list(lists.files.values()))))


def _origin(splits: Mapping[str, Split], words: str) -> dict[str, str]:
    present = set(splits.values())
    return {split: words for split in SPLITS if split in present}


def read_each(
    pairs: Sequence[tuple[Part, Part]], splits: dict[str, Split], read: Callable[[str, str], Annotated]
) -> tuple[list[Annotated], Iterator[Finding]]:
    """Read the file of every image that has a split; those that cannot be read are left out, and it is said.

    Raises HostileFileError where one is.
    """
    found: list[Annotated] = []
    errors: dict[str, str] = {}
    wanted = [(image.name, file.name) for image, file in pairs if image.name in splits]
    for image, file in wanted:
        try:
            found.append(replace(read(image, file), split=splits[image]))
        except HostileFileError:
            raise
        except UserError as error:
            errors[file] = str(error)
    return found, box_checks.broken(errors, len(wanted))
