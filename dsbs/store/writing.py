"""Opening a store for writing, and its transactions."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from dsbs.core.errors import DataError, RunError
from dsbs.store.reading import BUSY_SECONDS, guard
from dsbs.store.schema import FORMAT, check_schema, read_format, upgrade


def open_writing(path: Path) -> sqlite3.Connection:
    """Open a store for reading and writing: created where it is missing, upgraded where it has an older format.

    Raises:
        DataError: where the path is something other than a file.
        RunError: where the store cannot be written.
        sqlite3.DatabaseError: where it is not a store, or has triggers or views of its own.
    """
    if path.exists() and not path.is_file():
        raise DataError(f"{path}: expected a store of completions, found something other than a file.")
    path.parent.mkdir(parents=True, exist_ok=True)
    db = sqlite3.connect(path, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None)
    try:
        guard(db)
        check_schema(db)  # before any query: the file is untrusted
        db.execute("PRAGMA journal_mode=WAL")
        # FULL: a committed completion outlives a power cut, not only a killed process.
        db.execute("PRAGMA synchronous=FULL")
        with transaction(db, path):
            for statement in upgrade(read_format(db)):
                db.execute(statement)
        found = read_format(db)
        if found != FORMAT:
            raise sqlite3.DatabaseError(f"format {found}, expected {FORMAT}")
    except BaseException:
        db.close()
        raise
    return db


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
