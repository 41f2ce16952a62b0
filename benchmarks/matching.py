"""Milliseconds to give anchors their objects and to encode them, beside torchvision's matcher and coder.

python benchmarks/matching.py [--images 32] [--objects 20] [--side 268] [--turns 9]

Both sides get the same boxes and the same anchors (nine at each position, some 10,000 in all) and take turns. Each
gives a batch its assignment at an IoU of 0.5, with a grey zone down to 0.4 and the best anchor for every object, and
the four offsets of the anchors that have one: torchvision an image at a time, as its RetinaNet does.
"""

import argparse
import time
from collections.abc import Callable

import torch
from torch import Tensor
from torchvision.models.detection._utils import BoxCoder, Matcher
from torchvision.ops import box_iou

from machine import show_machine, spread
from olhar.ops.anchors import Grid, shapes
from olhar.ops.matching import Objects, assign, targets

CLASSES = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=32)
    parser.add_argument("--objects", type=int, default=20)
    parser.add_argument("--side", type=int, default=268, help="of the images; with a stride of 8: 10,404 anchors")
    parser.add_argument("--turns", type=int, default=9)
    args = parser.parse_args()
    show_machine()
    grid = Grid.over((args.side, args.side), [8], [shapes((20, 50, 100), (0.8, 1, 1.25))])
    anchors = grid.boxes
    generator = torch.Generator().manual_seed(0)
    centre = torch.rand(args.images, args.objects, 2, generator=generator) * args.side
    half = 8 + torch.rand(args.images, args.objects, 2, generator=generator) * 50
    boxes = list(torch.cat([centre - half, centre + half], -1))
    labels = [torch.zeros(args.objects, dtype=torch.int64)] * args.images
    print(f"{args.images} images, {args.objects} objects each, {len(grid):,} anchors")

    def olhar() -> tuple[Tensor, Tensor]:
        objects = Objects.of(boxes, labels)
        owner = assign(grid, objects, 0.5, 0.4)
        return owner, targets(grid, objects, owner, CLASSES).offsets

    def torchvision() -> tuple[Tensor, Tensor]:
        matcher, coder = Matcher(0.5, 0.4, allow_low_quality_matches=True), BoxCoder((1.0, 1.0, 1.0, 1.0))
        owners, offsets = [], []
        for own in boxes:
            owner = matcher(box_iou(own, anchors))
            has = owner >= 0
            owners.append(owner)
            offsets.append(coder.encode_single(own[owner[has]], anchors[has]))
        return torch.stack(owners), torch.cat(offsets)

    sides: dict[str, Callable[[], tuple[Tensor, Tensor]]] = {"olhar": olhar, "torchvision": torchvision}
    took: dict[str, list[float]] = {name: [] for name in sides}
    ours, theirs = olhar()[0], torchvision()[0]
    agree = (ours == theirs).float().mean().item()
    print(
        f"{agree:.2%} of the anchors agree; torchvision gives an object no best anchor where another overlaps it more"
    )
    for _ in range(args.turns):
        for name, side in sides.items():
            start = time.perf_counter()
            side()
            took[name].append(1000 * (time.perf_counter() - start))
    for name, values in took.items():
        print(f"{name:12} {spread(values)} ms")
    print(f"ratio        {spread([b / a for a, b in zip(took['olhar'], took['torchvision'], strict=True)])}")


if __name__ == "__main__":
    main()
