"""Ids of runs at W&B."""

import contextlib
import re
import uuid
from pathlib import Path

from dsbs.core.errors import DataError
from dsbs.core.fingerprint import fingerprint
from dsbs.core.untrusted import read_object


def new_run_id() -> str:
    """Return an id for a training: W&B takes none again that was deleted there, so no two trainings share one."""
    return uuid.uuid4().hex[:16]


def find_run_id(folder: Path) -> str:
    """Return the W&B id of a run's folder, which ``manifest.json`` keeps; a resumed run gets the same one.

    Runs of earlier versions have an id that follows from where they lie below ``outputs``.

    Args:
        folder: ``<output_dir>/train/<task>/<student>/<objective>/<data_fraction>/<seed>-<hash>``.
    """
    kept = None
    with contextlib.suppress(DataError, OSError):  # none yet, or an unreadable one
        kept = read_object(folder / "manifest.json").get("run_id")
    if isinstance(kept, str) and re.fullmatch("[0-9a-f]{16}", kept):
        return kept
    return fingerprint(list(folder.parts[-5:]), length=16)
