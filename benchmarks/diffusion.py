"""The denoiser beside diffusers' UNet2DConditionModel of the same layers: a step of training, and one of drawing.

    python benchmarks/diffusion.py train [--repeats 7] [--sizes tiny,small]
    python benchmarks/diffusion.py stable [--repeats 7] [--precisions fp32,bf16]

Both have the same widths, blocks, attention and text, and are given the same images; diffusers' as it comes (eager).
In training theirs has float32 and its default norm of 32 groups, ours what `olhar train` would choose here: the fastest
of float32 and bfloat16, contiguous and channels_last. "stable" is Stable Diffusion's U-Net at a quarter of its width,
asked once about latents of 32x32, with the same weights in the same precision; ours in the memory format that `olhar
generate` would choose. Steps of both alternate, so that a slow moment slows both; memory is the most that a program of
its own takes beyond what it has before the network is made.
"""

import argparse
import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context

import psutil
import torch
from diffusers import UNet2DConditionModel, logging

from machine import show_machine, spread
from olhar.models.denoiser import SIZES, Denoiser
from olhar.models.sd_names import unet_weights
from olhar.train.device import DTYPES, FORMATS, autocast, choose_precision, keep_memory, to_format

CONTEXT, TOKENS = 128, 16
CASES = {"tiny": ("denoiser-tiny", 32, 32), "small": ("denoiser-small", 32, 16), "large": ("denoiser", 32, 8)}
# A quarter of Stable Diffusion's widths; its 32 groups do not divide 80 channels.
QUARTER, GROUPS, SIDE = (80, 160, 320, 320), 16, 32
SEEN = {"noisy": (1, 4, SIDE, SIDE), "text": (1, 77, 768)}


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


def asking(side: str, precision: str) -> tuple[torch.nn.Module, Callable[[], torch.Tensor]]:
    """The U-Net of Stable Diffusion at a quarter of its width, "ours" or "diffusers", and what asks it once."""
    torch.manual_seed(0)
    dtype = DTYPES.get(precision, torch.float32)
    noisy, text = (torch.randn(shape, dtype=dtype) for shape in SEEN.values())
    level = torch.tensor([500])
    if side == "ours":
        args = {**SIZES["stable-diffusion"], "widths": QUARTER, "groups": GROUPS}
        ours = Denoiser(4, (SIDE, SIDE), **args).to(dtype).eval()

        def ask() -> torch.Tensor:
            with torch.inference_mode(), autocast(torch.device("cpu"), precision):
                return ours(noisy, level, context=text)

        return ours, ask
    heads = {"cross_attention_dim": 768, "attention_head_dim": 8}
    other = UNet2DConditionModel(block_out_channels=QUARTER, norm_num_groups=GROUPS, **heads).to(dtype).eval()

    def reference() -> torch.Tensor:
        with torch.inference_mode():
            return other(noisy, level, text).sample

    return other, reference


def memory(side: str, precision: str) -> float:
    """MB that one of them takes at most, in a process of its own."""
    before = psutil.Process().memory_info().rss
    asking(side, precision)[1]()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before) / 1e6


def stable(args: argparse.Namespace) -> None:
    """One line a precision: what a step takes, in time and memory, and how many times faster ours is."""
    for precision in args.precisions.split(","):
        (ours, ask), (other, reference) = asking("ours", precision), asking("diffusers", precision)
        ours.load_state_dict(unet_weights(other.state_dict()))
        took: dict[str, list[float]] = {"contiguous": [], "channels_last": [], "diffusers": []}
        for turn in range(args.repeats + 1):
            for name, times in took.items():
                if name in FORMATS:
                    to_format(ours, name)
                start = time.perf_counter()
                said = (reference if name == "diffusers" else ask)()
                if turn:  # the first of each warms up
                    times.append(1000 * (time.perf_counter() - start))
        apart = float((ask().float() - said.float()).abs().max())
        layout = min(FORMATS, key=lambda name: statistics.median(took[name]))
        ratio = statistics.median(b / a for a, b in zip(took[layout], took["diffusers"], strict=True))
        with ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as apart_from:
            mine, their = (apart_from.submit(memory, side, precision).result() for side in ("ours", "diffusers"))
        count = sum(p.numel() for p in other.parameters()) / 1e6
        print(
            f"{precision}, {count:.1f}M parameters, answers {apart:.1e} apart: ours ({layout}) "
            f"{spread(took[layout], 0)} ms, {mine:.0f} MB, diffusers {spread(took['diffusers'], 0)} ms, "
            f"{their:.0f} MB: {ratio:.2f} times faster"
        )


def training(args: argparse.Namespace) -> None:
    """One line a size."""
    keep_memory()
    for case in args.sizes.split(","):
        compare(*CASES[case], args.repeats)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    for name, act, option, default in (
        ("train", training, "--sizes", "tiny,small"),
        ("stable", stable, "--precisions", "fp32,bf16"),
    ):
        verb = verbs.add_parser(name)
        verb.add_argument("--repeats", type=int, default=7)
        verb.add_argument(option, default=default)
        verb.set_defaults(act=act)
    found = parser.parse_args()
    show_machine()
    logging.set_verbosity_error()
    found.act(found)


if __name__ == "__main__":
    main()
