"""Trained models that come along, by their names: run folders that hold what generating needs, and no more.

How each was made is in its run.json, and in benchmarks/README.md; benchmarks/ship.py puts it here.
"""

from pathlib import Path

FOLDER = Path(__file__).parent


def shipped(name: str | Path) -> Path | None:
    """The folder of the model of this name; None where none comes along, or a run of the person's own is there."""
    along, own = FOLDER / name, Path(name) / "run.json"
    one_word = len(Path(name).parts) == 1
    return along if one_word and not own.exists() and (along / "run.json").exists() else None
