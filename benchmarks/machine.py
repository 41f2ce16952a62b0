"""What every benchmark prints first, and how it sums up repeated measurements."""

import statistics
from collections.abc import Sequence

import torch

from olhar.train.device import describe_machine


def show_machine() -> None:
    """One line: the processor, its cores, the library."""
    facts = describe_machine(torch.device("cpu"))
    print(f"{facts['cpu']}, {facts['cores']} cores, {facts['memory_gb']} GB, torch {torch.__version__}\n", flush=True)


def spread(values: Sequence[float], digits: int = 1) -> str:
    """Median [least, greatest]."""
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}, {max(values):.{digits}f}]"
