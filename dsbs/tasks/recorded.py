"""What an application asked its LLM, as ``dsbs.traffic data=FOLDER`` wrote it."""

from dataclasses import dataclass

from dsbs.tasks.table import TableTask


@dataclass
class RecordedTask(TableTask):
    """Rows of ``input`` and ``completion``, without gold answers: a table whose columns are known.

    Attributes:
        completions: the column of the LLM's own answers, which ``teacher=recorded`` replays.
    """

    kind: str = "recorded"
    name: str = "recorded"
    label: str | None = None
    id: str | None = "id"
    completions: str = "completion"
