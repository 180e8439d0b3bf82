"""Shards: the store of an actor, which keeps its answers until the main store has them.

The process that writes a shard holds its lock, which ends with the process. So a shard that was left behind can be told
from one in use, on any machine that shares the folder.
"""

import contextlib
import time
from collections.abc import Sequence
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from dsbs.store import CompletionStore, Outcome
from dsbs.store.merging import check_stores, merge

SHARDS = "shards"
# Seconds that a killed process may take to end.
PATIENCE = 5.0


def name_shard(folder: Path) -> Path:
    """Return a new path for a shard of an extraction's folder."""
    return folder.resolve() / SHARDS / f"{uuid4().hex}.sqlite"


def hold_shard(shard: Path, patience: float = 0.0) -> FileLock:
    """Return a shard's lock, a context manager.

    Args:
        patience: seconds after which it raises ``Timeout`` where another process holds it.
    """
    return FileLock(f"{shard}.lock", timeout=max(patience, 0.0))


def remove_shard(shard: Path) -> None:
    """Delete a shard; the caller holds its lock."""
    for path in shard.parent.glob(f"{shard.name}*"):
        path.unlink(missing_ok=True)


def read_shard(shard: Path, keys: Sequence[bytes]) -> dict[bytes, Outcome]:
    """Return key -> completion or failure in a shard; empty where it cannot be reached from here, or is in use."""
    if not shard.exists():
        return {}
    try:
        with hold_shard(shard, PATIENCE), CompletionStore(shard) as store:
            return store.outcomes(keys)
    except Timeout:
        return {}


def merge_shards(store: CompletionStore, folder: Path, patience: float = PATIENCE) -> int:
    """Merge shards that were left behind into the main store and delete them; those in use stay. Safe to repeat.

    Args:
        patience: seconds to wait, in all, for processes that are ending.

    Returns:
        the number of new completions.

    Raises:
        DataError: where a file is not a store.
        RunError: where the main store cannot be written.
    """
    new, until = 0, time.monotonic() + patience
    for shard in sorted((folder / SHARDS).glob("*.sqlite")):
        with contextlib.suppress(Timeout), hold_shard(shard, until - time.monotonic()):
            if shard.exists():
                CompletionStore(shard).close()  # it may have been left before it had its tables
                check_stores([shard])
                new += merge(store, [shard])
            remove_shard(shard)
    with contextlib.suppress(OSError):
        (folder / SHARDS).rmdir()
    return new
