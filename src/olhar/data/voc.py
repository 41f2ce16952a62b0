"""Pascal VOC (Everingham et al. 2010): an XML file for each image, with a <bndbox> for each object.

Whoever writes an XML file may ask a careless reader for other files, or for all of its memory; here nothing is read
that declares a document type, an entity or more than LARGEST bytes.
"""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError

from defusedxml.common import DefusedXmlException
from defusedxml.ElementTree import fromstring

from olhar.config import DataConfig
from olhar.data import leftovers
from olhar.data.box_files import HostileFileError, Paired, folder_of, pair, place, read_each
from olhar.data.boxes import Annotated, Found, understand
from olhar.data.listing import Candidate, Listing, count, extension, kinds
from olhar.data.sample import Collection, Finding
from olhar.errors import UserError

LARGEST = 1 << 22  # bytes: ten thousand objects need half of that
SAMPLED = 20  # files that are looked into to tell what they all are
PEEKED = 4096  # bytes that tell what an XML file is
CORNERS = ("xmin", "ymin", "xmax", "ymax")
WITH_SIZE = ("x", "y", "width", "height")


def probe(listing: Listing, config: DataConfig) -> list[Candidate]:
    """The XML files of a folder that fit its images and begin as Pascal VOC's do."""
    files = [name for name in listing.texts if extension(name) == ".xml"]
    some = files[:: max(1, len(files) // SAMPLED)]  # the first may be the one that is broken
    if not listing.images or not any(looks_like_voc(listing.root / name) for name in some):
        return []
    paired = pair(listing, files)
    if paired is None:
        return []
    image, file = paired.pairs[0]
    what = f"Pascal VOC's annotations ({len(paired.pairs):,} XML files)"
    sample = f"{file.name} has the boxes of {image.name}"
    return [Candidate("voc", what, sample, "--data.format voc", partial(read, listing, paired, config))]


def looks_like_voc(path: Path) -> bool:
    with path.open("rb") as file:
        return b"<annotation" in file.read(PEEKED)


def read(listing: Listing, paired: Paired, config: DataConfig) -> Collection:
    """The images with their boxes. Raises UserError for a file that is hostile, not for one that is broken."""
    images = [image for image, _ in paired.pairs]
    placed = place(listing, [*images, *paired.alone])
    found, broken = read_each(paired.pairs, placed.splits, partial(read_one, listing.root))
    understood = understand(listing, found, "corners")
    total = sum(len(record.boxes or ()) for record in understood.records)
    alone = [p.name for p in paired.alone if p.name in placed.splits]
    explanation = (
        f"{count(len(found), 'image')} ({kinds([one.image for one in found])}) with {count(total, 'box', 'boxes')} in "
        f"Pascal VOC's XML in {folder_of(file for _, file in paired.pairs)}: detection, "
        f"{count(len(understood.class_names), 'class', 'classes')}{placed.clause}"
    )
    return Collection(
        root=str(listing.root),
        format="voc",
        task="detect",
        records=understood.records,
        explanation=explanation,
        class_names=understood.class_names,
        notes=placed.notes,
        split_origin=placed.origin,
        findings=(*placed.findings, *broken, *left_over(alone, paired), *understood.findings),
    )


def left_over(alone: Sequence[str], paired: Paired) -> list[Finding]:
    """Images and annotations that have no partner."""
    orphans, n = [p.name for p in paired.orphans], len(paired.pairs)
    return [
        *leftovers.without_partner(alone, n, "image-without-boxes", "image", "XML file", "XML files"),
        *leftovers.without_partner(orphans, n, "missing-image", "annotation", "image", "images"),
    ]


def read_one(root: Path, image: str, file: str) -> Annotated:
    """One file. Raises UserError where it is no whole XML or lacks what every annotation has."""
    tree = parse(root / file)
    if tree.tag != "annotation":
        raise UserError(f"{file} holds <{tree.tag}> where <annotation> belongs")
    size = tree.find("size")
    height, width = (number(size, key, file) if size is not None else 0 for key in ("height", "width"))
    objects = [object_of(element, file) for element in tree.iter("object")]
    return Annotated(image, None, file, objects, (round(height), round(width)) if height and width else None)


def parse(path: Path) -> Element:
    """The tree of an XML file. Raises UserError, and HostileFileError where it declares entities or is too large."""
    if path.stat().st_size > LARGEST:
        what = f"has {path.stat().st_size:,} bytes, and an annotation at most {LARGEST:,}"
        raise HostileFileError(f"{path} {what}: it is not read; delete it or write it again.")
    try:
        return fromstring(path.read_bytes(), forbid_dtd=True)
    except DefusedXmlException as error:
        what = "declares a document type or entities, by which a file can fill the memory or ask for other files"
        raise HostileFileError(f"{path} {what}: it is not read; delete it or write it again.") from error
    except (ParseError, ValueError, LookupError) as error:
        raise UserError(f"{path.name} is not whole XML ({error})") from error


def object_of(element: Element, file: str) -> Found:
    """One <object>: its name, its box, and whether it is called difficult."""
    name, box = element.findtext("name"), element.find("bndbox")
    if not name or box is None:
        raise UserError(f"{file} has an object without <{'bndbox' if name else 'name'}>")
    keys = CORNERS if box.find("xmin") is not None else WITH_SIZE
    x, y, third, fourth = (number(box, key, file) for key in keys)
    if keys is WITH_SIZE:
        third, fourth = x + third, y + fourth
    return Found((x, y, third, fourth), name.strip(), (element.findtext("difficult") or "0").strip() == "1")


def number(element: Element, key: str, file: str) -> float:
    """The number in one child of an element."""
    text = element.findtext(key)
    try:
        return float(text or "")
    except ValueError:
        what = f"no <{key}>" if text is None else f"'{text[:20]}' where <{key}> must be a number"
        raise UserError(f"{file} has {what}") from None
