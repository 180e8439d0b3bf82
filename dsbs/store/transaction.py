"""Transactions of a store."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dsbs.core.errors import RunError


@contextmanager
def transaction(db: sqlite3.Connection, path: Path) -> Iterator[None]:
    """A context: BEGIN IMMEDIATE … COMMIT, or ROLLBACK after an error.

    Raises:
        RunError: where the file is locked or the disk is full.
    """
    try:
        db.execute("BEGIN IMMEDIATE")
        try:
            yield
        except BaseException:
            with suppress(sqlite3.OperationalError):  # SQLite rolls back by itself where the disk is full
                db.execute("ROLLBACK")
            raise
        db.execute("COMMIT")
    except sqlite3.OperationalError as error:
        raise RunError(
            f"{path}: the store cannot be written ({error}). Is the disk full, or does another process lock it? "
            "Committed answers are safe; the same command resumes."
        ) from error
