"""CamVid in ten minutes, beside the FPN of segmentation_models.pytorch with the same encoder in a plain loop.

    python benchmarks/segmentation.py accuracy path/to/camvid [--budget 10min]
    python benchmarks/segmentation.py speed [--height 192 --width 256 --batch 16]
    python benchmarks/segmentation.py large RUN path/to/image.jpg [--width 4000 --height 3000]

The peer needs `pip install segmentation-models-pytorch`. Both sides see images of 240x180 and start from random
weights. The peer trains for the same time on images that are already decoded, resized and mirrored at random, by AdamW
with a cosine over the time, at each of two learning rates; the better counts. Both are asked about the 480x360 test
images and scored here, by the same code, on the masks as they are.

`large` enlarges an image and asks a trained run about it with the plain command: seconds, and the most memory held.
"""

import argparse
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

import olhar
from machine import show_machine
from olhar.config import parse_duration
from olhar.data.palette import palette
from olhar.data.reading import Letterbox, Reader
from olhar.data.recognise import recognise
from olhar.data.sample import IGNORE, Batch, Record
from olhar.metrics import segmentation_scores
from olhar.models import decoder, encoder
from olhar.models.dense import Dense
from olhar.tasks.segment import Segment
from ourloop import OurLoop, in_turns

HEIGHT, WIDTH = 180, 240
BATCH = 16
RATES = (1e-3, 3e-4)
STRIDE = 32  # the peer takes only multiples of it


def score(confusion: Tensor, names: tuple[str, ...]) -> str:
    """mIoU and the rest, and each class."""
    values = {name: float(value) for name, value in segmentation_scores(confusion).items()}
    hits, either = confusion.diagonal(), confusion.sum(0) + confusion.sum(1) - confusion.diagonal()
    each = ", ".join(f"{name} {hits[k] / either[k]:.2f}" for k, name in enumerate(names))
    return f"mIoU {100 * values['miou']:.2f}, pixels {100 * values['pixel_accuracy']:.2f} % ({each})"


def count(said: Tensor, truth: Tensor, k: int) -> Tensor:
    """Pixels by true class and answer, unlabelled ones left out."""
    known = truth != IGNORE
    return torch.bincount(truth[known].long() * k + said[known].long(), minlength=k * k).view(k, k)


def read(records: list[Record]) -> tuple[Tensor, Tensor]:
    """All images [N, 3, H, W] uint8 and masks [N, H, W] at the size both sides see."""
    reader = Reader(Letterbox(HEIGHT, WIDTH), truth="mask")
    samples = [reader(record) for record in records]
    return torch.stack([s["image"].contiguous() for s in samples]), torch.stack([s["mask"] for s in samples])


def batches(images: Tensor, masks: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """For ever: shuffled, mirrored at random."""
    while True:
        for index in torch.randperm(len(images)).split(BATCH):
            if len(index) == BATCH:
                flip = torch.rand(BATCH) < 0.5
                x, y = images[index].float() / 255, masks[index].long()
                x[flip], y[flip] = x[flip].flip(3), y[flip].flip(2)
                yield x, y


def pad(x: Tensor) -> Tensor:
    """To the next multiple of the peer's stride, at the right and below."""
    return F.pad(x, (0, -x.shape[3] % STRIDE, 0, -x.shape[2] % STRIDE))


def peer(train: list[Record], test: list[Record], k: int, lr: float, seconds: float) -> Tensor:
    """The confusion of the peer after `seconds` of training."""
    import segmentation_models_pytorch as smp

    torch.manual_seed(0)
    images, masks = read(train)
    mean, std = (
        images.float().div(255).mean((0, 2, 3)).view(3, 1, 1),
        images.float().div(255).std((0, 2, 3)).view(3, 1, 1),
    )
    model = smp.FPN("resnet18", encoder_weights=None, classes=k)
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr)
    feed, start, steps = batches(images, masks), time.monotonic(), 0
    while (done := (time.monotonic() - start) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = lr * min(1.0, steps / 50) * 0.5 * (1 + math.cos(math.pi * done))
        x, y = next(feed)
        logits = model(pad((x - mean) / std))[..., :HEIGHT, :WIDTH]
        loss = F.cross_entropy(logits, y, ignore_index=IGNORE)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        steps += 1
    print(
        f"  peer, lr {lr:g}: {steps} steps, {steps * BATCH / len(train):.1f} passes, loss {loss.item():.3f}", flush=True
    )
    model.eval()
    confusion = torch.zeros(k, k, dtype=torch.int64)
    with torch.inference_mode():
        for record in test:
            (image, _), truth = read([record]), record.mask.render()
            logits = model(pad((image.float() / 255 - mean) / std))[..., :HEIGHT, :WIDTH]
            whole = F.interpolate(logits, tuple(truth.shape), mode="bilinear", align_corners=False)
            confusion += count(whole.argmax(1)[0], truth, k)
    return confusion


def ours(data: str, test: list[Record], k: int, budget: str) -> Tensor:
    """The confusion of what the plain command trains, asked as anybody would ask."""
    confusion = torch.zeros(k, k, dtype=torch.int64)
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        run = olhar.train(data, run=f"{folder}/run", budget=budget, image_size=HEIGHT, model="resnet18")
        print(f"  olhar: {time.monotonic() - start:.1f} s in all, {run.result['test']}", flush=True)
        for record, said in zip(test, run.predict([record.image for record in test]), strict=True):
            confusion += count(said.mask, record.mask.render(), k)
    return confusion


def accuracy(args: argparse.Namespace) -> None:
    """Both sides, one after the other, for the same time."""
    collection = recognise(args.data)
    names, train, test = collection.class_names, collection.split("train"), collection.split("test")
    print(f"{len(train)} training images, {len(test)} of test, {len(names)} classes, {args.budget} each", flush=True)
    seconds = parse_duration(args.budget)
    if "olhar" in args.sides:
        print("olhar       ", score(ours(args.data, test, len(names), args.budget), names), flush=True)
    for lr in args.rates if "peer" in args.sides else ():
        print(f"peer {lr:7g}", score(peer(train, test, len(names), lr, seconds), names), flush=True)


def speed(args: argparse.Namespace) -> None:
    """Images a second of training and of inference, on the same random images."""
    import segmentation_models_pytorch as smp

    size, k = (args.height, args.width), 11
    image = torch.randint(0, 256, (args.batch, 3, *size), dtype=torch.uint8)
    mask = torch.from_numpy(np.random.default_rng(0).integers(0, k, (args.batch, *size), np.uint8))
    batch: Batch = {
        "id": [str(i) for i in range(args.batch)],
        "image": image.contiguous(memory_format=torch.channels_last),
        "mask": mask,
    }
    body = encoder("resnet18", 3, size)
    names = [f"class {i}" for i in range(k)]
    model = Dense(body, decoder("pyramid", body), k)
    task = Segment(model, mean=(0.5,) * 3, std=(0.25,) * 3, class_names=names, palette=palette(names))
    network = smp.FPN("resnet18", encoder_weights=None, classes=k)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3)
    pixels, target = (image.float() / 255 - 0.5) / 0.25, mask.long()

    def step() -> None:
        network.train()
        optimizer.zero_grad()
        F.cross_entropy(network(pixels), target, ignore_index=IGNORE).backward()
        optimizer.step()

    with tempfile.TemporaryDirectory() as folder:
        loop = OurLoop(task, batch, Path(folder), "adamw", 1e-3)
        print(f"olhar chose {loop.precision.choice}, {loop.precision.memory_format}\ntraining")
        in_turns(
            {"olhar": lambda: loop.steps(2), "smp": lambda: [step() for _ in range(2)]}, 2 * args.batch, args.seconds
        )

        @torch.inference_mode()
        def predict() -> None:
            task.eval()
            with loop.accelerator.autocast():
                task.predict(batch)

        @torch.inference_mode()
        def predict_peer() -> None:
            network.eval()
            network(pixels).argmax(1)

        print("inference, to the class of every pixel")
        in_turns({"olhar": predict, "smp": predict_peer}, args.batch, args.seconds)


def large(args: argparse.Namespace) -> None:
    """The plain command on one large image."""
    with tempfile.TemporaryDirectory() as folder:
        big = Path(folder) / "big.jpg"
        Image.open(args.image).convert("RGB").resize((args.width, args.height), Image.Resampling.BICUBIC).save(big)
        start = time.monotonic()
        command = [sys.executable, "-m", "olhar", "predict", args.run, str(big), "--out", args.out]
        subprocess.run(command + ["--tiles"] * args.tiles, check=True)
        took, held = time.monotonic() - start, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
        print(f"{args.width} x {args.height}: {took:.1f} s, {held / 2**20:.2f} GB at most; the mask is in {args.out}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    one = verbs.add_parser("accuracy")
    one.add_argument("data")
    one.add_argument("--budget", default="10min")
    one.add_argument("--rates", type=float, nargs="+", default=RATES)
    one.add_argument("--sides", nargs="+", choices=("olhar", "peer"), default=("olhar", "peer"))
    one.set_defaults(act=accuracy)
    two = verbs.add_parser("speed")
    two.add_argument("--height", type=int, default=192)
    two.add_argument("--width", type=int, default=256)
    two.add_argument("--batch", type=int, default=BATCH)
    two.add_argument("--seconds", type=float, default=60)
    two.set_defaults(act=speed)
    three = verbs.add_parser("large")
    three.add_argument("run")
    three.add_argument("image")
    three.add_argument("--width", type=int, default=4000)
    three.add_argument("--height", type=int, default=3000)
    three.add_argument("--out", default="large-mask")
    three.add_argument("--tiles", action="store_true")
    three.set_defaults(act=large)
    args = parser.parse_args()
    show_machine()
    args.act(args)


if __name__ == "__main__":
    main()
