"""Decoded, resized images, kept so that every epoch but the first reads no file.

Shapes: N images, P planes (channels, and what is kept with them), H W space.

Each image has a slot as large as the largest may be. In memory the slots are one array. Beyond the memory's
share they are one sparse file outside the data folder, read through a memory map; a slot takes disk space only
once it is filled. Processes that share the file need no lock: they write the same bytes to the same place, and a
slot counts only when its checksum fits, so a process that dies halfway, or a power cut, leaves an empty slot and
never a wrong image.
"""

import hashlib
import shutil
import time
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import ClassVar, Protocol, runtime_checkable

import numpy as np
import psutil
import torch
from jaxtyping import UInt8
from torch import Tensor

from olhar.data.places import cache_folder
from olhar.data.sample import Record, identity

FORMAT = 2  # of the file; a new number makes new files
STALE_DAYS = 14  # a file that no run has opened for so long is removed when the next one is made
DISK_SHARE = 0.5  # of the free disk that a file may take
PAGE = 4096  # bytes; the pixels of a file begin on a page of their own
ENTRY = np.dtype([("height", "<u4"), ("width", "<u4"), ("checksum", "<u4")])  # height 0: empty


@runtime_checkable
class Kept(Protocol):
    """What a cache has to know of the reader whose planes it keeps; its repr tells it from other readers."""

    what: ClassVar[str]  # they are, for a sentence

    @property
    def shape(self) -> tuple[int, int, int]:
        """[H, W, P] of the largest."""
        ...

    @property
    def uniform(self) -> bool:
        """All are of this shape."""
        ...


class NoCache:
    """Keeps nothing, and says why."""

    def __init__(self, reason: str = "nothing was asked to keep them", what: str = "Decoded images"):
        self.reason, self.what = reason, what

    def get(self, index: int) -> UInt8[Tensor, "P H W"] | None:
        """The image, or None where it is not kept. Not to be written to."""
        return None

    def put(self, index: int, image: UInt8[Tensor, "P H W"]) -> None:
        """Keep an image."""

    def holds(self, indices: np.ndarray) -> np.ndarray:
        """Which of these images `gather` can give, bool [n]: those that are kept and of the one size."""
        return np.zeros(len(indices), bool)

    def gather(self, indices: np.ndarray) -> UInt8[Tensor, "N P H W"]:
        """Many images as one tensor, channels_last."""
        raise AssertionError("nothing is held")

    def describe(self) -> str:
        """Where the images are kept, in one sentence."""
        return f"{self.what} are not kept: {self.reason}."


class MemoryCache(NoCache):
    """Images by their place 0..count-1 in the records; filled as they are first read; threads may share it."""

    def __init__(self, count: int, read: Kept):
        self.read = read
        self.slots = np.zeros((count, slot_bytes(read)), np.uint8)  # memory is taken as slots are filled
        self.pixels = torch.from_numpy(self.slots)
        self.sizes = np.zeros((count, 2), np.int64)  # height, width; 0: empty
        self.ready = np.zeros(count, bool)

    def get(self, index: int) -> UInt8[Tensor, "P H W"] | None:
        if not self.ready[index]:
            return None
        (height, width), planes = self.sizes[index].tolist(), self.read.shape[2]
        # one call instead of four: this is asked for every image of every epoch
        return self.pixels.as_strided(
            (planes, height, width), (1, width * planes, planes), index * self.pixels.shape[1]
        )

    def put(self, index: int, image: UInt8[Tensor, "P H W"]) -> None:
        pixels = interleaved(image)
        self.slots[index, : pixels.size] = pixels.reshape(-1)
        self.sizes[index] = pixels.shape[:2]
        self.ready[index] = True  # last: from now on other threads read it

    def holds(self, indices: np.ndarray) -> np.ndarray:
        return self.ready[indices] & self.read.uniform

    def gather(self, indices: np.ndarray) -> UInt8[Tensor, "N P H W"]:
        # index_select and take copy whole rows; fancy indexing is 30 times slower
        return as_tensor(self.slots.take(indices, axis=0).reshape(len(indices), *self.read.shape))

    def describe(self) -> str:
        return f"{self.read.what} ({self.extent()}) are kept in memory."

    def extent(self) -> str:
        """The bytes of all images, exact for squares."""
        return ("" if self.read.uniform else "at most ") + megabytes(self.slots.size)


class FileCache(MemoryCache):
    """The same in a memory-mapped file. `full` says why nothing more could be written, where that happened.

    Raises OSError when the file cannot be made.
    """

    def __init__(self, count: int, read: Kept, file: Path):
        self.read, self.file, self.full = read, file, ""
        self.ready = np.zeros(count, bool)  # filled, and the checksum compared, by this process
        self.start = -(-count * ENTRY.itemsize // PAGE) * PAGE
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()  # also says when it was last used
        with file.open("r+b") as opened:
            opened.truncate(self.start + count * slot_bytes(read))  # which it has already, if it was there
        self.entries = np.memmap(file, ENTRY, "r+", 0, (count,))
        self.slots = np.memmap(file, np.uint8, "r+", self.start, (count, slot_bytes(read)))
        self.pixels = torch.from_numpy(self.slots)
        self.sizes = np.zeros((count, 2), np.int64)

    def get(self, index: int) -> UInt8[Tensor, "P H W"] | None:
        if not self.ready[index]:
            height, width, checksum = self.entries[index].tolist()
            size = height * width * self.read.shape[2]
            if not 0 < size <= self.slots.shape[1] or zlib.crc32(self.slots[index, :size].data) != checksum:
                return None
            self.sizes[index] = height, width
            self.ready[index] = True
        return super().get(index)

    def put(self, index: int, image: UInt8[Tensor, "P H W"]) -> None:
        """Written through the file, not the map: there a full disk is an error, in a map it kills the process."""
        if self.full:
            return
        pixels = interleaved(image)
        entry = np.array((*pixels.shape[:2], zlib.crc32(pixels.data)), ENTRY)
        try:
            with self.file.open("r+b") as file:
                file.seek(self.start + index * self.slots.shape[1])
                file.write(pixels.data)
                file.seek(index * ENTRY.itemsize)
                file.write(entry.tobytes())
        except OSError as error:
            self.full = error.strerror or str(error)
            return
        self.sizes[index] = pixels.shape[:2]
        self.ready[index] = True

    def describe(self) -> str:
        full = f", up to the moment it was full ({self.full})" if self.full else ""
        return f"{self.read.what} ({self.extent()}) are kept in {self.file}{full}."


def make_cache(records: Sequence[Record], read: Kept, share: float, processes: int = 1) -> NoCache:
    """In memory where all images fit `share` of what is free, else in a file, else nowhere.

    processes: how many on this machine keep these images; in memory each has its own.
    """
    need = len(records) * slot_bytes(read)
    if need * processes <= share * free_memory():
        return MemoryCache(len(records), read)
    if not all(isinstance(record.image, Path) for record in records):
        return NoCache(f"they would take {megabytes(need)} of memory, and drawing them again is quick", read.what)
    file = cache_folder() / f"{cache_key(records, read)}.pixels"
    try:
        remove_stale(file.parent)
        free = shutil.disk_usage(file.parent).free
        if not file.exists() and need > DISK_SHARE * free:
            return NoCache(
                f"they would take {megabytes(need)}, and {file.parent} has {megabytes(free)} free; "
                "set OLHAR_CACHE to a folder on a larger disk",
                read.what,
            )
        return FileCache(len(records), read, file)
    except OSError as error:
        why = f"{file.parent} cannot be written ({error.strerror}); set OLHAR_CACHE to another folder"
        return NoCache(why, read.what)


def cache_key(records: Sequence[Record], read: Kept) -> str:
    """24 hex digits that change with any file's name, size or time, with their order, and with the reader."""
    digest = hashlib.sha256(repr((FORMAT, read)).encode())
    for record in records:
        assert isinstance(record.image, Path)
        beside = identity(record.mask) + identity(record.clean)
        digest.update(f"{record.image.absolute()} {identity(record.image)}{beside}\n".encode())
    return digest.hexdigest()[:24]


def remove_stale(folder: Path) -> None:
    """Remove the files that no run has opened for STALE_DAYS; one that another process still maps lives on there."""
    folder.mkdir(parents=True, exist_ok=True)
    for file in folder.glob("*.pixels"):
        try:
            if time.time() - file.stat().st_mtime > STALE_DAYS * 86400:
                file.unlink()
        except OSError:
            continue  # removed by another run meanwhile, or open on a system that then refuses


def free_memory() -> int:
    """Bytes that can be taken without swapping; in a container, without being killed."""
    free = psutil.virtual_memory().available
    group = Path("/sys/fs/cgroup")
    try:
        limit = int((group / "memory.max").read_text())
        return min(free, limit - int((group / "memory.current").read_text()))
    except (OSError, ValueError):  # no container, or one without a limit ("max")
        return free


def slot_bytes(read: Kept) -> int:
    """The bytes of the largest image."""
    height, width, planes = read.shape
    return height * width * planes


def interleaved(image: UInt8[Tensor, "P H W"]) -> np.ndarray:
    """[P, H, W] -> uint8 [H, W, P], contiguous."""
    return np.ascontiguousarray(image.permute(1, 2, 0).numpy())


def as_tensor(pixels: np.ndarray) -> Tensor:
    """[..., H, W, P] -> [..., P, H, W], without a copy."""
    return torch.from_numpy(pixels).movedim(-1, -3)


def megabytes(size: int) -> str:
    """Bytes as a person says them: 61 MB, 2.4 GB."""
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{max(1, round(size / 1e6))} MB"
