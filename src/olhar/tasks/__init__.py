"""What can be learnt. A new task is one file here and one line below."""

from olhar.tasks.classify import Classify
from olhar.tasks.regress import Regress
from olhar.tasks.task import Prediction, Task

TASKS: dict[str, type[Task]] = {"classify": Classify, "regress": Regress}

__all__ = ["TASKS", "Prediction", "Task"]
