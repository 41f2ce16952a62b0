"""What is in a folder of images, without training on it, and without torch where the images are files."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from olhar.anchoring import ON_CPU, Anchors, anchors_for, canvas_scale, usual_strides
from olhar.config import Config
from olhar.data import doctor
from olhar.data.recognise import recognise
from olhar.data.sample import Collection


@dataclass(frozen=True)
class CheckReport:
    """What `olhar check` shows: the data as they were understood, and what the doctor found."""

    collection: Collection
    report: doctor.Report
    anchors: Anchors | None = None  # of boxes: those a training would choose
    canvas: tuple[int, int] = (0, 0)  # (height, width) they are laid over


def check(data: str | Path, config: Config | None = None, level: Literal["quick", "full"] = "quick") -> CheckReport:
    """What is in a folder, why we think so, and what is wrong with it. Trains nothing, writes nothing there."""
    collection = recognise(data, config=(config or Config()).data)
    report = doctor.examine(collection, level)
    if collection.task != "detect":
        return CheckReport(collection, report)
    return CheckReport(collection, report, *anchors_of(collection, report))


def anchors_of(collection: Collection, report: doctor.Report) -> tuple[Anchors | None, tuple[int, int]]:
    """The anchors that fit the training boxes as a training without a GPU would see them; None without a box."""
    height, width = report.sizes.median
    scale = canvas_scale(max(height, width), ON_CPU)
    canvas = (max(1, round(scale * height)), max(1, round(scale * width)))
    records = [record for record in collection.split("train") if record.id not in report.drop]
    if not any(record.boxes for record in records):
        return None, canvas
    return anchors_for(records, canvas, usual_strides(min(canvas)), {}), canvas
