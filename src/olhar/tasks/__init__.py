"""What can be learnt. A new task is one file here and one line below."""

from olhar.tasks.align import Align
from olhar.tasks.classify import Classify
from olhar.tasks.detect import Detect
from olhar.tasks.diffuse import Diffuse
from olhar.tasks.pixel_task import PixelTask
from olhar.tasks.reconstruct import Reconstruct
from olhar.tasks.regress import Regress
from olhar.tasks.segment import Segment
from olhar.tasks.task import Prediction, Task

TASKS: dict[str, type[Task]] = {
    "classify": Classify,
    "regress": Regress,
    "segment": Segment,
    "reconstruct": Reconstruct,
    "detect": Detect,
    "align": Align,
    "diffuse": Diffuse,
}

__all__ = ["TASKS", "PixelTask", "Prediction", "Task"]
