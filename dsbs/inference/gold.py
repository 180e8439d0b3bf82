"""Examples with gold answers to measure a trained student on: of its own data, or other data of its task."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from dsbs.core.errors import ConfigError, DataError
from dsbs.core.records import Example
from dsbs.tasks.base import Task
from dsbs.tasks.tables.rows import RowsTask
from dsbs.tasks.tables.settings import TableSettings
from dsbs.tasks.tables.sources import read_rows


def gold_examples(task: Task, split: str, path: str | None) -> tuple[list[Example], int]:
    """Return the examples of a split that have a gold answer, and the number of those without.

    Args:
        split: to measure on; ignored for a single file.
        path: other data for the same task: a file or folder; None: the task's own. Its gold answers are in the task's
            column, or in ``label``, if the task has none.

    Raises:
        DataError: where no example has a gold answer, or the data does not fit the task.
    """
    try:
        examples = list(_examples(task, split, path))
    except DataError as error:
        if path is None or "task." not in str(error):
            raise
        raise DataError(f"{error}\nHere the settings under task are those of the training: change the data.") from None
    gold = [example for example in examples if example.label is not None]
    named = path or f"the {split} split of task={task.name}"
    if not examples:
        raise DataError(f"{named}: it has no examples, so nothing can be measured.")
    if not gold:
        column = getattr(task, "label", None) or TableSettings.label
        raise DataError(
            f"None of the {len(examples)} examples of {named} has a gold answer (column {column!r}), so nothing can be "
            "measured. To predict them: python -m dsbs.predict checkpoint=... input=..."
        )
    return gold, len(examples) - len(gold)


def _examples(task: Task, split: str, path: str | None) -> Iterable[Example]:
    if path is None and isinstance(task, RowsTask) and task.path is None and task.hub is None:
        raise ConfigError("A checkpoint outside its run does not know its data: add path=FILE_OR_FOLDER.")
    if path is None:
        return _split(task, split)
    if not isinstance(task, RowsTask):
        raise ConfigError(f"path={path}: task={task.name} generates its examples and reads no files.")
    task = replace(task, path=path)
    if isinstance(task, TableSettings) and task.label is None:  # it was trained without
        task = replace(task, label=TableSettings.label)
    file = Path(path).expanduser()
    if file.is_file():
        return task.columns.examples(read_rows(file), split)
    if not file.exists() and not any(sign in path for sign in "*?["):
        raise DataError(f"path={path}: there is no such file or folder.")
    return _split(task, split)


def _split(task: Task, split: str) -> Iterable[Example]:
    if split not in task.splits():
        raise DataError(f"split={split}: task={task.name} has no such split here; it has {', '.join(task.splits())}.")
    return task.examples(split)
