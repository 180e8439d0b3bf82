"""Runs that were stopped, beside a new one: with other settings it is another run, which does not resume them."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from dsbs.core.errors import DataError
from dsbs.core.untrusted import Fields, excerpt, read_object
from dsbs.training.run_folder import Run, flatten

MAX_NAMED = 4  # differences that are named
DATA = ("train", "validation", "test")  # settings of a run that are hashes of its data


def describe_stop(run: Run) -> str | None:
    """Return that a run does not resume the one that was stopped last beside it, in what they differ, and what does.

    None where the run has checkpoints of its own, or no run of the same task, student, objective and seed was stopped.
    """
    if count_steps(run.folder):
        return None
    beside = run.folder.parents[1].glob(f"*/{run.folder.name.partition('-')[0]}-*")
    stopped = [folder for folder in beside if folder != run.folder and was_stopped(folder)]
    if not stopped:
        return None
    last = max(stopped, key=lambda folder: (folder / "checkpoints").stat().st_mtime)
    try:
        manifest = Fields(read_object(last / "manifest.json"))
    except (DataError, OSError):
        return None
    changed = list_differences(manifest.raw("settings"), json.loads(json.dumps(run.settings, default=str)))
    more = f" and {len(changed) - MAX_NAMED} more" if len(changed) > MAX_NAMED else ""
    return (
        f"Starting at step 0, since other settings are another run: {last} stopped at step {count_steps(last):,} with "
        f"{', '.join(changed[:MAX_NAMED])}{more}. It is kept; what resumes it is: "
        f"{manifest.text('command', limit=4096)}"
    )


def was_stopped(folder: Path) -> bool:
    """Return whether a run has checkpoints, is not finished, and no process trains it."""
    if not count_steps(folder) or (folder / "metrics.json").exists():
        return False
    try:
        with FileLock(folder / ".lock", timeout=0):
            return True
    except (OSError, Timeout):
        return False


def count_steps(folder: Path) -> int:
    """Return the step of a run's last checkpoint, 0 without any."""
    names = [path.name.rpartition("-")[2] for path in (folder / "checkpoints").glob("checkpoint-*")]
    return max((int(name) for name in names if name.isdecimal()), default=0)


def list_differences(before: Any, now: Any) -> list[str]:
    """Return the settings of a run that differ from those of another; of its data only where nothing else does.

    >>> list_differences({"training": {"max_steps": 200}, "train": "a"}, {"training": {"max_steps": 400}, "train": "c"})
    ['training.max_steps=200 (here 400)']
    >>> list_differences({"train": "a"}, {"train": "c"})
    ['other train data']
    """
    old, new = flatten(before), flatten(now)
    keys = [key for key in dict.fromkeys([*old, *new]) if old.get(key) != new.get(key)]
    named = [f"{key}={_show(old, key)} (here {_show(new, key)})" for key in keys if key not in DATA]
    return named or [f"other {key} data" for key in keys]


def _show(settings: Mapping[str, Any], key: str) -> str:
    return excerpt(str(settings[key]), 60) if key in settings else "unset"
