"""Kill a training at random moments with SIGKILL, resume it, and compare the end with a run nobody disturbed.

    python benchmarks/resuming.py [--kills 10] [--epochs 12]

Everything of the final checkpoint is compared bit for bit: weights, average, optimizer, random states, position.
"""

import argparse
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

from machine import show_machine

OLHAR = [sys.executable, "-m", "olhar"]


def begin(run: Path, epochs: int) -> subprocess.Popen:
    # the memory format is fixed, since a measurement may choose another one where two are equally fast
    fixed = ["--train.memory_format", "channels_last", "--train.precision", "fp32", "--train.checkpoint_seconds", "0.3"]
    command = [*OLHAR, "train", "digits", "--epochs", str(epochs), "--run", str(run), *fixed]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def end_of(run: Path) -> tuple[dict[str, torch.Tensor], dict]:
    (last,) = (run / "checkpoint").glob("step-*")
    state = json.loads((last / "state.json").read_text())
    for varying in ("seconds", "log_bytes"):
        del state["position"][varying]
    return load_file(last / "tensors.safetensors") | load_file(run / "model.safetensors"), state


def identical(a: tuple[dict[str, torch.Tensor], dict], b: tuple[dict[str, torch.Tensor], dict]) -> bool:
    return a[1] == b[1] and a[0].keys() == b[0].keys() and all(torch.equal(a[0][k], b[0][k]) for k in a[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    show_machine()
    random.seed(args.seed)
    equal = 0
    with tempfile.TemporaryDirectory() as scratch:
        straight = Path(scratch) / "straight"
        begin(straight, args.epochs).wait()
        expected = end_of(straight)
        total = expected[1]["position"]["step"]
        for kill in range(args.kills):
            run, at = Path(scratch) / f"killed-{kill}", random.uniform(0.02, 0.95)
            process = begin(run, args.epochs)
            # until the log has reached the wanted share of the steps
            while process.poll() is None and steps_done(run) < at * total:
                time.sleep(0.02)
            process.send_signal(signal.SIGKILL)
            process.wait()
            done, checkpoints = steps_done(run), len(list((run / "checkpoint").glob("step-*")))
            subprocess.run(
                [*OLHAR, "resume", str(run)], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
            )
            same = identical(end_of(run), expected)
            equal += same
            print(
                f"killed at step {done} of {total}, {checkpoints} checkpoint: {'identical' if same else 'DIFFERENT'}",
                flush=True,
            )
    print(f"\n{equal} of {args.kills} ends are identical, bit for bit")
    sys.exit(equal != args.kills)


def steps_done(run: Path) -> int:
    """The last step that the log knows."""
    try:
        return json.loads((run / "metrics.jsonl").read_text().splitlines()[-1])["step"]
    except (OSError, IndexError, json.JSONDecodeError):
        return 0


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
