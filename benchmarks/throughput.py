"""Images a second of training ResNet-18, beside a plain torch loop over torchvision's model.

    python benchmarks/throughput.py [--size 128] [--batch 32] [--seconds 90]

Both sides run in this process, in turns of a few steps, on the same random images: forward, backward, SGD with
Nesterov's momentum. The plain loop is what a tutorial writes: float32, torch's default memory format, torch.optim.SGD
as it comes. olhar's side is its own loop (log, sentinels, clock and all) with the format it measures to be fastest.
"""

import argparse
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import torch
import torchvision

from machine import show_machine, spread
from olhar.data.sample import Batch, first_of
from olhar.fit import make_accelerator
from olhar.models import encoder
from olhar.models.classifier import Classifier
from olhar.tasks.classify import Classify
from olhar.train.device import choose_precision
from olhar.train.log import Log, Voice
from olhar.train.loop import Training
from olhar.train.optim import Length, Schedule, make_optimizer
from olhar.train.position import Position

CLASSES = 10


class Same:
    """One batch, again and again: the loader is measured elsewhere."""

    def __init__(self, batch: Batch):
        self.batch, self.wait_seconds = batch, 0.0

    def __len__(self) -> int:
        return 10**9

    def epoch(self, epoch: int, skip: int = 0) -> Iterator[Batch]:
        while True:
            yield self.batch


class Ours:
    """olhar's loop, resumed for a few steps at a time."""

    def __init__(self, batch: Batch, size: int, folder: Path):
        model = Classifier(encoder("resnet18", 3, (size, size)), CLASSES)
        names = [str(k) for k in range(CLASSES)]
        self.task = Classify(model, mean=(0.5,) * 3, std=(0.25,) * 3, class_names=names)
        self.batch, self.log = batch, Log(folder / "metrics.jsonl", Voice(quiet=True))
        device = torch.device("cpu")
        size = len(batch["id"])
        self.precision = choose_precision(lambda n: self.task(first_of(batch, n))["loss"], self.task, device, size)
        self.optimizer = make_optimizer(self.task, "sgd", lr=0.01, weight_decay=5e-4, momentum=0.9)
        self.accelerator = make_accelerator(device, self.precision.choice)
        self.position = Position()

    def steps(self, count: int) -> None:
        Training(
            task=self.task,
            optimizer=self.optimizer,
            schedule=Schedule("constant", 0.01, 0.0),
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


class Plain:
    """The loop of a tutorial."""

    def __init__(self, batch: Batch):
        self.image = (batch["image"].contiguous().float() / 255 - 0.5) / 0.25
        self.label = batch["label"]
        self.model = torchvision.models.resnet18(num_classes=CLASSES).train()
        self.loss = torch.nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(
            self.model.parameters(), lr=0.01, momentum=0.9, nesterov=True, weight_decay=5e-4
        )

    def steps(self, count: int) -> None:
        for _ in range(count):
            self.optimizer.zero_grad()
            self.loss(self.model(self.image), self.label).backward()
            self.optimizer.step()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=int, default=128)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=90, help="of measurement, both sides together")
    args = parser.parse_args()
    show_machine()
    image = torch.randint(0, 256, (args.batch, 3, args.size, args.size), dtype=torch.uint8)
    batch: Batch = {
        "id": [str(i) for i in range(args.batch)],
        "image": image.contiguous(memory_format=torch.channels_last),
        "label": torch.randint(0, CLASSES, (args.batch,)),
    }
    with tempfile.TemporaryDirectory() as folder:
        sides = {"olhar": Ours(batch, args.size, Path(folder)), "plain torch": Plain(batch)}
        print(f"olhar chose {sides['olhar'].precision.choice}, {sides['olhar'].precision.memory_format}")
        speeds: dict[str, list[float]] = {name: [] for name in sides}
        for side in sides.values():
            side.steps(2)
        start, rounds = time.perf_counter(), 3
        while time.perf_counter() - start < args.seconds:
            for name, side in sides.items():
                begin = time.perf_counter()
                side.steps(rounds)
                speeds[name].append(rounds * args.batch / (time.perf_counter() - begin))
    for name, values in speeds.items():
        print(f"{name:12} {spread(values)} images/s over {len(values)} turns")
    ratios = [a / b for a, b in zip(*speeds.values(), strict=True)]
    print(f"ratio        {spread(ratios, 2)}")


if __name__ == "__main__":
    main()
