"""One look at every file of a collection: what it is, whether it is whole, and what identifies it.

The quick look reads the start and the end of a file; the full look reads every byte and decodes it.
Shapes: C channels, H W space, n images.
"""

import hashlib
import io
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

import numpy as np

from olhar.data.header import named_errors, read_header
from olhar.data.sample import Record
from olhar.errors import UserError

# Decoding releases Python's lock. Reading headers does not: eight threads took three times as long as one.
THREADS = {True: 8, False: 1}  # of a full and of a quick look
TOGETHER = 64  # files that a thread looks at before it asks for more: handing out costs more than looking
START = 1 << 16  # bytes: most small images are read whole, most large ones up to their pixels
END = 1 << 12  # bytes: cameras add a little after the end of an image
END_MARKS = {"JPEG": b"\xff\xd9", "PNG": b"IEND"}
DIGEST = 16  # bytes of a hash: among a million files, two that differ agree with probability 1e-27
# Bits of 128 that may differ. Of the 34 pairs of CIFAR-10's aeroplanes and cars within 8 bits that were looked at,
# 33 show the same picture; beyond 10 bits other pictures come in.
ALIKE = 8
THUMB = 64  # px: the shorter side a full look decodes to
SOURCES_SHOWN = 64  # drawn images that are rendered to learn their size: all of a set are alike

Progress = Callable[[int, int], None]  # called with how many files are done, of how many


@dataclass(frozen=True, slots=True)
class Look:
    """What one look at an image found. Width and height are upright, in pixels."""

    error: str = ""  # why it cannot be read; the rest is then empty
    format: str = ""
    width: int = 0
    height: int = 0
    mode: str = ""  # Pillow's name of the pixel format
    extension_ok: bool = True
    turned: bool = False  # EXIF asks for a rotation or reflection
    digest: bytes = b""  # of the whole file where it is small, else of its start and end
    whole: bool = True  # the digest is of the whole file
    constant: bool = False  # full look: every pixel is the same
    gradients: tuple[int, int] | None = None  # full look: see `gradient_bits`


def survey(records: Sequence[Record], full: bool, progress: Progress | None = None) -> dict[str, Look]:
    """A look at every file, by the id of its record; of drawn images only at some."""
    looks: dict[str, Look] = {}
    files = [record for record in records if isinstance(record.image, Path)]
    drawn = [record for record in records if not isinstance(record.image, Path)]
    for record in drawn[:: max(1, len(drawn) // SOURCES_SHOWN)]:
        channels, height, width = record.image.render().shape  # type: ignore[union-attr]
        looks[record.id] = Look(width=width, height=height, mode="L" if channels == 1 else "RGB")
    chunks = [files[i : i + TOGETHER] for i in range(0, len(files), TOGETHER)]
    with ThreadPoolExecutor(THREADS[full]) as pool:
        for chunk, found in zip(chunks, pool.map(lambda c: [look(r.image, full) for r in c], chunks), strict=True):
            looks.update((record.id, one) for record, one in zip(chunk, found, strict=True))
            if progress:
                progress(len(looks), len(records))
    return looks


def look(path: Path, full: bool) -> Look:
    """A look at one file. What is wrong with it is in `error`."""
    try:
        with named_errors(path), path.open("rb") as file:
            found, complete = read_ends(path, file)
            if full:
                found = replace(found, digest=digest_of(file), whole=True)
        # cut off, or something was added after the image: only the decoder can tell
        return look_inside(path, found, keep=full) if full or not complete else found
    except UserError as error:
        return Look(error=reason(str(error), path))


def look_inside(path: Path, found: Look, keep: bool) -> Look:
    """Decode the file, and where `keep` add what its pixels say. Imports torch, which a quick look does without."""
    from olhar.data.decode import decode
    from olhar.data.likeness import constant, gradient_bits

    image = decode(path, side=THUMB if keep else None)
    return replace(found, constant=constant(image), gradients=gradient_bits(image)) if keep else found


def read_ends(path: Path, file: BinaryIO) -> tuple[Look, bool]:
    """What the start of a file says, and whether its end looks like the end of an image."""
    start = file.read(START)
    whole = len(start) < START
    end = start[-END:]
    if not whole:
        file.seek(-END, io.SEEK_END)
        end = file.read()
    file.seek(0)
    h = read_header(path, file)
    digest = hashlib.blake2b(start if whole else start + end, digest_size=DIGEST).digest()
    found = Look("", h.format, h.width, h.height, h.mode, h.extension_ok, h.turned, digest, whole)
    return found, END_MARKS.get(h.format, b"") in end


def digest_of(file: BinaryIO) -> bytes:
    """The hash of every byte of an open file."""
    file.seek(0)
    digest = hashlib.blake2b(digest_size=DIGEST)
    while block := file.read(1 << 20):
        digest.update(block)
    return digest.digest()


def reason(message: str, path: Path) -> str:
    """An error about a file, less its name and the cure."""
    return re.split(r"[:;] (?:replace|make|change|convert)", message.removeprefix(f"{path}").lstrip(": "))[0].rstrip(
        "."
    )


def same_files(paths: Mapping[str, Path], looks: Mapping[str, Look]) -> list[list[str]]:
    """Groups of ids whose files are equal, byte by byte. Files of which only the ends were read are read whole where
    the ends agree."""
    groups: dict[bytes, list[str]] = defaultdict(list)
    for id, found in looks.items():
        if found.digest:
            groups[found.digest].append(id)
    equal: dict[bytes, list[str]] = defaultdict(list)
    for digest, ids in groups.items():
        for id in ids if len(ids) > 1 else ():
            if not looks[id].whole:
                with paths[id].open("rb") as file:
                    digest = digest_of(file)
            equal[digest].append(id)
    return [ids for ids in equal.values() if len(ids) > 1]


def near_files(looks: Mapping[str, Look]) -> list[tuple[str, str]]:
    """Pairs of ids whose pictures look alike though their files differ."""
    ids = [id for id, found in looks.items() if found.gradients is not None]
    across, down = np.array([looks[id].gradients for id in ids], np.uint64).reshape(-1, 2).T.copy()
    pairs = []
    for i in range(len(ids) - 1):
        distance = np.bitwise_count(across[i + 1 :] ^ across[i]) + np.bitwise_count(down[i + 1 :] ^ down[i])
        pairs += [(ids[i], ids[i + 1 + j]) for j in np.flatnonzero(distance <= ALIKE).tolist()]
    return [(a, b) for a, b in pairs if looks[a].digest != looks[b].digest]
