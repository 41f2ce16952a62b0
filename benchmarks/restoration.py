"""Noise taken away beside classical filters, and images said in twelve times fewer numbers.

    python benchmarks/restoration.py denoise path/to/camvid/images [--budget 5min --sigma 25]
    python benchmarks/restoration.py compress path/to/emoji/images [--budget 10min]

`denoise` needs `pip install opencv-python-headless`. Every method is given the same noisy PNG files of the test images;
the filters are tried at every setting of a grid on noisy validation images, and measured at their best one.
"""

import argparse
import itertools
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import torch
from PIL import Image

import olhar
from machine import show_machine
from olhar.data.decode import decode
from olhar.data.recognise import recognise
from olhar.metrics import psnr, ssim

Filter = Callable[[np.ndarray], np.ndarray]


def filters() -> dict[str, dict[str, Filter]]:
    """By name and by setting."""
    import cv2

    return {
        "Gaussian": {f"σ {s:g}": lambda x, s=s: cv2.GaussianBlur(x, (0, 0), s) for s in (0.5, 0.7, 0.9, 1.1, 1.4)},
        "bilateral": {
            f"colour {c:g}, space {s:g}": lambda x, c=c, s=s: cv2.bilateralFilter(x, 0, c, s)
            for c, s in itertools.product((40, 60, 80, 110, 150), (1, 1.5, 2, 3))
        },
        "non-local means": {
            f"h {h:g}, patch {p}": lambda x, h=h, p=p: cv2.fastNlMeansDenoisingColored(x, None, h, h, p, 21)
            for h, p in itertools.product((11, 14, 17, 20, 24, 28), (3, 5, 7))
        },
    }


def both(made: Iterable[np.ndarray], clean: Iterable[np.ndarray]) -> tuple[float, float]:
    """Mean PSNR in dB and SSIM over the images."""
    pairs = [(batch(a), batch(b)) for a, b in zip(made, clean, strict=True)]
    return float(np.mean([psnr(a, b) for a, b in pairs])), float(np.mean([ssim(a, b) for a, b in pairs]))


def batch(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]


def pixels(path: Path) -> np.ndarray:
    return decode(path).permute(1, 2, 0).numpy()


def noisy(clean: list[np.ndarray], sigma: float) -> list[np.ndarray]:
    draw = np.random.default_rng(0)
    return [np.clip(x + draw.normal(0, sigma, x.shape), 0, 255).round().astype(np.uint8) for x in clean]


def denoise(args: argparse.Namespace) -> None:
    """The trained model beside the filters at their best."""
    collection = recognise(args.data, "reconstruct")
    clean = {split: [pixels(r.image) for r in collection.split(split)] for split in ("val", "test")}
    given = {split: noisy(images, args.sigma) for split, images in clean.items()}
    before = show(both(given["test"], clean["test"]))
    print(f"{len(clean['test'])} test images, noise of {args.sigma:g}: as they are {before}", flush=True)
    some = slice(0, 20)
    for name, settings in filters().items():
        tried = {s: both(map(f, given["val"][some]), clean["val"][some])[0] for s, f in settings.items()}
        best = max(tried, key=tried.__getitem__)
        start = time.perf_counter()
        made = list(map(settings[best], given["test"]))
        took = (time.perf_counter() - start) / len(made)
        print(f"  {name:16} {show(both(made, clean['test']))}  {1000 * took:6.1f} ms an image ({best})", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        for i, image in enumerate(given["test"]):
            Image.fromarray(image).save(Path(folder) / f"{i:04}.png")
        settings = {"task": "reconstruct", "corruption": "noise", "noise": f"{args.sigma:g}", "budget": args.budget}
        run = olhar.train(args.data, run=f"{folder}/run", **settings)
        files = sorted(Path(folder).glob("*.png"))
        start = time.perf_counter()
        made = [p.image.permute(1, 2, 0).numpy() for p in run.predict(files)]
        took = (time.perf_counter() - start) / len(made)
        print(f"  {'olhar':16} {show(both(made, clean['test']))}  {1000 * took:6.1f} ms an image ({args.budget})")


def show(values: tuple[float, float]) -> str:
    return f"{values[0]:.2f} dB, SSIM {values[1]:.4f}"


def compress(args: argparse.Namespace) -> None:
    """A variational autoencoder of images at 64 px whose latent has 12 times fewer numbers."""
    with tempfile.TemporaryDirectory() as folder:
        start = time.monotonic()
        config = {"task": "reconstruct", "model": "vae", "image_size": 64, "budget": args.budget}
        run = olhar.train(args.data, run=f"{folder}/run", test_fraction=0.1, **config)
        print(f"{time.monotonic() - start:.1f} s, latent {run.facts['model']['latent']}: {run.result['test']}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    one = verbs.add_parser("denoise")
    one.add_argument("data")
    one.add_argument("--budget", default="5min")
    one.add_argument("--sigma", type=float, default=25)
    one.set_defaults(act=denoise)
    two = verbs.add_parser("compress")
    two.add_argument("data")
    two.add_argument("--budget", default="10min")
    two.set_defaults(act=compress)
    args = parser.parse_args()
    show_machine()
    args.act(args)


if __name__ == "__main__":
    main()
