"""Names for tables: what a table would be called by its file, and whether a folder of runs holds other ones, too."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from dsbs.core.errors import DataError
from dsbs.core.names import is_name
from dsbs.core.untrusted import read_yaml
from dsbs.tasks.base import Task
from dsbs.tasks.tables.settings import TableSettings
from dsbs.tasks.tables.splits import split_of

MAX_READ = 50  # runs of a folder
_PLAIN = ("data", "dataset", "rows")  # names of files that say nothing


def name_data(settings: Mapping[str, Any]) -> str | None:
    """Return a name for the data of a table, or None where its place tells none.

    Args:
        settings: of the task; with ``path`` or ``hub``.

    >>> name_data({"path": "mails/train.csv"}), name_data({"path": "my mails.csv"}), name_data({"hub": "me/ag_news"})
    ('mails', 'my_mails', 'ag_news')
    """
    place = Path(str(settings.get("path") or settings.get("hub") or ""))
    while place.name and (split_of(place.stem) or place.stem in _PLAIN or set(place.name) & set("*?[")):
        place = place.parent
    name = re.sub(r"[^A-Za-z0-9._-]+", "_", place.stem).strip("._-")
    return name if is_name(name) and not set(name) <= {"_"} else None


def names_nothing(settings: Mapping[str, Any]) -> bool:
    """Return whether a task is a table under the name that all tables have."""
    return settings.get("kind") == TableSettings.kind and settings.get("name") == TableSettings.name


def describe_shared_folder(output_dir: str | Path, task: Task) -> str:
    """Return what to type where the runs of other tables are in the folder of a task's runs; else an empty text.

    Args:
        output_dir: of all runs.
        task: the one that is extracted or trained.
    """
    own = name_data(vars(task)) if names_nothing(vars(task)) else None
    if own is None:
        return ""
    root = Path(output_dir) / "train" / task.name
    for path in sorted(root.glob("*/*/*/*/config.yaml"))[:MAX_READ]:
        other = name_data(_read_task(path))
        if other not in (None, own):
            return (
                f"{root} holds runs of another table ({other}), and a report shows both together. For a folder and a "
                f"report of its own, type task.name={own} with every command for this one."
            )
    return ""


def _read_task(path: Path) -> dict[str, Any]:
    """Return the settings of the task in a run's config; ``{}`` where they cannot be read."""
    try:
        config = read_yaml(path)
    except DataError:
        return {}
    task = config.get("task")
    return task if isinstance(task, dict) else {}
