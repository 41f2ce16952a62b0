"""From what the user typed to a Collection, with one sentence on what was found and why.

A reader is one file with `probe(listing, config) -> list[Candidate]`; all of them look at one walk over the folder.
To add a format, write its reader and name it in READERS.
"""

import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from olhar.config import DataConfig
from olhar.data import (
    caption_files,
    caption_table,
    coco_boxes,
    coco_captions,
    coco_file,
    folders,
    mask_folders,
    pairs,
    plain,
    table,
    voc,
    yolo,
)
from olhar.data.captions import CAPTIONED
from olhar.data.listing import TABLE_EXTENSIONS, Candidate, Listing, count, extension, join, kinds, scan
from olhar.data.names import EMBEDDED, TORCHVISION
from olhar.data.sample import Collection
from olhar.data.splits import complete
from olhar.errors import UserError, nearest, nearest_path

READERS: dict[str, Callable[[Listing, DataConfig], list[Candidate]]] = {
    "folders": folders.probe,
    "table": table.probe,
    "masks": mask_folders.probe,
    "coco": coco_boxes.probe_both,
    "voc": voc.probe,
    "yolo": yolo.probe,
    "captions": caption_files.probe,
    "pairs": pairs.probe,
    "plain": plain.probe,
}
TASKS = ("classify", "regress", "segment", "reconstruct", "detect", "align", "diffuse")
# What drawing is learnt from, the first that is there: captions, classes, or images alone.
DRAWN = ("diffuse", "classify", "reconstruct")
SERVES = {
    "folders": ("classify", "regress"),
    "table": ("classify", "regress", "detect", *CAPTIONED),
    "masks": ("segment",),
    "coco": ("segment", "detect"),
    "voc": ("detect",),
    "yolo": ("detect",),
    "captions": CAPTIONED,
    "pairs": ("reconstruct",),
    "plain": ("reconstruct",),
}
LAYOUTS = (
    "What is read: class folders (cat/1.jpg, or train/cat/1.jpg), a table (CSV, TSV or JSON lines) with a column of "
    "files and a column of classes or numbers, images/ and masks/, COCO's JSON, boxes as Pascal VOC's XML, YOLO's text "
    "files or a table, captions in a table, in a text file beside each image or in COCO's JSON, and pairs in input/ "
    "and target/."
)
NEED_CLASSES = {"classify": "classification", "segment": "segmentation"}
FOR_BOXES = "give Pascal VOC's XML, COCO's JSON, YOLO's text files, or a table with a row for each box."
FOR_CAPTIONS = (
    "give a table (CSV, TSV or JSON lines) with a column of files and one of captions, or a text file of its name "
    "beside each image."
)
FOR_MASKS = "give images/ and masks/ with files of the same names, or COCO's JSON with outlines."


def recognise(data: str | Path, task: str | None = None, config: DataConfig | None = None) -> Collection:
    """What `data` holds: a folder, a table, an embedded set (`digits`, `shapes:n=100`) or one of torchvision
    (`cifar10`, or `cifar10:FOLDER` for where it lies).

    A path that exists is read as a path, even where it bears the name of a set; `digits:` is always the set.
    The collection's `explanation` says in one sentence what was found, why, and where its splits come from.

    Raises UserError where nothing labelled is found, and where the data can be read in several ways: it lists them,
    with one example each and the option that chooses it.
    """
    config = config or DataConfig()
    config = replace(config, task=task or config.task)
    if config.task not in (None, *TASKS):
        raise UserError(f"There is no task '{config.task}': {nearest(str(config.task), TASKS)}")
    if config.format not in (None, *READERS):
        raise UserError(f"There is no format '{config.format}': {nearest(str(config.format), READERS)}")
    tasks = {*DRAWN} if config.task == "diffuse" else {config.task}
    if config.format and config.task and not tasks & {*SERVES[config.format]}:
        raise UserError(
            f"--data.format {config.format} is not for --task {config.task}, but for {join(SERVES[config.format])}: "
            "leave one of the two out."
        )
    collection = complete(to_draw(find(str(data), config), config), config)
    if config.ignore and collection.task != "segment":
        raise UserError(
            f"--ignore {config.ignore} names a class of masks, and there are none: {data} is read to {collection.task}."
        )
    if collection.task in NEED_CLASSES and len(collection.class_names) < 2:
        only = join([f"'{name}'" for name in collection.class_names]) or "none"
        raise UserError(f"{data} holds one class only ({only}): {NEED_CLASSES[collection.task]} needs at least two.")
    return replace(collection, explanation=collection.explanation.rstrip(".") + ".")


def find(data: str, config: DataConfig) -> Collection:
    """A path that exists, or a set by its name."""
    path = Path(data).expanduser()
    name, _, arguments = data.partition(":")
    if (path / "run.json").is_file():
        raise UserError(f"{data} is the folder of a run and no data: give its images, or `digits:`, always the set.")
    if path.is_dir():
        return read_folder(path, config)
    if path.exists():
        return read_file(path, config)
    if name == "digits":
        from olhar.data import digits

        return digits.collection(replace(config, task="classify") if config.task == "diffuse" else config)
    if name == "shapes":
        from olhar.data import shapes

        return shapes.collection(config.task, config, arguments)
    if name.lower().replace("_", "-") in TORCHVISION:
        from olhar.data import torchvision_sets

        config = replace(config, task="classify") if config.task == "diffuse" else config
        return torchvision_sets.collection(name.lower().replace("_", "-"), arguments, config)
    raise UserError(absent(data, path))


def to_draw(collection: Collection, config: DataConfig) -> Collection:
    """Where drawing is asked for, a collection of classes or of images alone is one to learn it from."""
    if config.task != "diffuse" or collection.task == "diffuse":
        return collection
    found = collection.explanation.removesuffix(".")
    found = re.sub(r"classification, ([\d,]+) classes", r"to draw images of \1 classes", found)
    found = found.replace("each to be reconstructed", "to draw such images")
    several = collection.class_names if len(collection.class_names) > 1 and not collection.multilabel else ()
    return replace(collection, task="diffuse", explanation=found, class_names=several, multilabel=False)


def read_file(path: Path, config: DataConfig) -> Collection:
    """A table, or COCO's annotations. Raises UserError for any other file."""
    if extension(path.name) in TABLE_EXTENSIONS:
        return table.read_file(path, config)
    if extension(path.name) == ".json" and (config.task in CAPTIONED or coco_captions.holds_captions(path)):
        return coco_captions.read_file(path, config)
    if extension(path.name) == ".json":
        return coco_boxes.read_file(path, config)
    if extension(path.name) in caption_files.LISTS_OF:
        return caption_files.read_file(path, config)
    archive = extension(path.name) in (".zip", ".tar", ".gz", ".tgz")
    cure = "Unpack it and give the folder." if archive else LAYOUTS
    raise UserError(f"{path} is neither a folder nor a table. {cure}")


def read_folder(path: Path, config: DataConfig) -> Collection:
    """The one way to read a folder. Raises UserError where there is none, or more than one."""
    listing = scan(path)
    candidates = []
    for task in DRAWN if config.task == "diffuse" else (config.task,):
        asked = replace(config, task=task)
        readers = [n for n in READERS if config.format in (None, n) and task in (None, *SERVES[n])]
        candidates = candidates or [candidate for name in readers for candidate in READERS[name](listing, asked)]
    if not candidates:
        if config.task not in ("segment", "reconstruct", "detect", *CAPTIONED):
            table.must_be_readable(listing)
        if config.task in (None, "segment", "detect"):
            coco_file.must_be_readable(listing)
        raise UserError(no_labels(listing, config.task))
    if len(candidates) > 1:
        ways = "".join(f"\n  {c.what}: {c.sample}\n    to choose it: {c.choose}" for c in candidates)
        raise UserError(f"{path} can be read in {len(candidates)} ways; choose one:{ways}")
    collection = candidates[0].read()
    if path.name in (*EMBEDDED, *TORCHVISION):
        note = f"'{path}' is read as the folder that it is; the set of that name is '{path.name}:'."
        collection = replace(collection, notes=(*collection.notes, note))
    return collection


def no_labels(listing: Listing, task: str | None) -> str:
    """Why nothing to learn was found in a folder, and what would be read."""
    others = ", ".join(f"{n:,} {ext or 'without extension'}" for ext, n in listing.others.most_common(4))
    others = f" ({others})" if others else ""
    if not listing.images and not listing.tables and not listing.others:
        return f"{listing.root} is empty. {LAYOUTS}"
    if not listing.images:
        return f"{listing.root} holds no images{others}. {LAYOUTS}"
    if task in CAPTIONED:
        seen = caption_table.columns_found(listing)
        found = f"for none of its {count(len(listing.images), 'image')}" + (f" ({seen})" if seen else "")
        column = "name the column with --data.text-column, or " if seen else ""
        return f"No captions were found in {listing.root}, {found}: {column}{FOR_CAPTIONS}"
    if task in ("segment", "detect"):
        what, cure = ("masks", FOR_MASKS) if task == "segment" else ("boxes", FOR_BOXES)
        none = f"for none of its {count(len(listing.images), 'image')}"
        return f"No {what} were found in {listing.root}, {none}: {cure}"
    layout = folders.lay_out(listing.images)
    if layout is not None:
        only = f"{listing.root} holds one class only ('{layout.class_names[0]}')"
        return f"{only}: classification needs a folder for each of two or more. {plain.CAN_DO}"
    tops = sorted({name.split("/")[0] + "/" for name in listing.images if "/" in name})
    where = f" under {join(tops[:4])}" if tops else ""
    besides = f", besides other files{others}" if others else ""
    found = f"{count(len(listing.images), 'image')} ({kinds(listing.images)}){where}{besides}"
    return f"No labels were found in {listing.root}: it holds {found}. {LAYOUTS} {plain.CAN_DO}"


def absent(data: str, path: Path) -> str:
    """What to type instead of what is no path and no set."""
    if len(path.parts) > 1 or path.suffix:
        return f"There is no '{data}': {nearest_path(path)}"
    here = [entry.name for entry in Path().iterdir() if not entry.name.startswith(".")]
    return f"'{data}' is neither a path nor the name of a set: {nearest(data, (*EMBEDDED, *TORCHVISION, *here))}"
