"""Locks of extractions: two processes would send, and pay for, the same requests twice."""

import contextlib
import json
import logging
import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from filelock import FileLock, Timeout

from dsbs.core.errors import RunError
from dsbs.core.files import write_json

logger = logging.getLogger(__name__)

MOMENT = 0.2  # seconds in which one that has just begun writes down who it is


@contextlib.contextmanager
def hold_store(store: Path, *, wait: bool) -> Iterator[None]:
    """A context that holds the lock of a store; it ends with the process.

    Args:
        store: its path; it need not exist yet.
        wait: whether to wait, with a warning, while another process holds the lock.

    Raises:
        RunError: naming the process that holds it, without ``wait``; where the folder cannot be written.
    """
    missing = [folder for folder in (store.parent, *store.parent.parents) if not folder.exists()]
    lock = _acquire(store, "another process is extracting into this folder", wait)
    try:
        yield
    finally:
        _holder(store).unlink(missing_ok=True)
        if not store.exists():
            remove_store(store, missing)
        lock.release()


@contextlib.contextmanager
def hold_questions(folder: Path, asker: str) -> Iterator[Callable[[], None]]:
    """A context in which no other extraction of a task asks the same teacher in the same way.

    Their folders differ, but many of their questions may be the same. The next one waits, and then finds the answers.

    Args:
        folder: of the task, with the extractions in it.
        asker: a name for teacher and prompt.

    Yields:
        a function that ends it early.
    """
    name = folder / f".{asker}"
    what = f"another process is asking the same teacher about {folder.name}"
    lock = _acquire(name, what, wait=True, hint=" For other data, a name of its own avoids this: task.name=NAME.")

    def release() -> None:
        if lock.is_locked:
            remove_store(name, [])
            lock.release()

    try:
        yield release
    finally:
        release()


def _acquire(name: Path, what: str, wait: bool, hint: str = "") -> FileLock:
    """Return the lock beside a path, acquired, and write down who holds it; see ``hold_store``."""
    path, folder = name.with_name(f"{name.name}.lock"), name.parent
    lock = FileLock(path)
    try:
        while True:
            folder.mkdir(parents=True, exist_ok=True)
            try:
                lock.acquire(timeout=MOMENT)
            except Timeout:
                who = _read(_holder(name))
                if not wait:
                    raise RunError(f"{folder}: {what} ({who}); wait or stop it.") from None
                logger.warning("%s: %s (%s); waiting, then asking for what is missing.%s", folder, what, who, hint)
                lock.acquire()
            if path.exists():
                break
            lock.release()  # the other one has left no trace, its lock neither
    except OSError as error:
        raise RunError(f"{folder}: cannot be written ({error}). Set output_dir=FOLDER to another folder.") from None
    with contextlib.suppress(OSError):
        now = time.strftime("%Y-%m-%d %H:%M:%S")
        write_json(_holder(name), {"pid": os.getpid(), "host": socket.gethostname(), "since": now})
    return lock


def _holder(name: Path) -> Path:
    return name.with_name(f"{name.name}.holder")


def remove_store(store: Path, folders: Sequence[Path]) -> None:
    """Delete a store with its side files, and afterwards those of ``folders`` that are empty."""
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
