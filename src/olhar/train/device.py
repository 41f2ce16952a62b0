"""The machine: what it is, which number format it is fastest in, and the seeds."""

import ctypes
import os
import platform
import random
import sys
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor, nn

FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
DTYPES = {"bf16": torch.bfloat16, "fp16": torch.float16}


def pick_device(wanted: str) -> torch.device:
    """cuda where there is one, else Apple's mps, else the CPU."""
    if wanted != "auto":
        return torch.device(wanted)
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def describe_machine(device: torch.device) -> dict[str, Any]:
    """Plain facts for run.json and the report."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return {
        "cpu": cpu_name(),
        "cores": os.cpu_count() or 1,
        "threads": torch.get_num_threads(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30, 1),
        "device": name,
    }


def cpu_name() -> str:
    """The processor's name where the system tells it (Linux), else its architecture."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:  # noqa: PTH123 - not a file of ours
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
        return names[0]
    except (OSError, IndexError):
        return platform.processor() or platform.machine()


def keep_memory() -> None:
    """Ask glibc to keep the memory of large tensors for the next step instead of returning it to the system.

    Every step frees and takes the same activations. Returned and taken again, each page has to be cleared: 5 to 15%
    of a step of a small network. Does nothing where the C library is another one.
    """
    trim_threshold, top_pad, mmap_max = -1, -2, -4  # of malloc.h
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if mallopt is not None:
        mallopt(mmap_max, 0)
        mallopt(trim_threshold, -1)  # never
        mallopt(top_pad, 64 * 2**20)


def seed_everything(seed: int) -> None:
    """The three generators that layers and libraries draw from. Augmentation and order have their own."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


@dataclass(frozen=True)
class Precision:
    """The fastest way to run one training step here, and what each way took."""

    choice: str  # "fp32", "bf16", "fp16"
    memory_format: str  # "contiguous", "channels_last"
    table: tuple[dict[str, Any], ...] = ()  # {"precision", "memory_format", "ms"} a row

    @property
    def seconds(self) -> float | None:
        """A step's time in the chosen way, where it was measured."""
        return self.table[0]["ms"] / 1000 if self.table else None


def choose_precision(
    step: Callable[[int], Tensor],
    model: nn.Module,
    device: torch.device,
    batch_size: int,
    precision: str = "auto",
    memory_format: str = "auto",
    seconds: float = 4.0,
) -> Precision:
    """Time one forward and backward in every allowed combination, on the actual model and batch.

    `step(n)` runs the forward pass of n images of the batch and returns the loss; the model's gradients and buffers
    are left as they were. bf16 must win by 15%, because it costs accuracy; fp16 is only ever used when asked
    for. On a CPU bf16 is not always faster: without instructions for it, it is ten times slower.
    """
    formats = ["channels_last", "contiguous"] if memory_format == "auto" else [memory_format]
    precisions = [precision] if precision != "auto" else ["fp32", "bf16"]
    combinations = [(p, f) for p in precisions for f in formats]
    if len(combinations) == 1:
        to_format(model, combinations[0][1])
        return Precision(*combinations[0])

    buffers = [b.clone() for b in model.buffers()]

    def round_of(n: int, left: list[tuple[str, str]]) -> dict[tuple[str, str], float]:
        """Interleaved, so that a machine that slows down for a moment slows every candidate alike."""
        return {(p, f): timed(lambda: step(n), model, device, p, f) for p, f in left}

    # A few images tell the hopeless apart, in a fraction of the time; the first look warms up.
    few = min(batch_size, max(2, batch_size // 16))
    round_of(2, combinations)
    first = round_of(few, combinations)
    left = [key for key in combinations if first[key] <= 2 * min(first.values())]
    best = round_of(batch_size, left)
    start = time.perf_counter()
    while time.perf_counter() - start < seconds and len(left) > 1:
        best = {key: min(best[key], took) for key, took in round_of(batch_size, left).items()}
    with torch.no_grad():
        for live, kept in zip(model.buffers(), buffers, strict=True):
            live.copy_(kept)
    model.zero_grad(set_to_none=True)

    # and channels_last wins a near tie, so that the same machine chooses alike every time
    handicap = {"fp32": 1.0, "bf16": 1.15, "fp16": 1.15, "channels_last": 1.0, "contiguous": 1.05}
    ranked = sorted(best, key=lambda key: best[key] * handicap[key[0]] * handicap[key[1]])
    table = tuple({"precision": p, "memory_format": f, "ms": round(1000 * best[p, f], 2)} for p, f in ranked)
    to_format(model, ranked[0][1])
    return Precision(*ranked[0], table)


def images_per_second(model: nn.Module, shape: tuple[int, int, int], device: torch.device) -> float:
    """Training speed of a network on random images of `shape` (C, H, W): forward and backward in the faster number
    format, the better of two tries. Small images are taken many at a time, as in training."""
    to_format(model, "channels_last")
    many = max(16, min(128, 2**17 // (shape[1] * shape[2])))

    def speed(precision: str, batch: int) -> float:
        images = torch.randn(batch, *shape, device=device).contiguous(memory_format=torch.channels_last)
        step = lambda: model(images).float().square().mean()  # noqa: E731 - one expression, used once
        took = [timed(step, model, device, precision, "channels_last") for _ in range(3)][1:]  # the first warms up
        return batch / min(took)

    # a few images tell whether the machine has instructions for bf16: emulated it is ten times slower
    faster = speed("bf16", 2) > speed("fp32", 2) / 2
    return max(speed(precision, many) for precision in (("fp32", "bf16") if faster else ("fp32",)))


def timed(step: Callable[[], Tensor], model: nn.Module, device: torch.device, precision: str, layout: str) -> float:
    """Seconds of one forward and backward."""
    to_format(model, layout)
    synchronize(device)
    start = time.perf_counter()
    with autocast(device, precision):
        loss = step()
    loss.backward()
    synchronize(device)
    return time.perf_counter() - start


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """While this holds, heavy operations compute in `precision`."""
    return nullcontext() if precision == "fp32" else torch.autocast(device.type, DTYPES[precision])


def to_format(model: nn.Module, layout: str) -> None:
    """Lay the weights of the convolutions out as `layout`; the values stay the same."""
    for parameter in model.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=FORMATS[layout])
            parameter.grad = None


def backward(accelerator: Accelerator, loss: Tensor, accumulate: int = 1) -> None:
    """The gradient of one of `accumulate` batches' mean loss, added to what the parameters hold.

    Only fp16 needs Accelerate here, to scale the loss; its wrappers of backward and step look for an optional
    package on the disk each time, 0.2 ms a step.
    """
    loss = loss if accumulate == 1 else loss / accumulate
    if accelerator.scaler:
        accelerator.backward(loss)
    else:
        loss.backward()


def agree(accelerator: Accelerator, progress: float, *flags: bool) -> tuple[float, ...]:
    """Clocks and signals differ between processes; those of the first hold for all."""
    if accelerator.num_processes == 1:
        return progress, *flags
    told = torch.tensor([progress, *flags], dtype=torch.float64, device=accelerator.device)
    broadcast(told)  # in place
    return tuple(told.tolist())


def synchronize(device: torch.device) -> None:
    """Wait for the accelerator, so that a clock means something."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
