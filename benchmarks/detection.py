"""Detection in a fixed time, beside torchvision's SSDlite and RetinaNet in a plain loop; and the speed of a step.

    python benchmarks/detection.py accuracy path/to/bccd [--budget 15min] [--sides olhar ssdlite retinanet]
    python benchmarks/detection.py speed [--height 240 --width 320 --batch 8]

All start from random weights. The peers' images are decoded once and mirrored at random, SSDlite's also cropped and
enlarged as its authors do; the optimizer is their reference recipe's, its rate scaled to the batch, or AdamW with
`--adamw RATE`, with warm-up and a cosine over the time; `--steps` gives them, on a busy machine, as many steps as that
time has on a quiet one. RetinaNet sees images of the size that olhar sees, SSDlite of
320x320. All are asked about the test images and scored here, by the same code, on the boxes as they are.
"""

import argparse
import math
import tempfile
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torchvision import tv_tensors
from torchvision.models import detection
from torchvision.models.detection.anchor_utils import AnchorGenerator
from torchvision.ops import FeaturePyramidNetwork
from torchvision.transforms import v2

import olhar
from machine import show_machine
from olhar.config import parse_duration
from olhar.data.decode import decode
from olhar.data.recognise import recognise
from olhar.data.sample import Batch, Record
from olhar.metrics_detection import Answers, BoxPrecision, Truth
from olhar.models import encoder
from olhar.models.detector import Detector
from olhar.tasks.detect import Detect
from ourloop import OurLoop, in_turns

BATCH = 8
HEIGHT, WIDTH = 240, 320
# The rates of torchvision's references, for their batches: 8 GPUs x 24 images, and 16 images.
REFERENCE = {"ssdlite": (0.15 / 192, 4e-5), "retinanet": (0.01 / 16, 1e-4)}
SIZES, PROPORTIONS = ((20, 40, 60), (80, 120, 160)), (0.8, 1, 1.25)


def truth_of(record: Record) -> Truth:
    """The boxes as they are in the files."""
    boxes = np.array(record.boxes, np.float64).reshape(-1, 4)
    ignored = np.array(record.box_ignored, bool) if record.box_ignored else np.zeros(len(boxes), bool)
    return Truth(boxes, np.array(record.box_labels, np.int64), ignored)


def score(found: list[Answers], test: list[Record], names: tuple[str, ...]) -> str:
    """AP, AP50, and AP50 of each class."""
    metric = BoxPrecision(len(names))
    metric.update(found, [truth_of(record) for record in test])
    values = metric.compute()
    return ", ".join(f"{name} {float(value):.4f}" for name, value in values.items() if float(value) >= 0)


def network(name: str, classes: int) -> nn.Module:
    """Random weights; class 0 is the background, as in torchvision."""
    if name == "ssdlite":
        return detection.ssdlite320_mobilenet_v3_large(weights=None, weights_backbone=None, num_classes=classes + 1)
    return detection.retinanet_resnet50_fpn(
        weights=None, weights_backbone=None, num_classes=classes + 1, min_size=HEIGHT, max_size=WIDTH
    )


def batches(train: list[Record], crops: bool) -> Iterator[tuple[list[Tensor], list[dict[str, Any]]]]:
    """For ever: shuffled, mirrored at random, images decoded once."""
    images = [decode(record.image) for record in train]
    steps: list[nn.Module] = [v2.RandomHorizontalFlip()]
    if crops:
        steps = [v2.RandomIoUCrop(), *steps, v2.SanitizeBoundingBoxes()]
    change = v2.Compose([*steps, v2.ToDtype(torch.float32, scale=True)])
    while True:
        for index in torch.randperm(len(train)).split(BATCH):
            if len(index) < BATCH:
                continue
            changed = []
            for i in index.tolist():
                truth = truth_of(train[i])
                boxes = tv_tensors.BoundingBoxes(
                    torch.from_numpy(truth.boxes).float(), format="XYXY", canvas_size=images[i].shape[-2:]
                )
                changed.append(
                    change(tv_tensors.Image(images[i]), {"boxes": boxes, "labels": torch.from_numpy(truth.labels) + 1})
                )
            yield [image.as_subclass(Tensor) for image, _ in changed], [target for _, target in changed]


def peer(
    name: str, train: list[Record], test: list[Record], classes: int, seconds: float, adamw: float | None, fixed: int
) -> list[Answers]:
    """What the peer finds in the test images after `seconds` of training, or after `fixed` steps unless that is 0."""
    torch.manual_seed(0)
    model, feed = network(name, classes), batches(train, crops=name == "ssdlite")
    rate, decay = REFERENCE[name]
    if adamw:
        lr, optimizer = adamw, torch.optim.AdamW(model.parameters(), lr=adamw)
    else:
        lr = rate * BATCH
        optimizer = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=decay)
    start, steps, recent = time.monotonic(), 0, []
    model.train()
    while (done := steps / fixed if fixed else (time.monotonic() - start) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, (steps + 1) / 50) * 0.5 * (1 + math.cos(math.pi * done))
        images, targets = next(feed)
        loss = torch.stack(list(model(images, targets).values())).sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps, recent = steps + 1, [*recent[-19:], loss.item()]
    passes = steps * BATCH / len(train)
    print(f"  {name}, lr {lr:g}: {steps} steps, {passes:.1f} passes, loss {np.mean(recent):.3f}", flush=True)
    model.eval()
    found = []
    with torch.inference_mode():
        for record in test:
            (answer,) = model([decode(record.image).float() / 255])
            found.append(
                Answers(answer["boxes"].double().numpy(), answer["scores"].numpy(), answer["labels"].numpy() - 1)
            )
    return found


def ours(data: str, test: list[Record], budget: str) -> str:
    """What the plain command reaches on the test split, by its own evaluation (the same metric)."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        run = olhar.train(data, run=f"{folder}/run", budget=budget)
        took = time.monotonic() - start
        values = run.result["test"]
    print(f"  olhar: {took:.1f} s in all, best epoch {run.result.get('epoch')}", flush=True)
    return ", ".join(f"{name} {value:.4f}" for name, value in values.items())


def accuracy(args: argparse.Namespace) -> None:
    """All sides, one after the other, for the same time."""
    collection = recognise(args.data)
    names, train, test = collection.class_names, collection.split("train"), collection.split("test")
    print(f"{len(train)} training images, {len(test)} of test, {args.budget} each", flush=True)
    for side in args.sides:
        if side == "olhar":
            said = ours(args.data, test, args.budget)
        else:
            found = peer(side, train, test, len(names), parse_duration(args.budget), args.adamw, args.steps)
            said = score(found, test, names)
        print(f"{side:10} {said}", flush=True)


class Body(nn.Module):
    """Two levels of an encoder of the project under torchvision's feature pyramid."""

    def __init__(self, name: str, size: tuple[int, int], width: int):
        super().__init__()
        self.encoder = encoder(name, 3, size)
        self.levels = [self.encoder.strides.index(stride) for stride in (8, 16)]
        self.fpn = FeaturePyramidNetwork([self.encoder.channels[i] for i in self.levels], width)
        self.out_channels = width

    def forward(self, image: Tensor) -> "OrderedDict[str, Tensor]":
        levels = self.encoder(image)
        return self.fpn(OrderedDict((str(i), levels[i]) for i in self.levels))


def speed(args: argparse.Namespace) -> None:
    """Images a second of a training step on the same random images and boxes, same encoder, same anchors."""
    size, classes = (args.height, args.width), 3
    generator = torch.Generator().manual_seed(0)
    image = torch.randint(0, 256, (args.batch, 3, *size), dtype=torch.uint8, generator=generator)
    corner = (
        torch.rand(args.batch, args.objects, 2, generator=generator) * torch.tensor([args.width, args.height]) * 0.7
    )
    boxes = list(torch.cat([corner, corner + 15 + torch.rand(corner.shape, generator=generator) * 50], -1))
    labels = [torch.randint(0, classes, (args.objects,), generator=generator) for _ in boxes]
    batch: Batch = {
        "id": [str(i) for i in range(args.batch)],
        "image": image.contiguous(memory_format=torch.channels_last),
        "boxes": boxes,
        "box_labels": labels,
        "box_ignored": [torch.zeros(args.objects, dtype=torch.bool) for _ in boxes],
    }
    model = Detector(encoder(args.model, 3, size), classes, 9, (8, 16), args.width_of_head)
    task = Detect(model, (0.5,) * 3, (0.25,) * 3, [str(i) for i in range(classes)], SIZES, PROPORTIONS)
    generator_of_anchors = AnchorGenerator(SIZES, (PROPORTIONS,) * 2)
    retina = detection.RetinaNet(
        Body(args.model, size, args.width_of_head),
        classes + 1,
        min_size=args.height,
        max_size=args.width,
        anchor_generator=generator_of_anchors,
    )
    optimizer = torch.optim.AdamW(retina.parameters(), lr=1e-3)
    pixels = list(image.float() / 255)
    targets = [{"boxes": b, "labels": y + 1} for b, y in zip(boxes, labels, strict=True)]

    def step() -> None:
        retina.train()
        optimizer.zero_grad()
        torch.stack(list(retina(pixels, targets).values())).sum().backward()
        optimizer.step()

    with tempfile.TemporaryDirectory() as folder:
        loop = OurLoop(task, batch, Path(folder), "adamw", 1e-3)
        print(f"olhar chose {loop.precision.choice}, {loop.precision.memory_format}; nine anchors a position")
        sides: dict[str, Callable[[], None]] = {"olhar": lambda: loop.steps(1), "torchvision": step}
        in_turns(sides, args.batch, args.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    one = verbs.add_parser("accuracy")
    one.add_argument("data")
    one.add_argument("--budget", default="15min")
    one.add_argument(
        "--sides", nargs="+", choices=("olhar", "ssdlite", "retinanet"), default=("olhar", "ssdlite", "retinanet")
    )
    one.add_argument("--adamw", type=float, help="the peers' rate, by AdamW in the place of their reference recipe")
    one.add_argument("--steps", type=int, default=0, help="of the peers, in the place of the time")
    one.set_defaults(act=accuracy)
    two = verbs.add_parser("speed")
    two.add_argument("--model", default="resnet18")
    two.add_argument("--height", type=int, default=HEIGHT)
    two.add_argument("--width", type=int, default=WIDTH)
    two.add_argument("--batch", type=int, default=BATCH)
    two.add_argument("--objects", type=int, default=12)
    two.add_argument("--width-of-head", type=int, default=128)
    two.add_argument("--seconds", type=float, default=60)
    two.set_defaults(act=speed)
    args = parser.parse_args()
    show_machine()
    args.act(args)


if __name__ == "__main__":
    main()
