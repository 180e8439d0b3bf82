"""Tasks: examples, how answers are parsed from text, and how they are scored."""

from dsbs.core.registry import Registry
from dsbs.tasks.base import Answers, Task
from dsbs.tasks.release import ReleaseTask
from dsbs.tasks.table import RecordedTask, TableTask
from dsbs.tasks.triage import TriageTask

TASKS: Registry[type[Task]] = Registry(
    "dsbs.tasks",
    {"triage": TriageTask, "release": ReleaseTask, "table": TableTask, "recorded": RecordedTask},
    Task,
)

__all__ = ["TASKS", "Answers", "RecordedTask", "ReleaseTask", "TableTask", "Task", "TriageTask"]
