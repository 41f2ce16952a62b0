"""Put a finished run into the package, in half precision, so that it comes along by its name.

    python benchmarks/ship.py RUN NAME

It keeps what generating needs: run.json, with the command that made it, config.yaml, the tokenizer and the weights.
"""

import json
import shutil
import sys
from pathlib import Path

from safetensors.torch import load_file, save_file

from olhar.shipped import FOLDER


def main() -> None:
    run, to = Path(sys.argv[1]), FOLDER / sys.argv[2]
    shutil.rmtree(to, ignore_errors=True)
    to.mkdir(parents=True)
    tensors = load_file(run / "model.safetensors")
    halves = {name: t.half() if t.is_floating_point() else t for name, t in tensors.items()}
    save_file(halves, to / "model.safetensors")
    for name in ("config.yaml", "tokenizer.json"):
        shutil.copy(run / name, to / name)
    facts = json.loads((run / "run.json").read_text(encoding="utf-8"))
    # what was fastest where it was trained may be emulated elsewhere
    facts["precision"] = {"choice": "fp32", "memory_format": "channels_last", "table": []}
    (to / "run.json").write_text(json.dumps(facts, indent=1, ensure_ascii=False), encoding="utf-8")


if __name__ == "__main__":
    main()
