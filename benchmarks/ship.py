"""Put a finished run into the package, in half precision, so that it comes along by its name.

    python benchmarks/ship.py RUN NAME [--guidance 3 --sampler dpm2m-sde]

It keeps what generating needs: config.yaml, the tokenizer, the weights, and run.json, with the command that made the
run and, where it draws in latents, that of its autoencoder.
"""

import argparse
import json
import shutil
from pathlib import Path

from safetensors.torch import load_file, save_file

from olhar.shipped import FOLDER


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("name")
    parser.add_argument("--guidance", type=float, help="how much texts count where nobody says so")
    parser.add_argument("--sampler", help="the way back where nobody says so")
    found = parser.parse_args()
    to = FOLDER / found.name
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    tensors = load_file(found.run / "model.safetensors")
    halves = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
    save_file(halves, to / "model.safetensors")
    for name in ("config.yaml", "tokenizer.json"):
        shutil.copy(found.run / name, to / name)
    facts = json.loads((found.run / "run.json").read_text(encoding="utf-8"))
    # what was fastest where it was trained may be emulated elsewhere
    facts["precision"] = {"choice": "fp32", "memory_format": "channels_last", "table": []}
    first = found.run / "autoencoder" / "run.json"
    if first.exists():
        facts["autoencoder_command"] = json.loads(first.read_text(encoding="utf-8"))["command"]
    facts |= {name: value for name in ("guidance", "sampler") if (value := getattr(found, name)) is not None}
    (to / "run.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")
    print(f"{sum(path.stat().st_size for path in to.iterdir()) / 1e6:.1f} MB in {to}")


if __name__ == "__main__":
    main()
