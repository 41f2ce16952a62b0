"""Every test runs without a network, and so does every program a test starts. Small data and a run to share."""

import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

if "PYTEST_XDIST_WORKER" in os.environ:  # several at once, a core each: before torch is imported, and for programs too
    os.environ["OMP_NUM_THREADS"] = "1"

LOCAL = ("localhost", "127.0.0.1", "::1", "0.0.0.0", "::", "")


def refuse_network(event: str, arguments: tuple[Any, ...]) -> None:
    """An audit hook: Python calls it before it looks up a name or opens a connection, whatever library asks."""
    if event == "socket.getaddrinfo":
        host = arguments[0]
    elif event in ("socket.connect", "socket.sendto"):
        address = arguments[-1]
        host = address[0] if isinstance(address, tuple) else None  # else a Unix socket: of this machine
    else:
        return
    host = host.decode() if isinstance(host, bytes) else host
    if host is not None and host not in (*LOCAL, os.uname().nodename):
        raise AssertionError(f"a test tried to reach {host}: tests run without a network")


sys.addaudithook(refuse_network)
# Programs that a test starts inherit no hook; a proxy that nobody serves stops them as well.
for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
    os.environ[name] = "http://127.0.0.1:9"


COLOURS = {"red": (220, 40, 40), "green": (40, 200, 60), "blue": (50, 70, 220)}


def paint(folder: Path, splits: tuple[str, ...] = ("train", "val", "test"), count: int = 8, side: int = 12) -> Path:
    """Class folders of noisy squares of one colour: learnt within an epoch."""
    noise = np.random.default_rng(0)
    for split in splits:
        for name, colour in COLOURS.items():
            (folder / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = np.clip(colour + noise.normal(0, 20, (side, side, 3)), 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / split / name / f"{i}.png")
    return folder


@pytest.fixture(scope="session", autouse=True)
def quick_reports():
    """What instruments draw for a report takes longer than the trainings of these tests: here there is no time for it.

    tests/inspection/test_instruments.py has a report with them.
    """
    from olhar import look

    look.SECONDS = look.SHARE = 0.0


@pytest.fixture(scope="session")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of images: red, green, blue, under train/, val/ and test/. Not to be changed."""
    return paint(tmp_path_factory.mktemp("data") / "colours")


@pytest.fixture(scope="session")
def trained(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a finished run on `colours`. Not to be changed."""
    import olhar

    folder = tmp_path_factory.mktemp("runs") / "colours-1"
    quick = {"model": "linear", "epochs": 3, "batch_size": 8, "train.precision": "fp32"}
    return olhar.train(colours, run=folder, quiet=True, **quick, **{"train.memory_format": "contiguous"}).path
