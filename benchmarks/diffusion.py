"""A training step of the denoiser beside diffusers' UNet2DConditionModel of the same layers, and an image's time.

    python benchmarks/diffusion.py [--repeats 7] [--sizes tiny,small]

Both have the same widths, blocks, attention and text, and are given the same images; diffusers' as it comes (eager,
float32, its default norm of 32 groups), ours as `olhar train` would run it here: the fastest of float32 and bfloat16,
contiguous and channels_last. Steps of both alternate, so that a slow moment slows both.
"""

import argparse
import statistics
import time
from collections.abc import Callable

import torch
from diffusers import UNet2DConditionModel

from machine import show_machine, spread
from olhar.models.denoiser import SIZES, Denoiser
from olhar.train.device import FORMATS, autocast, choose_precision, keep_memory

CONTEXT, TOKENS = 128, 16
CASES = {"tiny": ("denoiser-tiny", 32, 32), "small": ("denoiser-small", 32, 16), "large": ("denoiser", 32, 8)}


def theirs(widths: tuple[int, ...], blocks: int, attention: tuple[int, ...], side: int) -> UNet2DConditionModel:
    """Their network of the same layers."""
    looks = [i in attention for i in range(len(widths))]
    return UNet2DConditionModel(
        sample_size=side,
        in_channels=3,
        out_channels=3,
        block_out_channels=widths,
        layers_per_block=blocks,
        down_block_types=tuple("CrossAttnDownBlock2D" if look else "DownBlock2D" for look in looks),
        up_block_types=tuple("CrossAttnUpBlock2D" if look else "UpBlock2D" for look in reversed(looks)),
        attention_head_dim=4,  # which they take for the number of heads
        cross_attention_dim=CONTEXT,
    )


def seconds(step: Callable[[], torch.Tensor], model: torch.nn.Module) -> float:
    """One forward and backward."""
    start = time.perf_counter()
    step().backward()
    model.zero_grad()
    return time.perf_counter() - start


def compare(name: str, side: int, batch: int, repeats: int) -> None:
    """One line: what a step takes, and how many times faster ours is."""
    torch.manual_seed(0)
    size = SIZES[name]
    ours, other = Denoiser(3, (side, side), context_width=CONTEXT, **size), theirs(**size, side=side)
    image, level, text = (
        torch.randn(batch, 3, side, side),
        torch.randint(0, 1000, (batch,)),
        torch.randn(batch, TOKENS, CONTEXT),
    )

    def step(n: int) -> torch.Tensor:
        return ours(image[:n], level[:n], context=text[:n]).float().square().mean()

    chosen = choose_precision(step, ours, torch.device("cpu"), batch)
    laid = image.contiguous(memory_format=FORMATS[chosen.memory_format])

    def mine() -> torch.Tensor:
        with autocast(torch.device("cpu"), chosen.choice):
            return ours(laid, level, context=text).float().square().mean()

    def reference() -> torch.Tensor:
        return other(image, level, text).sample.square().mean()

    both: list[tuple[float, float]] = []
    for _ in range(repeats + 1):
        both.append((seconds(mine, ours), seconds(reference, other)))
    mine_took, their_took = zip(*both[1:], strict=True)  # the first of each warms up
    ratio = statistics.median(b / a for a, b in both[1:])
    counts = " / ".join(f"{sum(p.numel() for p in m.parameters()) / 1e6:.1f}M" for m in (ours, other))
    print(
        f"{name}, {batch} images of {side} px, {counts} parameters: ours ({chosen.choice}, {chosen.memory_format}) "
        f"{spread([1000 * t for t in mine_took], 0)} ms, diffusers {spread([1000 * t for t in their_took], 0)} ms: "
        f"{ratio:.2f} times faster"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=7)
    parser.add_argument("--sizes", default="tiny,small")
    found = parser.parse_args()
    show_machine()
    keep_memory()
    for case in found.sizes.split(","):
        compare(*CASES[case], found.repeats)


if __name__ == "__main__":
    main()
