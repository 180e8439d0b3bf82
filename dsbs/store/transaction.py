"""Transactions of a store."""

import sqlite3
from pathlib import Path
from types import TracebackType

from dsbs.core.errors import RunError


class Transaction:
    """A context manager: BEGIN IMMEDIATE … COMMIT, or ROLLBACK after an error.

    Args:
        db: the connection.
        path: of the store, for messages.

    Raises:
        RunError: where the file is locked or the disk is full.
    """

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self.db, self.path = db, path

    def __enter__(self) -> None:
        try:
            self.db.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError as error:
            raise self._explain(error) from error

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            self.db.execute("COMMIT" if error is None else "ROLLBACK")
        except sqlite3.OperationalError as failure:
            raise self._explain(failure) from error
        if isinstance(error, sqlite3.OperationalError):
            raise self._explain(error) from error

    def _explain(self, error: sqlite3.OperationalError) -> RunError:
        return RunError(
            f"{self.path}: the store cannot be written ({error}). Is the disk full, or does another process lock it? "
            "Committed answers are safe; the same command resumes."
        )
