"""Opening a store for reading, also an untrusted one: within bounds, and without running anything in it.

A store is opened with ``mode=ro``, so it is never upgraded in place: what an older format lacks is added by temporary
views (``schema.compatibility_views``), which are gone with the connection.
"""

import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

from dsbs.core.errors import DataError, RunError
from dsbs.core.untrusted import MAX_COUNT, load_json
from dsbs.store.origin import Spent, Totals
from dsbs.store.schema import FORMAT, FORMATS, check_schema, columns, compatibility_views, read_format

BUSY_SECONDS = 60
BATCH = 500  # keys in a query
# Time for reading a store of somebody else: a fixed part, and a part for its size.
SECONDS = 60.0
BYTES_PER_SECOND = 2**20
# Instructions of SQLite after which the time is looked at.
STEPS = 10_000
MAX_CELL = 2**26
# What reading a broken file raises; the latter where SQLite's own words quote it.
BROKEN = (sqlite3.Error, UnicodeDecodeError)
MAX_ORIGINS = 10_000
# The last answers that came one by one, and how many of them tell a pace.
PACE = """SELECT created FROM completions JOIN origins ON number = origin WHERE prefix = ? AND created > 0
    ORDER BY completions.rowid DESC LIMIT 500"""
FEWEST_FOR_PACE = 20
# Totals of the completions of an origin and split, those without token counts, and whether they came with batches.
SPENT = """SELECT count(*), coalesce(sum(prompt_tokens), 0), coalesce(sum(completion_tokens), 0),
    count(*) - count(prompt_tokens + completion_tokens), batch IS NOT NULL
    FROM completions WHERE origin = ? AND split = ? GROUP BY 5"""
_PLACE = ("full", "readonly", "unable to open")  # SQLite's words where the fault is not the file's


def place_fault(path: Path, error: Exception) -> RunError | None:
    """Return the error to raise where the disk or the folder is to blame for what SQLite raised; else None."""
    if not any(word in str(error) for word in _PLACE):
        return None
    return RunError(f"{path}: cannot be written ({error}). Check free space and permissions, or name another place.")


def open_reading(path: Path) -> sqlite3.Connection:
    """Open a store for reading alone, whatever version wrote it.

    Raises:
        DataError: where there is none.
        sqlite3.DatabaseError: where it is not a store, or has triggers or views of its own.
    """
    if not path.is_file():
        raise DataError(f"{path}: there is no such store of completions.")
    address = f"{path.resolve().as_uri()}?mode=ro"
    db = sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS, check_same_thread=False, isolation_level=None)
    try:
        guard(db)
        check_schema(db)
        found = read_format(db)
        if found not in FORMATS:
            raise sqlite3.DatabaseError(f"format {found}, expected {FORMAT}")
        for statement in compatibility_views(found):
            db.execute(statement)
        db.execute("PRAGMA query_only=ON")
    except BaseException:
        db.close()
        raise
    return db


def guard(db: sqlite3.Connection) -> None:
    """Prepare a connection for an untrusted file: its schema runs nothing, cells are bounded, text always decodes."""
    db.execute("PRAGMA trusted_schema=OFF")
    db.execute("PRAGMA cell_size_check=ON")
    db.text_factory = _decode
    db.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, MAX_CELL)


def _decode(raw: bytes) -> str:
    return raw.decode(errors="replace")


@contextmanager
def limited(db: sqlite3.Connection, path: Path, what: str = "a store of completions") -> Iterator[None]:
    """Limit the time of reading an untrusted file, and report what is wrong with it.

    Args:
        path: of the file, whose size decides the time.

    Raises:
        DataError: where that takes too long, or the file is broken.
    """
    seconds = SECONDS + path.stat().st_size / BYTES_PER_SECOND
    until = time.monotonic() + seconds
    db.set_progress_handler(lambda: time.monotonic() > until, STEPS)
    try:
        yield
    except (*BROKEN, RunError) as error:
        if time.monotonic() > until:
            raise DataError(f"{path}: reading it takes more than the {seconds:.0f} seconds that a store of its size "
                            "may take.") from None  # fmt: skip
        if isinstance(error, RunError):
            raise
        raise DataError(f"{path}: not {what} ({error}).") from None
    finally:
        db.set_progress_handler(None, 0)


def among(db: sqlite3.Connection, keys: Sequence[bytes], table: str, columns: str = "") -> Iterator[tuple[Any, ...]]:
    """Yield key and columns of those rows of a table (and a condition, after WHERE) that have one of the keys."""
    where = "AND" if " WHERE " in table else "WHERE"
    for start in range(0, len(keys), BATCH):
        part = keys[start : start + BATCH]
        yield from db.execute(f"SELECT key{columns} FROM {table} {where} key IN ({', '.join('?' * len(part))})", part)


def measure_pace(rows: Iterable[tuple[float]]) -> float | None:
    """Return events a second, or None where there are fewer than ``FEWEST_FOR_PACE``.

    The longest gap is left out, since it may lie between two runs.

    Args:
        rows: rows of one column, a time in seconds.

    >>> measure_pace([(float(second),) for second in range(30)])
    1.0
    """
    times = sorted(row[0] for row in rows)
    gaps = sorted(after - before for before, after in pairwise(times))[:-1]
    return len(gaps) / sum(gaps) if len(times) >= FEWEST_FOR_PACE and sum(gaps) > 0 else None


def sum_spent(rows: Iterable[tuple[int, ...]]) -> Spent:
    """Return the sum of the rows of ``SPENT``.

    >>> sum_spent([(2, 20, 10, 1, False), (3, 30, 15, 0, True)]).all
    Totals(completions=5, prompt_tokens=50, completion_tokens=25)
    """
    sums = {bool(row[4]): row[:4] for row in rows}
    single, batched = (sums.get(in_batch, (0, 0, 0, 0)) for in_batch in (False, True))
    *totals, uncounted = map(sum, zip(single, batched, strict=True))
    return Spent(Totals(*totals), Totals(*batched[:3]), uncounted)


def check_rows(db: sqlite3.Connection) -> None:
    """Check the content of an untrusted store: pages that belong to one table each, and cells of the right types.

    Raises:
        sqlite3.DatabaseError: naming the table where something is wrong.
    """
    # Pages that two places share make a file of a few kilobytes hold more rows than anybody can read.
    (found,) = db.execute("PRAGMA main.quick_check(1)").fetchone()
    if found != "ok":
        raise sqlite3.DatabaseError(" ".join(found.split()))
    for table, kinds in columns().items():
        odd = " OR ".join(f"NOT ({_condition(name, kind, needed)})" for name, kind, needed in kinds)
        (count,) = db.execute(f"SELECT count(*) FROM (SELECT 1 FROM {table} WHERE {odd} LIMIT 1000)").fetchone()
        if count:
            raise sqlite3.DatabaseError(f"its table {table} has invalid rows ({count:,}{' or more' * (count == 1000)})")
    for position, (identity, prompt) in enumerate(db.execute("SELECT identity, prompt FROM origins")):
        if position >= MAX_ORIGINS or not all(_is_object(text) for text in (identity, prompt)):
            raise sqlite3.DatabaseError("its table origins has unexpected content")


def _condition(name: str, kind: str, needed: bool) -> str:
    """Return what holds for every cell of a column that we wrote, in SQL."""
    holds = {
        "TEXT": f"typeof({name}) = 'text'",
        "BLOB": f"typeof({name}) = 'blob' AND length({name}) <= 64",
        "INTEGER": f"typeof({name}) = 'integer' AND {name} BETWEEN 0 AND {MAX_COUNT}",
        "REAL": f"typeof({name}) IN ('real', 'integer') AND {name} BETWEEN 0 AND {MAX_COUNT}",
    }[kind]
    return holds if needed else f"{name} IS NULL OR ({holds})"


def _is_object(text: str) -> bool:
    try:
        return isinstance(load_json(text), dict)
    except ValueError:
        return False
