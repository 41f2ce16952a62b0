"""What the values of masks mean: decided from a few dozen of them and from the file that names the classes, if any.

The decision is said in a clause, and is a table of values and classes (olhar.data.masks.Coding).
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from PIL import Image

from olhar.data.class_list import MOST_CLASSES, ClassList, Entry
from olhar.data.header import FORMATS, named_errors, open_image
from olhar.data.known_masks import known_names
from olhar.data.listing import count, join
from olhar.data.masks import COLOUR, GREY, NUMBERS, Coding, count_values, grey_or_colour, numbers, packed, spread
from olhar.data.sample import IGNORE, Colour
from olhar.errors import UserError, nearest

SAMPLED = {True: 48, False: 200}  # masks that are looked at, with and without a file that names the classes
PIXELS = 32_000_000  # and no more pixels than can be decoded in a moment
FEWEST = 8  # however large they are
FEW = 6  # values that are said one by one
STRAY = 0.01  # share of coloured pixels among numbers that is a mistake in one mask, and not how all are written
COVERED = 0.8  # share of the pixels whose colours a list must name to be the list of these masks
SMOOTH = 0.9  # of the pixels black or white: the grey ones between them are the edges of a mask that was resized
# Names of what nobody labelled. Background is no such name: it is a class like the others.
VOID = frozenset(
    {"void", "unlabelled", "unlabeled", "not labelled", "not labeled", "ignore", "ignored", "unknown", "undefined"}
    | {"unclassified", "not classified", "don't care", "dontcare", "no label", "no data", "nodata", "void border"}
)
BACKGROUND = frozenset({"background", "bg", "_background_", "__background__", "none", "other"} | VOID)
# 255 is "not known" beside small numbers of classes, and a class where the values are levels of grey far apart
MOST_BESIDE_VOID = 40


@dataclass(frozen=True)
class Seen:
    """What the sampled masks hold: of each value how many pixels, as numbers and as colours."""

    modes: Counter[str]
    numbers: Counter[int]
    colours: Counter[int]
    palette: dict[int, Colour]  # of the numbers in palette files; empty where those differ from file to file
    jpeg: bool  # all masks; otherwise none of those sampled
    example: str  # one of the files


@dataclass(frozen=True)
class Decision:
    """The classes of masks, and how their values become them."""

    coding: Coding
    class_names: tuple[str, ...]
    palette: tuple[Colour, ...]
    how: str  # a clause: what the values are
    ignored: tuple[str, ...] = ()  # what is ignored, as it is said
    named: str = ""  # what names the classes: "by classes.txt", "as in Pascal VOC"
    binary: bool = False  # 0 and 255 were read as two classes

    def sentence(self) -> str:
        """The decision in a clause."""
        by = f" named {self.named}" if self.named else ""
        out = f"; {join(self.ignored)} {'is' if len(self.ignored) == 1 else 'are'} ignored" if self.ignored else ""
        return f"{self.how}: segmentation, {count(len(self.class_names), 'class', 'classes')}{by}{out}"


def sample(paths: Sequence[Path], named: bool) -> Seen:
    """A look at masks spread over the set. Those that cannot be read are passed over: the doctor names them.

    Raises UserError where not one can be read.
    """
    seen = Seen(Counter(), Counter(), Counter(), {}, all(is_jpeg(path) for path in paths), str(paths[0]))
    exact = [path for path in paths if seen.jpeg or not is_jpeg(path)]
    palettes: list[dict[int, Colour]] = []
    pixels, problem = 0, ""
    for n, path in enumerate(spread(exact, SAMPLED[named])):
        if pixels > PIXELS and n >= FEWEST:
            break
        try:
            with named_errors(path), path.open("rb") as file:
                _, image = open_image(path, file)
                image.load()
                look_at(image, seen, palettes)
        except UserError as error:
            problem = problem or str(error)
            continue
        pixels += image.width * image.height
        seen.modes[image.mode] += 1
    if not seen.modes:
        raise UserError(f"No mask could be read: {problem}")
    used = [{v: colour for v, colour in palette.items() if v in seen.numbers} for palette in palettes]
    return replace(seen, palette=palettes[0] if palettes and agree(used) else {})


def is_jpeg(path: Path) -> bool:
    """Whether a file's name says that compression changed its pixels."""
    return path.suffix.lower() in FORMATS["JPEG"].extensions


def look_at(image: Image.Image, seen: Seen, palettes: list[dict[int, Colour]]) -> None:
    """Count the values of one mask. Only of colours are there two readings to count."""
    if image.mode == "P":
        values = count_values(numbers(image))
        flat = image.getpalette("RGB") or []
        palette = {v: (flat[3 * v], flat[3 * v + 1], flat[3 * v + 2]) for v in range(len(flat) // 3)}
        palettes.append(palette)
        seen.colours.update({pack(palette.get(v, (0, 0, 0))): n for v, n in values.items()})
    elif image.mode.startswith("RGB"):
        colours = count_values(packed(image))
        seen.colours.update(colours)
        values = count_values(numbers(image)) if seen.jpeg else {grey_or_colour(c): n for c, n in colours.items()}
    else:
        values = count_values(numbers(image))
        seen.colours.update({value * GREY: n for value, n in values.items()})
    seen.numbers.update(values)


def agree(palettes: Sequence[dict[int, Colour]]) -> bool:
    """Whether all palettes give a number the same colour; where two differ, a number means nothing by itself."""
    together: dict[int, Colour] = {}
    return all(together.setdefault(v, colour) == colour for palette in palettes for v, colour in palette.items())


def decide(seen: Seen, lists: Sequence[ClassList], stems: Sequence[str], folder: str, ignore: str | None) -> Decision:
    """The classes, their names and colours, and what is ignored. `stems` are names of some images, `folder` is where
    the masks lie: by them the sets are known whose classes are named nowhere.

    Raises UserError where the masks hold the colours of photographs, where fewer than two values or more than 255 are
    left, and where JPEG blurred what no list of classes tells.
    """
    in_colours = [found for found in lists if found.has_colours]
    coloured = next((found for found in in_colours if seen.jpeg or covers(found, seen.colours)), None)
    in_colour = (coloured is not None and is_in_colour(seen)) or differs_by_palette(seen) or has_colours(seen)
    if not in_colour:
        found = of_numbers(seen, lists, stems, folder)
    elif coloured is not None:
        found = of_entries(coloured.entries, f"by {coloured.file}", True)
    elif known := known_names(stems, folder, (), True):
        found = of_entries(known[1], f"as in {known[0]}", True)
    else:
        found = of_colours(seen)
    if len(found.class_names) > MOST_CLASSES:
        raise UserError(
            f"{seen.example} and the other masks hold {len(found.class_names):,} different values, and at most "
            f"{MOST_CLASSES} classes are read: give masks of classes, not of single things or of depth."
        )
    return without(found, ignore)


def has_colours(seen: Seen) -> bool:
    """More than a few pixels are stored as colours that are not grey."""
    return sum(n for value, n in seen.numbers.items() if value >= COLOUR) > STRAY * seen.numbers.total()


def differs_by_palette(seen: Seen) -> bool:
    """Every file has a palette of its own, as a program leaves them that makes files small."""
    return set(seen.modes) == {"P"} and not seen.palette


def is_in_colour(seen: Seen) -> bool:
    """The files hold colours, be it in a palette."""
    return any(mode in ("P", "RGB", "RGBA") for mode in seen.modes)


def covers(found: ClassList, colours: Counter[int]) -> bool:
    """Whether most pixels have a colour of the list; the doctor names those that have none."""
    known = {pack(entry.colour) for entry in found.entries if entry.colour}
    return sum(n for colour, n in colours.items() if colour in known) > COVERED * colours.total()


def pack(colour: Colour) -> int:
    """A colour as one number, the way Coding writes it."""
    return colour[0] | colour[1] << 8 | colour[2] << 16


def unpack(value: int) -> Colour:
    """The inverse of `pack`."""
    return value & 255, value >> 8 & 255, value >> 16 & 255


def of_numbers(seen: Seen, lists: Sequence[ClassList], stems: Sequence[str], folder: str) -> Decision:
    """Masks whose values are numbers."""
    values = sorted(value for value in seen.numbers if value < NUMBERS)
    entries, named = (lists[0].entries, f"by {lists[0].file}") if lists else ((), "")
    if len(entries) <= 2 and values != [0] and is_black_and_white(seen):
        return of_black_and_white(entries, named)
    if seen.jpeg:
        raise UserError(
            f"{seen.example} and the other masks are JPEG, which blurs the values of pixels, and what they were cannot "
            "be told: save them as PNG."
        )
    classes = [value for value in values if value != IGNORE] if void_beside(values) else values
    if lists:
        found = of_entries(numbered(entries, classes), named, False)
    elif known := known_names(stems, folder, values, False):
        found = of_entries(known[1], f"as in {known[0]}", False)
    else:
        names = ["background", "foreground"] if classes == [0, 1] else [f"class {value}" for value in classes]
        found = of_entries([Entry(name, value) for name, value in zip(names, classes, strict=True)], "", False)
    if not found.palette and all(value in seen.palette for value, _ in found.coding.table):
        found = replace(found, palette=tuple(seen.palette[value] for value, _ in found.coding.table))
    if any(value == IGNORE for value, _ in found.coding.table):
        return found
    return replace(found, coding=Coding((*found.coding.table, (IGNORE, IGNORE))), ignored=("255",))


def is_black_and_white(seen: Seen) -> bool:
    """The masks hold 0 and 255 and nothing else, or nothing but the greys of smooth edges between them."""
    ends = sum(n for value, n in seen.numbers.items() if value in (0, 255))
    close = sum(n for value, n in seen.numbers.items() if value <= 16 or 239 <= value <= 255)
    total, greys = seen.numbers.total(), len(seen.numbers)
    return ends == total or (ends > SMOOTH * total and greys > 16) or (seen.jpeg and close > SMOOTH * total)


def of_black_and_white(entries: Sequence[Entry], named: str) -> Decision:
    """Masks of 0 and 255: two classes, and nothing is ignored."""
    names = [entry.name for entry in entries]
    names = names if len(names) == 2 else ["background", names[0] if names else "foreground"]
    coding = Coding(((0, 0), (255, 1)))
    return Decision(coding, tuple(names), (), "whose values 0 and 255 are two classes", (), named, True)


def void_beside(values: Sequence[int]) -> bool:
    """Whether 255 among these values says "not known"."""
    others = [value for value in values if value != IGNORE]
    small = bool(others) and (others[-1] <= MOST_BESIDE_VOID or len(others) > others[-1] / 2)
    return IGNORE in values and small


def numbered(entries: Sequence[Entry], values: Sequence[int]) -> list[Entry]:
    """The entries with the value of each: as the file says; else from 0, or from 1 where the list leaves out what 0
    is, or where no mask holds a 0."""
    if all(entry.value is not None for entry in entries):
        return list(entries)
    first, most = entries[0].name.lower(), max(values, default=0)
    if most == len(entries) and 0 not in values:
        return [replace(entry, value=value) for value, entry in enumerate(entries, 1)]
    if most == len(entries) and first not in BACKGROUND:
        return [Entry("background", 0), *(replace(entry, value=value) for value, entry in enumerate(entries, 1))]
    return [replace(entry, value=value) for value, entry in enumerate(entries)]


def of_entries(entries: Sequence[Entry], named: str, colours: bool) -> Decision:
    """Classes in the order of a list, or of their numbers."""
    if not colours:
        entries = sorted(entries, key=lambda entry: entry.value or 0)
    keys = [pack(entry.colour or (0, 0, 0)) if colours else entry.value or 0 for entry in entries]
    palette = tuple(entry.colour for entry in entries if entry.colour)
    palette = palette if len(palette) == len(entries) else ()
    how = f"whose {len(keys):,} colours" if colours else f"whose values {listed(keys)}"
    table = tuple((key, k) for k, key in enumerate(keys))
    return Decision(Coding(table, colours), tuple(e.name for e in entries), palette, f"{how} are classes", (), named)


def listed(values: Sequence[int]) -> str:
    """Numbers as a person says them: 0, 7 and 26; or 0 to 11."""
    return join([str(v) for v in sorted(values)]) if len(values) <= FEW else f"{min(values)} to {max(values)}"


def of_colours(seen: Seen) -> Decision:
    """Colours that nothing names, sorted from black to white. Raises UserError where they are too many."""
    if seen.jpeg:
        raise UserError(
            f"{seen.example} and the other masks are JPEG, which blurs their colours, and no file names the true ones: "
            "save them as PNG, or add a class_dict.csv of name,r,g,b."
        )
    colours = sorted(unpack(value) for value in seen.colours)
    if len(colours) > MOST_CLASSES:
        raise UserError(
            f"{seen.example} and the other masks hold {len(colours):,} different colours, more than classes can be: "
            "give masks whose edges are not smoothed, and name the colours in a class_dict.csv of name,r,g,b."
        )
    names = ["#{:02x}{:02x}{:02x}".format(*colour) for colour in colours]
    return of_entries([Entry(n, colour=c) for n, c in zip(names, colours, strict=True)], "", True)


def without(found: Decision, ignore: str | None) -> Decision:
    """The classes less those that are ignored: by their names, and by `ignore` (names or values, by commas).

    Raises UserError for a name that is none of the classes.
    """
    said: list[str] = []
    gone = {k for k, name in enumerate(found.class_names) if is_void(name)}
    by_value = {found.coding.describe(value): k for value, k in found.coding.table if k != IGNORE}
    gone |= ignored_classes(found.class_names, ignore, by_value)
    for value, k in found.coding.table:
        if k in gone:
            said.append(f"'{found.class_names[k]}' ({found.coding.describe(value).strip('()')})")
    kept = [k for k in range(len(found.class_names)) if k not in gone]
    table = tuple((value, kept.index(k) if k in kept else IGNORE) for value, k in found.coding.table)
    return replace(
        found,
        coding=Coding(table, found.coding.colours),
        class_names=tuple(found.class_names[k] for k in kept),
        palette=tuple(found.palette[k] for k in kept) if found.palette else (),
        ignored=(*said, *found.ignored),
    )


def is_void(name: str) -> bool:
    """Whether a class is named as what nobody labelled."""
    return name.lower().replace("_", " ") in VOID


def ignored_classes(names: Sequence[str], ignore: str | None, values: dict[str, int] | None = None) -> set[int]:
    """The indices of the classes that `--ignore` names, separated by commas; `values` are other ways to name them.

    Raises UserError for an unknown name.
    """
    by_name = {name.lower(): k for k, name in enumerate(names)}
    gone = set()
    for word in filter(None, (word.strip() for word in (ignore or "").split(","))):
        k = by_name.get(word.lower(), (values or {}).get(word))
        if k is None and word == str(IGNORE):  # which is ignored already
            continue
        if k is None:
            raise UserError(f"There is no class '{word}' to ignore: {nearest(word, names)}")
        gone.add(k)
    return gone
