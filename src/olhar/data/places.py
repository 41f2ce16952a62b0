"""Where olhar keeps what it can make again."""

import os
from pathlib import Path


def cache_folder() -> Path:
    """$OLHAR_CACHE, else $XDG_CACHE_HOME/olhar, else ~/.cache/olhar."""
    if chosen := os.environ.get("OLHAR_CACHE"):
        return Path(chosen)
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "olhar"
