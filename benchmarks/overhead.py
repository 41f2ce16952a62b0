"""Milliseconds a step that olhar's loop adds to a bare torch loop, on a model too small to matter.

    python benchmarks/overhead.py [--steps 500] [--turns 8]

The same task, optimizer and batch on both sides, in turns; the difference is the loop itself: clock, log, sentinels,
Accelerate.
"""

import argparse
import tempfile
import time
from pathlib import Path

import torch

from machine import show_machine, spread
from olhar.data.sample import Batch
from olhar.fit import make_accelerator
from olhar.models import encoder
from olhar.models.classifier import Classifier
from olhar.tasks.classify import Classify
from olhar.train.log import Log, Voice
from olhar.train.loop import Training
from olhar.train.optim import Length, Schedule, make_optimizer
from olhar.train.position import Position
from throughput import CLASSES, Same


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--turns", type=int, default=8)
    args = parser.parse_args()
    show_machine()
    model = Classifier(encoder("linear", 1, (8, 8)), CLASSES)
    task = Classify(model, mean=(0.5,), std=(0.25,), class_names=[str(k) for k in range(CLASSES)])
    batch: Batch = {
        "id": [str(i) for i in range(16)],
        "image": torch.randint(0, 256, (16, 1, 8, 8), dtype=torch.uint8),
        "label": torch.randint(0, CLASSES, (16,)),
    }
    optimizer = make_optimizer(task, "sgd", lr=0.01, weight_decay=0.0, momentum=0.9)
    position, accelerator = Position(), make_accelerator(torch.device("cpu"), "fp32")

    def bare() -> None:
        for _ in range(args.steps):
            task(batch)["loss"].backward()
            optimizer.step()
            optimizer.zero_grad()

    def ours(folder: Path) -> None:
        Training(
            task=task,
            optimizer=optimizer,
            schedule=Schedule("cosine", 0.01, 0.1),
            length=Length(steps=10**6),
            batches=Same(batch),
            accelerator=accelerator,
            log=Log(folder / "metrics.jsonl", Voice(quiet=True)),
            position=position,
            evaluate=dict,
            keep_best=lambda: None,
            checkpoint=lambda: None,
            evaluations=1,
            checkpoint_seconds=1e9,
            stop_at=position.step + args.steps,
        ).run()

    took: dict[str, list[float]] = {"bare": [], "olhar": []}
    with tempfile.TemporaryDirectory() as folder:
        for _ in range(args.turns + 1):
            for name, side in (("bare", bare), ("olhar", lambda: ours(Path(folder)))):
                start = time.perf_counter()
                side()
                took[name].append(1000 * (time.perf_counter() - start) / args.steps)
    bare_ms, ours_ms = took["bare"][1:], took["olhar"][1:]  # the first turn warms up
    print(f"bare torch loop  {spread(bare_ms, 3)} ms a step")
    print(f"olhar            {spread(ours_ms, 3)} ms a step")
    print(f"added            {spread([b - a for a, b in zip(bare_ms, ours_ms, strict=True)], 3)} ms a step")


if __name__ == "__main__":
    main()
