"""The lock of an extraction's folder: two processes would send, and pay for, the same requests twice."""

import contextlib
import json
import logging
import os
import socket
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from dsbs.core.errors import RunError
from dsbs.core.files import write_json

logger = logging.getLogger(__name__)


@contextlib.contextmanager
def hold_store(store: Path, *, wait: bool) -> Iterator[None]:
    """A context that holds the lock of a store; it ends with the process.

    Args:
        store: its path; it need not exist yet.
        wait: whether to wait, with a warning, while another process holds the lock.

    Raises:
        RunError: naming the process that holds it, without ``wait``; where the folder cannot be written.
    """
    path, holder = store.with_name(f"{store.name}.lock"), store.with_name(f"{store.name}.holder")
    missing = [folder for folder in (store.parent, *store.parent.parents) if not folder.exists()]
    lock = FileLock(path)
    try:
        while True:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                who = _read(holder)
                if not wait:
                    raise RunError(
                        f"{store.parent}: another process is extracting into this folder ({who}); wait or stop it."
                    ) from None
                logger.warning("%s: another process is extracting into this folder (%s); waiting, then "
                               "asking for what is missing.", store.parent, who)  # fmt: skip
                lock.acquire()
            if path.exists():
                break
            lock.release()  # the other one has left no trace, its lock neither
    except OSError as error:
        raise RunError(
            f"{store.parent}: cannot be written ({error}). Set output_dir=FOLDER to another folder."
        ) from None
    try:
        with contextlib.suppress(OSError):
            now = time.strftime("%Y-%m-%d %H:%M:%S")
            write_json(holder, {"pid": os.getpid(), "host": socket.gethostname(), "since": now})
        yield
    finally:
        holder.unlink(missing_ok=True)
        if not store.exists():
            sweep(store, missing)
        lock.release()


def sweep(store: Path, folders: Sequence[Path]) -> None:
    """Delete a store with its side files, and those of ``folders`` that are empty then."""
    for path in store.parent.glob(f"{store.name}*"):
        path.unlink(missing_ok=True)
    for folder in folders:
        with contextlib.suppress(OSError):
            folder.rmdir()


def _read(holder: Path) -> str:
    try:
        owner = json.loads(holder.read_text())
        return f"process {int(owner['pid'])} on {str(owner['host'])[:100]}, since {str(owner['since'])[:20]}"
    except (OSError, ValueError, KeyError, TypeError):
        return "unknown process"
