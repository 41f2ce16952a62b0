"""Images and captions aligned beside open_clip, what was never seen together, and the speed of encoding and searching.

    python benchmarks/align.py emoji path/to/emoji [--budget 10min --sides olhar]
    python benchmarks/align.py shapes [--budget 5min]
    python benchmarks/align.py encode
    python benchmarks/align.py search

`emoji` needs `pip install 'open_clip_torch[training]'`. Both sides learn from the same pairs for the same time;
open_clip as its README says: its own loop over a CSV file, its own tokenizer and augmentation, float32, towers of about
the size of ours from a JSON of its own, the better of two learning rates. Its count of epochs is what the time allows,
measured with one epoch, so that its schedule ends with it. Recalls of both are computed by the same lines.
"""

import argparse
import csv
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn.functional import normalize

import olhar
from machine import show_machine
from olhar.config import parse_duration
from olhar.data.recognise import recognise
from olhar.data.sample import Record
from olhar.language import reader_of
from olhar.metrics_retrieval import name_keys, ranks
from olhar.models import CLIPS, clip, encoder, text_encoder
from olhar.search import nearest

# a residual network and a transformer of about the size of resnet9-slim and text-small; its tokens are CLIP's
THEIRS = {
    "embed_dim": 128,
    "vision_cfg": {"image_size": 64, "layers": [1, 1, 1, 1], "width": 32, "patch_size": None},
    "text_cfg": {"context_length": 32, "vocab_size": 49408, "width": 128, "heads": 4, "layers": 2},
}
RATES = (1e-3, 3e-4)
LAUNCH = (
    "import sys, open_clip; open_clip.add_model_config(sys.argv[1]); "
    "from open_clip_train.main import main; main(sys.argv[2:])"
)
FIXED = ("--csv-separator", ",", "--precision", "fp32", "--workers", "2", "--batch-size", "128", "--wd", "0.1")


def emoji(args: argparse.Namespace) -> None:
    """Recalls on the held-out pairs after the same wall time."""
    with tempfile.TemporaryDirectory() as folder:
        data = recognise(args.data, "align")
        held = data.split("val")
        if "olhar" in args.sides:
            start = time.monotonic()
            run = olhar.train(args.data, run=f"{folder}/run", task="align", budget=args.budget)
            took = time.monotonic() - start
            show(f"olhar, {run.facts['model']['name']}, {took:.0f} s in all", run_scores(run, held))
        pairs = {split: f"{folder}/{split}.csv" for split in ("train", "val")}
        for split, path in pairs.items():
            with Path(path).open("w", newline="", encoding="utf-8") as file:
                rows = [(str(r.image), caption) for r in data.split(split) for caption in r.captions]
                csv.writer(file).writerows([("filepath", "title"), *rows])
        (Path(folder) / "olhar-beside.json").write_text(json.dumps(THEIRS))
        budget = parse_duration(args.budget)
        for lr in RATES if "open_clip" in args.sides else ():
            seconds = open_clip(folder, pairs["train"], lr, epochs=1)
            two = open_clip(folder, pairs["train"], lr, epochs=2)
            epoch = max(two - seconds, 0.1)
            epochs = max(1, int((budget - (seconds - epoch)) / epoch))
            took = open_clip(folder, pairs["train"], lr, epochs)
            show(f"open_clip, lr {lr:g}, {epochs} epochs, {took:.0f} s in all", their_scores(folder, epochs, held))


def open_clip(folder: str, pairs: str, lr: float, epochs: int) -> float:
    """Train by open_clip's own program; returns its seconds. Its weights are in `folder`/logs/run/checkpoints."""
    shutil.rmtree(f"{folder}/logs", ignore_errors=True)
    line = [sys.executable, "-c", LAUNCH, f"{folder}/olhar-beside.json", "--train-data", pairs, *FIXED]
    line += ["--csv-img-key", "filepath", "--csv-caption-key", "title", "--model", "olhar-beside"]
    line += ["--lr", str(lr), "--epochs", str(epochs), "--warmup", "50", "--save-frequency", str(epochs)]
    line += ["--logs", f"{folder}/logs", "--name", "run"]
    start = time.monotonic()
    done = subprocess.run(line, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return time.monotonic() - start


@torch.inference_mode()
def their_scores(folder: str, epochs: int, records: list[Record]) -> dict[str, float]:
    """The recalls of what open_clip learnt, images and captions prepared as it prepares them."""
    import open_clip

    open_clip.add_model_config(f"{folder}/olhar-beside.json")
    weights = f"{folder}/logs/run/checkpoints/epoch_{epochs}.pt"
    model, _, prepare = open_clip.create_model_and_transforms("olhar-beside")
    state = torch.load(weights, map_location="cpu", weights_only=True)["state_dict"]
    model.load_state_dict({name.removeprefix("module."): tensor for name, tensor in state.items()})
    model.eval()
    tokenizer = open_clip.get_tokenizer("olhar-beside")
    captions = [caption for record in records for caption in record.captions]
    images = torch.stack([prepare(Image.open(str(record.image))) for record in records])
    image = torch.cat([model.encode_image(some, normalize=True) for some in images.split(64)])
    text = torch.cat([model.encode_text(some, normalize=True) for some in tokenizer(captions).split(64)])
    return scores(image, text, records)


@torch.inference_mode()
def run_scores(run: olhar.Run, records: list[Record]) -> dict[str, float]:
    """The recalls of a run."""
    reader = reader_of(run)
    run.task.eval()
    image = torch.cat([reader.task.read_images(batch).whole for batch in run.loader(records, 64).epoch(0)])
    return scores(image, reader.vectors([caption for r in records for caption in r.captions]), records)


def scores(image: Tensor, text: Tensor, records: list[Record]) -> dict[str, float]:
    """Recalls of both ways; captions that are equal are one."""
    captions = [caption for record in records for caption in record.captions]
    owner = torch.tensor([i for i, record in enumerate(records) for _ in record.captions])
    _, place = name_keys(captions).unique(return_inverse=True)
    first = torch.tensor([place.tolist().index(k) for k in range(int(place.max()) + 1)])
    belongs = torch.zeros(len(image), len(first), dtype=torch.bool)
    belongs[owner, place] = True
    return {name: float(value) for name, value in ranks(image, text[first], belongs).scores().items()}


def show(name: str, values: dict[str, float]) -> None:
    recalls = [f"{way} @1 {values[f'{way}_recall_1']:.1%} @5 {values[f'{way}_recall_5']:.1%}" for way in WAYS]
    print(f"{name}: {', '.join(recalls)} (chance @5 {values['recall_5_chance']:.1%})", flush=True)


WAYS = ("image_to_text", "text_to_image")


def shapes(args: argparse.Namespace) -> None:
    """Recall at 1 on captions of the test, whose pairs of colour and shape the training never showed together."""
    with tempfile.TemporaryDirectory() as folder:
        run = olhar.train("shapes", run=f"{folder}/run", task="align", budget=args.budget)
        records = recognise("shapes", "align").split("test")
        different = list({record.captions[0]: record for record in records}.values())[:100]
        print(f"{len(different)} captions that differ")
        show("olhar", run_scores(run, different))


def encode(args: argparse.Namespace) -> None:
    """CLIP ViT-B/32's image tower with the same weights: images a second, batches of 16."""
    import open_clip

    theirs, _, _ = open_clip.create_model_and_transforms("ViT-B-32-quickgelu")
    parts = CLIPS["clip-vit-b32"]
    image = encoder(parts["image"], 3, (224, 224), **parts["image_args"])
    ours = clip(image, text_encoder(parts["text"], 49408, 77, 49407), parts["width"])
    from olhar.models.clip_names import clip_names

    ours.load_state_dict(clip_names(theirs.state_dict()))
    ours.eval()
    theirs.eval()
    images = torch.randn(16, 3, 224, 224)
    with torch.inference_mode():
        bf16 = torch.autocast("cpu", torch.bfloat16)
        exact = normalize(theirs.encode_image(images), dim=1)
        with bf16:
            quick = ours.encode_image(images)
        print(f"cosine of both embeddings at least {float((exact * quick).sum(1).min()):.5f}")

        def fast() -> None:
            with torch.autocast("cpu", torch.bfloat16):
                ours.encode_image(images)

        sides = {
            "olhar bf16": fast,
            "olhar fp32": lambda: ours.encode_image(images),
            "open_clip": lambda: theirs.encode_image(images),
        }
        times: dict[str, list[float]] = {name: [] for name in sides}
        for turn in range(args.turns + 1):
            for name, act in sides.items():
                start = time.perf_counter()
                act()
                if turn:  # the first warms up
                    times[name].append(16 / (time.perf_counter() - start))
    for name, speeds in times.items():
        print(f"{name}: {statistics.median(speeds):.1f} [{min(speeds):.1f}, {max(speeds):.1f}] images/s")


def search(args: argparse.Namespace) -> None:
    """A query among 100,000 images, vectors of 128 and 512 numbers, in three number formats."""
    for width in (128, 512):
        vectors = normalize(torch.randn(100_000, width), dim=1)
        query = vectors[17]
        for dtype in (torch.float32, torch.bfloat16, torch.float16):
            held, asked, times = vectors.to(dtype), query.to(dtype), []
            for turn in range(args.turns + 1):
                start = time.perf_counter()
                nearest(held, asked, 12)
                if turn:
                    times.append(1000 * (time.perf_counter() - start))
            spread = f"[{min(times):.1f}, {max(times):.1f}]"
            print(f"{width} numbers, {str(dtype).partition('.')[2]}: {statistics.median(times):.1f} {spread} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    one = verbs.add_parser("emoji")
    one.add_argument("data")
    one.add_argument("--budget", default="10min")
    one.add_argument("--sides", nargs="+", choices=("olhar", "open_clip"), default=("olhar", "open_clip"))
    one.set_defaults(act=emoji)
    two = verbs.add_parser("shapes")
    two.add_argument("--budget", default="5min")
    two.set_defaults(act=shapes)
    for name, act in (("encode", encode), ("search", search)):
        verb = verbs.add_parser(name)
        verb.add_argument("--turns", type=int, default=20)
        verb.set_defaults(act=act)
    args = parser.parse_args()
    show_machine()
    args.act(args)


if __name__ == "__main__":
    main()
