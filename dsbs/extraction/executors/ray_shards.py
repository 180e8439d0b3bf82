"""A shard: the store of one actor, where an answer is safe until the main store has it, too.

Whoever writes a shard holds its lock, which ends with the process: so what was left behind can be told from what is in
use, whoever looks, and from whichever machine that shares the folder.
"""

import contextlib
import time
from collections.abc import Collection, Iterator
from pathlib import Path
from uuid import uuid4

from filelock import FileLock, Timeout

from dsbs.core.records import Completion
from dsbs.store import CompletionStore, Failure
from dsbs.store.merging import merge

SHARDS = "shards"
# A process that was killed may take so many seconds to be gone.
PATIENCE = 5.0


def name_shard(folder: Path) -> Path:
    """Return where a new shard of an extraction will lie."""
    return folder.resolve() / SHARDS / f"{uuid4().hex}.sqlite"


@contextlib.contextmanager
def hold_shard(shard: Path, patience: float = 0.0) -> Iterator[None]:
    """Hold a shard's lock.

    Raises:
        Timeout: where another one holds it for more than so many seconds.
    """
    with FileLock(f"{shard}.lock", timeout=max(patience, 0.0)):
        yield


def remove_shard(shard: Path) -> None:
    """Delete a shard; for the one who holds it."""
    for path in shard.parent.glob(f"{shard.name}*"):
        path.unlink(missing_ok=True)


def read_shard(shard: Path, keys: Collection[bytes]) -> dict[bytes, Completion | Failure]:
    """Return what a shard says to requests; nothing where it cannot be seen from here or is in use."""
    if not shard.exists():
        return {}
    try:
        with hold_shard(shard, PATIENCE), CompletionStore(shard) as store:
            return {**store.failures(keys), **store.completions(keys)}
    except Timeout:
        return {}


def take_up_shards(store: CompletionStore, folder: Path, patience: float = PATIENCE) -> int:
    """Merge what was left behind into the main store, then delete it. Safe to repeat; a shard in use stays as it is.

    Args:
        store: the main store.
        folder: the extraction's.
        patience: seconds to wait, in all, for processes that are about to end.

    Returns:
        how many completions were new.

    Raises:
        DataError: where a file is no store.
        RunError: where the main store cannot be written.
    """
    new, until = 0, time.monotonic() + patience
    for shard in sorted((folder / SHARDS).glob("*.sqlite")):
        with contextlib.suppress(Timeout), hold_shard(shard, until - time.monotonic()):
            if shard.exists():
                CompletionStore(shard).close()  # it may have been left before it had its tables
                new += merge(store, [shard])
            remove_shard(shard)
    with contextlib.suppress(OSError):
        (folder / SHARDS).rmdir()
    return new
