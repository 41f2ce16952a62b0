"""Images a second from JPEG files to batches of 224 px, beside torchvision's ImageFolder and DataLoader.

    python benchmarks/loading.py            # all of it, a few minutes and up to 0.5 GB of temporary files
    python benchmarks/loading.py --only 480x360 --rounds 5

Both sides draw a RandomResizedCrop(224) of every image, in shuffled batches, with the same number of workers, and
are measured in turn, so that a busy machine disturbs both alike. The files are in the page cache for both, and the
DataLoader's processes are started before the clock. olhar's batches stay uint8 until they are on the device;
ToTensor makes floats. "preset" is olhar with all of its augmentation for photographs: mirroring, colour, erasing.
"""

import argparse
import io
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
import torchvision
from PIL import Image
from torch.utils.data import DataLoader
from torchvision.transforms import Compose, RandomResizedCrop, ToTensor

from olhar.data.cache import MemoryCache
from olhar.data.loader import Loader
from olhar.data.reading import Preprocess
from olhar.data.sample import Record
from olhar.data.transforms import Augment, Natural, Small

BATCH = 25  # divides the numbers of images, so that neither side leaves any out
# pixels, images and grain of each set; the grain decides the size of the files. Phones write 2 to 5 MB at 12 MP.
SETS = {
    "12MP smooth": (4000, 3000, 200, 2.0),
    "12MP": (4000, 3000, 200, 6.0),
    "480x360": (480, 360, 1000, 6.0),
}
TARGETS = {"12MP smooth": 8.0, "12MP": 8.0, "480x360": 1.5}
SECOND_EPOCH = 10.0


def scene(width: int, height: int, generator: np.random.Generator) -> np.ndarray:
    """A picture with the spectrum of photographs, whose amplitude falls as 1 / frequency; float [H, W, 3]."""
    total = np.zeros((height, width, 3), np.float32)
    for octave in range(2, 11):
        cells = 2**octave
        noise = generator.normal(size=(max(2, cells * height // width), cells, 3)).astype(np.float32)
        layers = [Image.fromarray(noise[..., c]).resize((width, height), Image.Resampling.BICUBIC) for c in range(3)]
        total += np.stack([np.asarray(layer) for layer in layers], -1) / cells
    return 120 + 50 * (total - total.mean()) / total.std()


def write_images(folder: Path, width: int, height: int, count: int, grain: float) -> float:
    """`count` different JPEGs of quality 85 in two class folders; returns their mean size in MB."""
    generator = np.random.default_rng(0)
    base = scene(width, height, generator) + grain * generator.normal(size=(height, width, 1))
    pixels = base.clip(0, 255).astype(np.uint8)
    for index in range(count):
        moved = np.roll(pixels, tuple(generator.integers(0, (height, width))), (0, 1))
        buffer = io.BytesIO()
        Image.fromarray(moved[:, :: 1 if index % 2 else -1]).save(buffer, "JPEG", quality=85)
        path = folder / "ab"[index % 2] / f"{index:04}.jpg"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(buffer.getvalue())
    return sum(path.stat().st_size for path in folder.rglob("*.jpg")) / count / 1e6


def theirs(folder: Path, workers: int) -> Callable[[int], Iterator]:
    data = torchvision.datasets.ImageFolder(folder, Compose([RandomResizedCrop(224), ToTensor()]))
    loader = DataLoader(data, BATCH, shuffle=True, num_workers=workers, persistent_workers=True)
    for _ in loader:  # starts the processes
        break
    return lambda epoch: iter(loader)


def ours(folder: Path, workers: int, augment: Augment) -> Callable[[int], Iterator]:
    """Its first epoch decodes, later ones read the memory."""
    paths = sorted(folder.rglob("*.jpg"))
    records = [Record(id=p.name, image=p, split="train", label="ab".index(p.parent.name)) for p in paths]
    read = Preprocess(224, augment="natural").train_read
    cache = MemoryCache(len(records), read)
    return Loader(
        records, read=read, batch_size=BATCH, seed=0, shuffle=True, augment=augment, workers=workers, cache=cache
    ).epoch


def images_per_second(epoch: Callable[[int], Iterator], number: int, count: int) -> float:
    start = time.perf_counter()
    shown = sum(BATCH for _ in epoch(number))
    assert shown == count
    return count / (time.perf_counter() - start)


def spread(values: list[float], unit: str) -> str:
    return f"{statistics.median(values):8.1f} {unit} ({min(values):.1f} to {max(values):.1f})"


def compare(name: str, rounds: int, workers: int) -> None:
    """One set of files: both sides in turn, `rounds` times."""
    width, height, count, grain = SETS[name]
    crop_only = Natural(224, flip=False, seed=0, area=0.08, colour=0.0, erase=0.0)
    rates: dict[str, list[float]] = {"torchvision": [], "first": [], "second": [], "preset": []}
    with tempfile.TemporaryDirectory() as temporary:
        size = write_images(Path(temporary), width, height, count, grain)
        print(f"\n{name}: {count} JPEGs of {width}x{height}, {size:.2f} MB each, {rounds} rounds")
        torchvisions = theirs(Path(temporary), workers)
        for _ in range(rounds):
            rates["torchvision"].append(images_per_second(torchvisions, 0, count))
            epoch = ours(Path(temporary), workers, crop_only)
            rates["first"].append(images_per_second(epoch, 0, count))
            rates["second"].append(images_per_second(epoch, 1, count))
            epoch = ours(Path(temporary), workers, Natural(224, flip=True, seed=0))
            rates["preset"].append(images_per_second(epoch, 0, count))
    print(f"  torchvision           {spread(rates['torchvision'], 'images/s')}")
    for label, key, target in (
        ("olhar, first epoch", "first", TARGETS[name]),
        ("olhar, second epoch", "second", SECOND_EPOCH),
        ("olhar, first, preset", "preset", None),
    ):
        ratio = [mine / other for mine, other in zip(rates[key], rates["torchvision"], strict=True)]
        aim = f", target {target:g}" if target else ""
        print(f"  {label:21} {spread(rates[key], 'images/s')}   ratio {spread(ratio, 'x').strip()}{aim}")


def small_images(rounds: int) -> None:
    """Milliseconds of a batch of 256 cached images of 32 px, moved, mirrored and partly hidden."""
    read = Preprocess(32, augment="small").train_read
    cache = MemoryCache(10_240, read)
    noise = torch.randint(0, 256, (32, 32, 3), dtype=torch.uint8).permute(2, 0, 1)
    for index in range(10_240):
        cache.put(index, noise)
    records = [Record(id=str(i), image=Path(), split="train", label=0) for i in range(10_240)]
    augment = Small(32, flip=True, seed=0)
    loader = Loader(records, read=read, batch_size=256, seed=0, shuffle=True, augment=augment, workers=1, cache=cache)
    times = []
    for number in range(rounds):
        start = time.perf_counter()
        batches = sum(1 for _ in loader.epoch(number))
        times.append((time.perf_counter() - start) / batches * 1e3)
    print(f"\n32 px: a batch of 256 from the cache, augmented, one thread\n  {spread(times, 'ms')}, target 2")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=[*SETS, "32px"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    options = parser.parse_args()
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {options.workers} workers, "
        f"Python {platform.python_version()}, torch {torch.__version__}, torchvision {torchvision.__version__}, "
        f"Pillow {Image.__version__}"
    )
    for name in SETS:
        if options.only in (None, name):
            compare(name, options.rounds, options.workers)
    if options.only in (None, "32px"):
        small_images(options.rounds)


if __name__ == "__main__":
    main()
