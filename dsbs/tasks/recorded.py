"""Requests of an application to its LLM, as ``dsbs.traffic data=FOLDER`` writes them."""

from dataclasses import dataclass

from dsbs.tasks.table import TableTask


@dataclass
class RecordedTask(TableTask):
    """A table of ``input`` and ``completion`` without gold answers.

    Attributes:
        completions: the column of the LLM's own answers, which ``teacher=recorded`` replays.
    """

    kind: str = "recorded"
    name: str = "recorded"
    label: str | None = None
    id: str | None = "id"
    completions: str = "completion"
