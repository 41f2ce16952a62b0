"""Test accuracy of the plain commands, and the wall time from the command to the report.

    python benchmarks/accuracy.py digits [--runs 3]                      # olhar train digits
    python benchmarks/accuracy.py path/to/cifar10 --budget 10min         # olhar train path/to/cifar10 --budget 10min

The accuracy is of one model on each test image as it is: no averaging over flips or crops.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from machine import show_machine, spread


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--budget")
    parser.add_argument("--runs", type=int, default=1, help="with seeds 0, 1, 2 ...")
    args = parser.parse_args()
    show_machine()
    accuracies, seconds = [], []
    for seed in range(args.runs):
        with tempfile.TemporaryDirectory() as folder:
            run = Path(folder) / "run"
            command = [sys.executable, "-m", "olhar", "train", args.data, "--run", str(run), "--seed", str(seed)]
            command += ["--budget", args.budget] if args.budget else []
            start = time.monotonic()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            seconds.append(time.monotonic() - start)
            facts = json.loads((run / "run.json").read_text())
            assert (run / "report.html").exists()
        accuracies.append(100 * facts["result"]["test"]["accuracy"])
        epochs = json.dumps(round(facts["result"]["best_epoch"], 2))
        print(
            f"seed {seed}: {accuracies[-1]:.2f}%, {seconds[-1]:.1f} s, {facts['model']['name']}, epoch {epochs}",
            flush=True,
        )
    print(f"\ntest accuracy {spread(accuracies, 2)} %, wall time {spread(seconds)} s")


if __name__ == "__main__":
    main()
