"""A small vision transformer from random weights, beside the same one with a plain recipe; ViT-B/16 beside timm's.

    python benchmarks/vit.py accuracy path/to/cifar10 [--model vit-mini4 --budget 10min]
    python benchmarks/vit.py speed [--batch 16 --seconds 60]

`accuracy`: both sides start from random weights and have the same time. olhar's is the plain command with `--model`.
The plain recipe is what a tutorial writes: AdamW at 1e-3 with weight decay 0.05 and a cosine over the time, images
already decoded, mirrored and moved at random, float32. It trains the same network (`plain`), and the same size as the
paper has it, with one convolution for the patches and a class token (`paper`).

`speed`: embeddings of random images by the same weights, in turns. timm's side is what its README says: `eval()`,
`torch.inference_mode()`, float32. olhar's is in bfloat16 where that is measured to be faster here.
"""

import argparse
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import Tensor

import olhar
from machine import show_machine
from olhar.config import parse_duration
from olhar.data.loader import Loader
from olhar.data.reading import Preprocess
from olhar.data.recognise import recognise
from olhar.data.sample import Record
from olhar.models import encoder
from olhar.models.classifier import Classifier
from olhar.models.weights import load_weights
from ourloop import in_turns

SIDE, BATCH, MOVE = 32, 128, 4
PAPER: dict[str, Any] = {"stem": "patch", "pool": "token"}


def read(records: list[Record], classes: int) -> tuple[Tensor, Tensor]:
    """All images [N, 3, H, W] uint8 and labels [N]."""
    preprocess = Preprocess(SIDE, 3, "none", classes, None)
    loader = Loader(records, read=preprocess.read, batch_size=500, seed=0, shuffle=False)
    batches = list(loader.epoch(0))
    return torch.cat([b["image"].contiguous() for b in batches]), torch.cat([b["label"] for b in batches])


def varied(images: Tensor) -> Tensor:
    """Mirrored at random, and each batch moved by up to MOVE px."""
    flip = torch.rand(len(images)) < 0.5
    images[flip] = images[flip].flip(3)
    down, right = torch.randint(0, 2 * MOVE + 1, (2,)).tolist()
    return F.pad(images, (MOVE,) * 4)[..., down : down + SIDE, right : right + SIDE]


def plain(train: list[Record], test: list[Record], classes: int, model: torch.nn.Module, seconds: float) -> str:
    """Test accuracy of the plain recipe after `seconds` of training."""
    images, labels = read(train, classes)
    mean, std = (
        images.float().div(255).mean((0, 2, 3)).view(3, 1, 1),
        images.float().div(255).std((0, 2, 3)).view(3, 1, 1),
    )
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=0.05)
    start, seen = time.monotonic(), 0
    while (done := (time.monotonic() - start) / seconds) < 1:
        for group in optimizer.param_groups:
            group["lr"] = 1e-3 * min(1.0, done / 0.05) * 0.5 * (1 + math.cos(math.pi * done))
        index = torch.randint(0, len(images), (BATCH,))
        loss = F.cross_entropy(model(varied((images[index].float() / 255 - mean) / std)), labels[index])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seen += BATCH
    model.eval()
    images, labels = read(test, classes)
    with torch.inference_mode():
        said = [model((part.float() / 255 - mean) / std).argmax(1) for part in images.split(500)]
    accuracy = (torch.cat(said) == labels).float().mean().item()
    return f"{100 * accuracy:.2f} %, {seen / len(train):.1f} passes"


def ours(data: str, model: str, budget: str) -> str:
    """Test accuracy of the plain command."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        run = olhar.train(data, run=f"{folder}/run", budget=budget, model=model)
        took = time.monotonic() - start
        result = run.result
    return f"{100 * result['test']['accuracy']:.2f} %, best after {result['best_epoch']:.1f} passes, {took:.1f} s"


def accuracy(args: argparse.Namespace) -> None:
    """The sides that were asked for, one after the other, for the same time each."""
    collection = recognise(args.data)
    train, test, classes = collection.split("train"), collection.split("test"), len(collection.class_names)
    print(f"{len(train)} training images, {len(test)} of test, {args.model}, {args.budget} each", flush=True)
    if "olhar" in args.sides:
        print("olhar", ours(args.data, args.model, args.budget), flush=True)
    for side in [side for side in args.sides if side != "olhar"]:
        torch.manual_seed(0)
        body = encoder(args.model, 3, (SIDE, SIDE), **(PAPER if side == "paper" else {}))
        print(side, plain(train, test, classes, Classifier(body, classes), parse_duration(args.budget)), flush=True)


@torch.inference_mode()
def speed(args: argparse.Namespace) -> None:
    """Images a second, and how alike the embeddings are."""
    import timm

    torch.manual_seed(0)
    peer = timm.create_model(args.timm, num_classes=0).eval()
    image = torch.randn(args.batch, 3, 224, 224)
    model = Classifier(encoder(args.model, 3, (224, 224)), 1000)
    with tempfile.TemporaryDirectory() as folder:
        save_file(peer.state_dict(), Path(folder) / "weights.safetensors")
        print(load_weights(model, Path(folder) / "weights.safetensors").sentence)
    body, expected = model.encoder.eval(), peer(image)
    times = {}
    for dtype in (torch.float32, torch.bfloat16):
        body.to(dtype)
        given = image.to(dtype)
        alike = F.cosine_similarity(body.summary(given).float(), expected)
        start = time.perf_counter()
        body.summary(given)
        times[dtype] = time.perf_counter() - start
        print(f"{dtype}: {times[dtype]:.2f} s a batch, least cosine {alike.min():.6f}", flush=True)
    fastest = min(times, key=lambda dtype: times[dtype])
    body.to(fastest)
    in_turns(
        {f"olhar, {fastest}": lambda: body.summary(image.to(fastest)), "timm": lambda: peer(image)},
        args.batch,
        args.seconds,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    one = verbs.add_parser("accuracy")
    one.add_argument("data")
    one.add_argument("--model", default="vit-mini4")
    one.add_argument("--budget", default="10min")
    one.add_argument("--sides", nargs="+", choices=("olhar", "plain", "paper"), default=("olhar", "plain", "paper"))
    one.set_defaults(act=accuracy)
    two = verbs.add_parser("speed")
    two.add_argument("--model", default="vit-b16")
    two.add_argument("--timm", default="vit_base_patch16_224")
    two.add_argument("--batch", type=int, default=16)
    two.add_argument("--seconds", type=float, default=60)
    two.set_defaults(act=speed)
    args = parser.parse_args()
    show_machine()
    args.act(args)


if __name__ == "__main__":
    main()
