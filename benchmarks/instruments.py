"""Seconds that the instruments take on a ResNet-18.

python benchmarks/instruments.py network      layer table and receptive field, 224 px
python benchmarks/instruments.py patches      the nine patches of ten filters, among 1,000 JPEGs of 480x360, 224 px
python benchmarks/instruments.py landscape    21x21 points, 512 images of 32 px

Each makes its own images and a run that was trained for one pass over a few of them: what is learnt does not change
what it costs. Values and figure are timed, as `olhar inspect` makes them, but not starting Python.
"""

import argparse
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

import olhar
from machine import show_machine, spread
from olhar.inspection.instruments.landscape import LandscapeValues

CLASSES = ("first", "second")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("network", "patches", "landscape"))
    parser.add_argument("--turns", type=int, help="[network 9, patches 3, landscape 1]")
    args = parser.parse_args()
    show_machine()
    with tempfile.TemporaryDirectory() as scratch:
        {"network": network, "patches": patches, "landscape": landscape}[args.what](Path(scratch), args.turns)


def network(scratch: Path, turns: int | None) -> None:
    run = trained(scratch, paint(scratch / "data", 8, 8, (360, 480)), 224)
    network, field, both = [], [], []
    for _ in range(turns or 9):
        network.append(seconds(run, "network"))
        field.append(seconds(run, "receptive-field"))
        both.append(network[-1] + field[-1])
    for name, took in (("network", network), ("receptive field", field), ("both", both)):
        print(f"{name:16} {spread(took, 2)} s, the first time {took[0]:.2f}")


def patches(scratch: Path, turns: int | None) -> None:
    run = trained(scratch, paint(scratch / "data", 8, 8, (360, 480)), 224)
    many = paint(scratch / "many", 0, 500, (360, 480)) / "val"
    took = [seconds(run, "patches", many) for _ in range(turns or 3)]
    print(f"1,000 images     {spread(took)} s")


def landscape(scratch: Path, turns: int | None) -> None:
    data = paint(scratch / "data", 16, 256, (32, 32))
    for stem in ("standard", "small"):
        run = trained(scratch, data, 32, stem)
        took, images = [], 0
        for _ in range(turns or 1):
            start = time.perf_counter()
            look = run.inspect("landscape")
            look.figure()
            took.append(time.perf_counter() - start)
            assert isinstance(look.values, LandscapeValues)
            (surface,) = look.values.surfaces.values()
            images = surface.images
        print(f"{stem:8} stem, {surface.loss.size} points, {images} of 512 images: {spread(took)} s", flush=True)


def seconds(run: olhar.Run, name: str, images: Path | tuple[()] = ()) -> float:
    """From the run to the figure."""
    start = time.perf_counter()
    run.inspect(name, images).figure()
    return time.perf_counter() - start


def trained(scratch: Path, data: Path, side: int, stem: str = "standard") -> olhar.Run:
    """A ResNet-18 after one pass."""
    folder = scratch / f"{side}-{stem}"
    settings = {"data.check": "off", "model.args": {"stem": stem}}
    return olhar.train(data, run=folder, quiet=True, model="resnet18", image_size=side, epochs=1, **settings)


def paint(folder: Path, train: int, val: int, size: tuple[int, int]) -> Path:
    """Class folders of blurred noise, as JPEG: about as many bytes a pixel as photographs have."""
    noise = np.random.default_rng(0)
    for split, count in (("train", train), ("val", val)):
        for name in CLASSES if count else ():
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                coarse = Image.fromarray(noise.integers(0, 256, (size[0] // 8, size[1] // 8, 3), dtype=np.uint8))
                fine = coarse.resize((size[1], size[0]), Image.Resampling.BICUBIC)
                fine.save(folder / split / name / f"{i}.jpg", quality=90)
    return folder


if __name__ == "__main__":
    main()
