"""Records -> batches, read ahead by threads, in an order that depends on the seed and the epoch alone.

Threads and not processes: decoding and resizing release Python's lock, nothing needs to be pickled, no program
needs a `__main__` guard, and the cache of decoded images is shared by all.

Shapes: N batch, C channels, H W space, K classes.
"""

import math
import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from jaxtyping import Shaped, UInt8
from torch import Tensor

from olhar.data.cache import NoCache
from olhar.data.sample import Batch, Found, Record, Sample
from olhar.data.transforms import ORDER, Augment, Indices, Mix, uniform
from olhar.errors import UserError

AHEAD = 4  # batches prepared before they are asked for: enough to smooth out slow files


@runtime_checkable
class Read(Protocol):
    """Record -> Sample, in three parts: what the cache keeps, how it is taken apart, and what need not be kept."""

    def planes(self, record: Record) -> Tensor:
        """The image and all that is as large, uint8 [P, H, W]."""
        ...

    def split(self, planes: Tensor) -> dict[str, Tensor]:
        """Planes of one image or of many, by the keys of a sample."""
        ...

    def annotate(self, record: Record) -> Sample:
        """The sample without its planes."""
        ...


@runtime_checkable
class Finish(Protocol):
    """The last change of a batch: a `Corrupt`, or a `Wording`."""

    def __call__(self, batch: Batch, index: Indices, epoch: int) -> Batch:
        """`index` holds the places of the samples in the data."""
        ...


class Loader:
    """Batches of one split, for one process of several.

    Args:
        records: the examples of the split.
        read: Record -> Sample, called in several threads.
        batch_size: N over all processes; a multiple of `world`.
        seed: of the order and, in `augment` and `mix`, of every random change.
        shuffle: for training: another order each epoch, and the rest that fills no batch is left out (unless
            it is all there is). Otherwise the stored order, every sample exactly once over all processes.
        augment, mix: random changes of samples, or of several together, and of pairs of them in a batch.
        finish: what is done to a batch after all other changes: its images corrupted, or captions added.
        workers: threads that read; None: one a core.
        cache: keeps decoded images.
        rank, world: this process, and how many there are. Together they see the batches one process would see.

    Attributes:
        unreadable: id -> sentence, for every image that could not be read and was left out; in training its
            successor in the data takes its place, so that batches keep their size.
        wait_seconds: time the consumer has waited for batches so far.
    """

    def __init__(
        self,
        records: Sequence[Record],
        *,
        read: Read,
        batch_size: int,
        seed: int,
        shuffle: bool,
        augment: Augment | None = None,
        mix: Mix | None = None,
        finish: Finish | None = None,
        workers: int | None = None,
        cache: NoCache | None = None,
        rank: int = 0,
        world: int = 1,
    ):
        assert batch_size % world == 0, f"a batch of {batch_size} cannot be shared evenly by {world} processes"
        if shuffle and len(records) < world:
            raise UserError(f"{len(records)} training images are fewer than {world} processes: use fewer processes.")
        self.records = list(records)
        self.read, self.augment, self.mix, self.finish = read, augment, mix, finish
        self.batch_size, self.seed, self.shuffle = batch_size, seed, shuffle
        self.per_image = augment is not None and augment.per_image
        self.workers = workers or os.cpu_count() or 1
        self.cache = cache or NoCache()
        self.room = Room(AHEAD + 2)  # those ahead, the one in use, and the one before, held until the next is there
        self.rank, self.world = rank, world
        self.bad = np.zeros(len(self.records), bool)
        self.unreadable: dict[str, str] = {}
        self.forgiving = False  # True: leave out what is unreadable, however much of the data it is
        self.wait_seconds = 0.0

    def __len__(self) -> int:
        """Batches an epoch gives to each process."""
        count, size = len(self.records), self.batch_size
        return max(1, count // size) if self.shuffle else -(-count // size)

    def epoch(self, epoch: int, skip: int = 0) -> Generator[Batch]:
        """The batches of one epoch from number `skip` on: the same ones, however many threads read them.

        Leaving the iterator early stops its threads.
        Raises UserError when more than half of the images are unreadable.
        """
        order = self.order(epoch)
        numbers = iter(range(skip, len(self)))
        initializer = one_core, (torch.get_num_threads(),)
        reading = ThreadPoolExecutor(self.workers, "olhar-read", *initializer)
        joining = ThreadPoolExecutor(1, "olhar-join", *initializer)
        ahead: deque[Future[Batch | None]] = deque()
        try:
            for number in islice(numbers, AHEAD):
                ahead.append(self.submit(reading, joining, order, epoch, number))
            while ahead:
                start = time.perf_counter()
                batch = ahead.popleft().result()
                self.wait_seconds += time.perf_counter() - start
                for number in islice(numbers, 1):
                    ahead.append(self.submit(reading, joining, order, epoch, number))
                if batch is not None:
                    yield batch
        finally:
            joining.shutdown(wait=False, cancel_futures=True)
            reading.shutdown(cancel_futures=True)
            joining.shutdown()

    def order(self, epoch: int) -> np.ndarray:
        """Indices of the records as the epoch shows them, over all processes."""
        count = len(self.records)
        if not self.shuffle:
            return np.arange(count)
        return np.argsort(uniform(self.seed, epoch, np.arange(count), 1, first=ORDER)[:, 0], kind="stable")

    def share(self, order: np.ndarray, number: int) -> np.ndarray:
        """Indices of this process's part of batch `number`; for mixing, also of the sample before it."""
        batch = order[number * self.batch_size : (number + 1) * self.batch_size]
        if self.shuffle:
            batch = batch[: len(batch) // self.world * self.world]  # equal shares, so gradients average rightly
        bounds = np.linspace(0, len(batch), self.world + 1).astype(int)
        start, stop = bounds[self.rank : self.rank + 2]
        return batch[np.arange(start - 1, stop)] if self.mix else batch[start:stop]

    def submit(
        self, reading: ThreadPoolExecutor, joining: ThreadPoolExecutor, order: np.ndarray, epoch: int, number: int
    ) -> Future[Batch | None]:
        """Start the work on one batch."""
        indices = self.readable(self.share(order, number))
        missing = indices if self.per_image else indices[~self.cache.holds(indices)]
        images, first, parts = Images(len(missing), self.room), 0, []
        for piece in np.array_split(missing, self.workers):
            if len(piece):
                parts.append(reading.submit(self.load, piece, epoch, images, first))
                first += len(piece)
        return joining.submit(self.join, indices, parts, images, epoch, number)

    def join(
        self, indices: np.ndarray, parts: list[Future[list[Found]]], images: "Images", epoch: int, number: int
    ) -> Batch | None:
        """A batch, once what was missing of it has been read; None where no image of it could be."""
        pairs = [pair for part in parts for pair in part.result()]
        shown = self.readable(indices)
        if not len(shown):
            return None
        if not self.per_image and self.cache.holds(shown).all():  # one copy, instead of one an image
            batch = collate([self.read.annotate(self.records[index]) for index in shown.tolist()])
            batch |= cast(Batch, self.read.split(self.cache.gather(shown)))
        else:
            if len(pairs) < len(shown):  # the cache held some and could not take the others
                pairs = self.find(shown.tolist())
            batch = collate([sample for _, sample in pairs])
            shown = np.array([index for index, _ in pairs])
        if self.per_image:
            batch["image"] = images.taken()
        elif self.augment:
            batch = self.augment.together(batch, shown, epoch)
        if self.finish:
            batch = self.finish(batch, shown, epoch)
        return self.mix(batch, epoch, number) if self.mix else batch

    def load(self, indices: np.ndarray, epoch: int, images: "Images", first: int) -> list[Found]:
        """The samples at `indices`; if images are changed one by one, without them: these are rows from `first` on."""
        found = self.find(indices.tolist())
        if not (found and self.per_image and self.augment):
            return found
        places = [place for place, _ in found]
        others = self.augment.others(places, epoch, len(self.records))
        groups = [[one, *self.find(more)] for one, more in zip(found, others, strict=True)]
        rows = images.rows(first, len(found), (*self.augment.size, len(found[0][1]["image"])))
        return list(zip(places, self.augment.piece(groups, epoch, rows), strict=True))

    def find(self, indices: Sequence[int]) -> list[Found]:
        """The samples at `indices`, each with the index it really has: that of its successor if unreadable."""
        return [found for found in map(self.first_readable, indices) if found]

    def first_readable(self, wanted: int) -> Found | None:
        """The sample at `wanted`, or what takes its place, with its index; None where nothing can."""
        for index in self.candidates(wanted):
            try:
                return index, self.fetch(index)
            except UserError as error:
                self.leave_out(index, error)
        return None

    def fetch(self, index: int) -> Sample:
        """One sample, its image from the cache if it is there, and there from now on."""
        record, planes = self.records[index], self.cache.get(index)
        if planes is None:
            planes = self.read.planes(record)
            self.cache.put(index, planes)
        return cast(Sample, {**self.read.annotate(record), **self.read.split(planes)})

    def candidates(self, index: int) -> Iterator[int]:
        """`index`, and in training all after it: the first that can be read is shown."""
        count = len(self.records)
        for step in range(count if self.shuffle else 1):
            if not self.bad[(index + step) % count]:
                yield (index + step) % count

    def readable(self, indices: np.ndarray) -> np.ndarray:
        """`indices` with what `load` would put in the place of those known to be unreadable."""
        if not self.bad[indices].any():
            return indices
        shown = (next(self.candidates(index), None) for index in indices.tolist())
        return np.array([index for index in shown if index is not None], np.int64)

    def leave_out(self, index: int, error: UserError) -> None:
        """Note an unreadable image; more than half of them are no accident."""
        self.bad[index] = True
        self.unreadable[self.records[index].id] = str(error)
        if 2 * len(self.unreadable) > len(self.records) and not self.forgiving:
            raise UserError(f"More than half of the {len(self.records)} images cannot be read. The last: {error}")


class Room:
    """Memory for batches, lent again once nobody holds what was in it.

    From the system it comes in pages that are cleared first, which for a large batch takes as long as its resizing.
    """

    def __init__(self, spare: int):
        self.free: deque[np.ndarray] = deque(maxlen=spare)

    def lend(self, size: int) -> UInt8[Tensor, " {size}"]:
        """So many bytes, of any value."""
        try:
            memory = self.free.pop()
        except IndexError:  # all is lent
            memory = np.empty(0, np.uint8)
        if len(memory) < size:
            memory = np.empty(size, np.uint8)
        lent = memory[:size]
        # the tensor, and all that share its memory, keep `lent` alive
        weakref.finalize(lent, self.free.append, memory).atexit = False
        return torch.from_numpy(lent)


class Images:
    """The images of a batch: threads write each to its row, so that nobody has to copy them together."""

    def __init__(self, count: int, room: Room):
        self.room = room
        self.used = np.zeros(count, bool)
        self.all: Tensor | None = None
        self.lock = threading.Lock()

    def rows(self, first: int, count: int, shape: tuple[int, int, int]) -> UInt8[Tensor, "n C H W"]:
        """Rows for images of `shape` [H, W, C], the same for all, channels_last."""
        with self.lock:  # the first to know the shape takes the memory
            if self.all is None:
                memory = self.room.lend(len(self.used) * math.prod(shape))
                self.all = memory.view(-1, *shape).permute(0, 3, 1, 2)
        self.used[first : first + count] = True
        return self.all[first : first + count]

    def taken(self) -> UInt8[Tensor, "N C H W"]:
        """The rows that were asked for: all, but where an image was unreadable and no other took its place."""
        assert self.all is not None
        return self.all if self.used.all() else self.all[torch.from_numpy(self.used)]


def collate(samples: Sequence[Sample]) -> Batch:
    """Samples side by side: images, masks and labels stacked, boxes and texts as lists."""
    return cast(Batch, {key: JOIN.get(key, torch.stack)([sample[key] for sample in samples]) for key in samples[0]})


def stack_images(images: Sequence[Shaped[Tensor, "C H W"]]) -> Shaped[Tensor, "N C H W"]:
    """One channels_last tensor, the format convolutions are fastest in."""
    return torch.stack([image.permute(1, 2, 0) for image in images]).permute(0, 3, 1, 2)


# how the values of a key become one; torch.stack where nothing else is said
JOIN: dict[str, Callable[[list], Any]] = {
    "id": list,
    "image": stack_images,
    "clean": stack_images,
    "latent": stack_images,
    "label": torch.tensor,
    "target": torch.tensor,
    "boxes": list,
    "box_labels": list,
    "box_ignored": list,
    "text": list,
}


def one_core(threads: int) -> None:
    """Called at the start of a thread: its torch operations use one core, since its neighbours use the others.

    torch keeps this number for each thread, and another one for threads that have not asked yet: hence asking
    first, and setting the other back to `threads` from a thread that ends at once.
    """
    torch.get_num_threads()
    torch.set_num_threads(1)
    other = threading.Thread(target=torch.set_num_threads, args=(threads,))
    other.start()
    other.join()
