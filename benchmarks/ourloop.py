"""olhar's own loop (log, sentinels, clock and all) on one batch, a few steps at a time, to set beside a plain loop."""

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Protocol

import torch

from machine import spread
from olhar.data.sample import Batch, first_of
from olhar.fit import make_accelerator
from olhar.tasks import Task
from olhar.train.device import choose_precision
from olhar.train.log import Log, Voice
from olhar.train.loop import Training
from olhar.train.optim import Length, Schedule, make_optimizer
from olhar.train.position import Position


class Side(Protocol):
    """One of two that are measured in turns."""

    def steps(self, count: int) -> None: ...


class Same:
    """One batch, again and again: the loader is measured elsewhere."""

    def __init__(self, batch: Batch):
        self.batch, self.wait_seconds = batch, 0.0

    def __len__(self) -> int:
        return 10**9

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        while True:
            yield self.batch


class OurLoop:
    """The loop with the number format it measures to be fastest, resumed for a few steps at a time."""

    def __init__(self, task: Task, batch: Batch, folder: Path, optimizer: str = "sgd", lr: float = 0.01):
        self.task, self.batch, self.lr = task, batch, lr
        self.log = Log(folder / "metrics.jsonl", Voice(quiet=True))
        device, size = torch.device("cpu"), len(batch["id"])
        self.precision = choose_precision(lambda n: self.task(first_of(batch, n))["loss"], self.task, device, size)
        self.optimizer = make_optimizer(self.task, optimizer, lr=lr, weight_decay=5e-4, momentum=0.9)
        self.accelerator = make_accelerator(device, self.precision.choice)
        self.position = Position()

    def steps(self, count: int) -> None:
        Training(
            task=self.task,
            optimizer=self.optimizer,
            schedule=Schedule("constant", self.lr, 0.0),
            length=Length(steps=10**9),
            batches=Same(self.batch),
            accelerator=self.accelerator,
            log=self.log,
            position=self.position,
            evaluate=dict,
            keep_best=lambda: None,
            checkpoint=lambda: None,
            checkpoint_seconds=1e9,
            stop_at=self.position.step + count,
        ).run()


def in_turns(sides: Mapping[str, Callable[[], None]], images: int, seconds: float) -> None:
    """Run both sides in turns for `seconds` in all; print images a second, `images` a turn, and the ratio."""
    speeds: dict[str, list[float]] = {name: [] for name in sides}
    for turn in sides.values():
        turn()
    start = time.perf_counter()
    while time.perf_counter() - start < seconds:
        for name, turn in sides.items():
            begin = time.perf_counter()
            turn()
            speeds[name].append(images / (time.perf_counter() - begin))
    width = max(map(len, sides))
    for name, values in speeds.items():
        print(f"{name:{width}} {spread(values)} images/s over {len(values)} turns")
    ratios = [a / b for a, b in zip(*speeds.values(), strict=True)]
    print(f"{'ratio':{width}} {spread(ratios, 2)}", flush=True)
