"""Seconds to recognise a folder of 10,000 JPEGs and to look at every file of it, quickly and in full.

python benchmarks/looking.py [--files 10000] [--turns 3]
"""

import argparse
import io
import os
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from machine import show_machine, spread
from olhar.data.doctor import examine
from olhar.data.recognise import recognise


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=10_000)
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    show_machine()
    generator = np.random.default_rng(0)
    took: dict[str, list[float]] = {"recognise": [], "quick": [], "full": []}
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch) / "data"
        for i in range(args.files):
            file = data / f"class {i % 10}" / f"{i}.jpg"
            file.parent.mkdir(parents=True, exist_ok=True)
            buffer = io.BytesIO()
            Image.fromarray(generator.integers(0, 256, (64, 64, 3), np.uint8)).save(buffer, "JPEG")
            file.write_bytes(buffer.getvalue())
        for turn in range(args.turns):
            os.environ["OLHAR_CACHE"] = f"{scratch}/cache-{turn}"  # nothing is remembered from the turn before
            start = time.perf_counter()
            collection = recognise(data)
            took["recognise"].append(time.perf_counter() - start)
            for level in ("quick", "full"):
                start = time.perf_counter()
                examine(collection, level)
                took[level].append(time.perf_counter() - start)
    for name, seconds in took.items():
        print(f"{name:10} {spread(seconds, 2)} s for {args.files:,} files")


if __name__ == "__main__":
    main()
