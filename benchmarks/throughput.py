"""Images a second of training ResNet-18, beside a plain torch loop over torchvision's model.

    python benchmarks/throughput.py [--size 128] [--batch 32] [--seconds 90]

Both sides run in this process, in turns of a few steps, on the same random images: forward, backward, SGD with
Nesterov's momentum. The plain loop is what a tutorial writes: float32, torch's default memory format, torch.optim.SGD
as it comes. olhar's side is its own loop (log, sentinels, clock and all) with the format it measures to be fastest.
"""

import argparse
import tempfile
from pathlib import Path

import torch
import torchvision

from machine import show_machine
from olhar.data.sample import Batch
from olhar.models import encoder
from olhar.models.classifier import Classifier
from olhar.tasks.classify import Classify
from ourloop import OurLoop, in_turns

CLASSES = 10
STEPS = 3  # a turn


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
    model = Classifier(encoder("resnet18", 3, (args.size, args.size)), CLASSES)
    names = [str(k) for k in range(CLASSES)]
    task = Classify(model, mean=(0.5,) * 3, std=(0.25,) * 3, class_names=names)
    with tempfile.TemporaryDirectory() as folder:
        ours, plain = OurLoop(task, batch, Path(folder)), Plain(batch)
        print(f"olhar chose {ours.precision.choice}, {ours.precision.memory_format}")
        turns = {"olhar": lambda: ours.steps(STEPS), "plain torch": lambda: plain.steps(STEPS)}
        in_turns(turns, STEPS * args.batch, args.seconds)


if __name__ == "__main__":
    main()
