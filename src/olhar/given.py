"""What a command was given is there: answered before torch is imported, the nearest name offered."""

import re
from pathlib import Path

from olhar.data.names import EMBEDDED, TORCHVISION
from olhar.errors import UserError, nearest, nearest_path
from olhar.shipped import shipped

SETS = (*EMBEDDED, *TORCHVISION)


def must_exist(data: str) -> None:
    """Data that is neither a path nor the name of a set."""
    path, name = Path(data).expanduser(), data.partition(":")[0]
    if path.exists() or name.lower().replace("_", "-") in SETS:
        return
    if path.suffix or len(path.parts) > 1:
        raise UserError(f"There is no '{data}': {nearest_path(path)}")
    here = [p.name for p in Path().iterdir() if not p.name.startswith(".")]
    close = nearest(name, [*SETS, *here])
    hint = close if close.startswith("did") else f"known sets are {', '.join(SETS[:6])} and {len(SETS) - 6} more."
    raise UserError(f"'{data}' is neither a path nor the name of a set: {hint}")


def run_must_exist(folder: str, otherwise: str = "") -> None:
    """The same for a run folder; `otherwise` says where else it may be."""
    path = Path(folder)
    if shipped(folder):
        raise UserError(f"'{folder}' comes along for `olhar generate` alone: give a run that was trained here.")
    if not path.exists():
        raise UserError(f"There is no run '{folder}'{otherwise}: {nearest_path(path)}")
    if not (path / "run.json").exists():
        inside = sorted(p.parent.name for p in path.glob("*/run.json")) if path.is_dir() else []
        hint = f"the runs inside it are {', '.join(inside[:6])}" if inside else "a run is made by `olhar train DATA`"
        raise UserError(f"'{folder}' is not a run folder (it has no run.json): {hint}.")


def is_published(name: str, download: bool) -> bool:
    """Whether this is a Stable Diffusion, in a folder or on the Hub, and no run."""
    index = "model_index.json"
    if Path(name).is_file():
        raise UserError(f"{name} is one file: give a run, or the folder of a Stable Diffusion, which holds {index}.")
    if Path(name).exists() or not re.fullmatch(r"[\w.-]+/[\w.-]+", name):
        return Path(name, index).is_file()
    if download:
        return True
    from huggingface_hub import try_to_load_from_cache  # what was fetched once need not be again

    return isinstance(try_to_load_from_cache(name, index), str)
