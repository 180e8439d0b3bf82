"""Tasks: what is asked, what counts as an answer, and when it is right."""

from dsbs.tasks.base import Answers, Task
from dsbs.tasks.release import ReleaseTask
from dsbs.tasks.table import TableTask
from dsbs.tasks.triage import TriageTask

TASKS: dict[str, type[Task]] = {"triage": TriageTask, "release": ReleaseTask, "table": TableTask}

__all__ = ["TASKS", "Answers", "ReleaseTask", "TableTask", "Task", "TriageTask"]
