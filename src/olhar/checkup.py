"""What is in a folder of images, without training on it, and without torch where the images are files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from olhar.config import Config
from olhar.data import doctor
from olhar.data.recognise import recognise
from olhar.data.sample import Collection


@dataclass(frozen=True)
class CheckReport:
    """What `olhar check` shows: the data as they were understood, and what the doctor found."""

    collection: Collection
    report: doctor.Report


def check(data: str | Path, config: Config | None = None, level: Literal["quick", "full"] = "quick") -> CheckReport:
    """What is in a folder, why we think so, and what is wrong with it. Trains nothing, writes nothing there."""
    collection = recognise(data, config=(config or Config()).data)
    return CheckReport(collection, doctor.examine(collection, level))
