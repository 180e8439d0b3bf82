"""Completions of the same requests in the stores of other folders, which are reused instead of requested again.

When rows are added to the data, the folder of the extraction is another one, but most of its requests were answered
before. Other stores are only read, whatever version of dsbs wrote them. Batches that they wait for are waited for here,
too: the results can be collected more than once.
"""

import contextlib
import logging
import sqlite3
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

from dsbs.core.errors import DataError
from dsbs.core.records import Completion, Request
from dsbs.store.completions import COLUMNS, CompletionStore, build_completion
from dsbs.store.origin import Origin
from dsbs.store.reading import BATCH, BROKEN, PACE, among, measure_pace, open_reading

logger = logging.getLogger(__name__)

T = TypeVar("T")
SOUND = "typeof(text) = 'text' AND typeof(created) = 'real'"
BATCHES = "token, address, file, remote, requests, characters, created"
PENDING = "remote IS NOT NULL AND ended IS NULL"  # of a batch; without an id at the endpoint it may never be sent


class Neighbours:
    """The other stores below a folder that hold completions of the same teacher, asked in the same way.

    Args:
        root: folder of the stores, ``<root>/<task>/<teacher>-<hash>/completions.sqlite``; None: there are none.
        own: the store of this extraction, which is not among them.

    Attributes:
        found: folder -> completions that were found in it.
        pending: folder -> requests that are pending in its batches.
    """

    def __init__(self, root: Path | None, own: Path, origin: Origin) -> None:
        self.origin = origin
        self.found: Counter[Path] = Counter()
        self.pending: Counter[Path] = Counter()
        self._open: dict[Path, sqlite3.Connection] = {}
        if root is None or origin.by_id:  # a replay joins by example, and examples of other data have the same ids
            return
        for path in sorted(root.glob(f"*/*/{own.name}")):
            if path.resolve() != own.resolve():
                self._visit(path)

    def _visit(self, path: Path) -> None:
        try:
            self._open[path.parent] = open_reading(path)
        except (*BROKEN, DataError) as error:
            logger.warning("%s cannot be read (%s): its answers are asked again.", path, error)
            return
        query = f"""SELECT 1 FROM origins WHERE prefix = ? AND (
            completions > 0 OR number IN (SELECT origin FROM batches WHERE {PENDING}))"""
        known = self._ask(lambda db: db.execute(query, (self.origin.prefix,)).fetchone(), path.parent)
        if not any(row for _, row in known):
            self._drop(path.parent)

    def _drop(self, folder: Path) -> None:
        if folder in self._open:
            self._open.pop(folder).close()

    def _ask(self, read: Callable[[sqlite3.Connection], T], *folders: Path) -> Iterator[tuple[Path, T]]:
        """Yield what was read in each of the stores; one that turns out to be broken is none of them any more."""
        for folder in folders or list(self._open):
            try:
                yield folder, read(self._open[folder])
            except BROKEN as error:
                logger.warning("%s cannot be read (%s): its answers are asked again.", folder, error)
                self._drop(folder)

    def __enter__(self) -> "Neighbours":
        return self

    def __exit__(self, *_: object) -> None:
        for folder in list(self._open):
            self._drop(folder)

    def pace(self) -> float | None:
        """Return completions a second when the same teacher was last asked for a neighbour, or None where unknown."""
        paces = self._ask(lambda db: measure_pace(db.execute(PACE, (self.origin.prefix,))))
        return next((pace for _, pace in paces if pace), None)

    def count(self, keys: Collection[bytes]) -> tuple[set[bytes], set[bytes]]:
        """Return those of the keys that a neighbour has a completion of, and those that are pending in its batches.

        They are counted in ``found`` and ``pending``.
        """
        found: set[bytes] = set()
        rest = list(keys)
        for folder, here in self._ask(lambda db: {row[0] for row in among(db, rest, f"completions WHERE {SOUND}")}):
            self.found[folder] += len(here)
            found |= here
            rest[:] = [key for key in rest if key not in found]
        return found, {key for keys in self._find_pending(rest).values() for key in keys}

    def _find_pending(self, keys: list[bytes]) -> dict[Path, dict[bytes, int]]:
        """Return folder -> key -> number of the batch that it is pending in; counted in ``pending``."""
        found: dict[Path, dict[bytes, int]] = {}
        rest, pending = list(keys), f"batch_requests JOIN batches ON number = batch WHERE {PENDING}"
        for folder, here in self._ask(lambda db: dict(among(db, rest, pending, ", batch"))):
            found[folder] = here
            self.pending[folder] += len(here)
            rest[:] = [key for key in rest if key not in here]
        return found

    def copy_into(self, store: CompletionStore, requests: dict[bytes, Request]) -> tuple[set[bytes], set[bytes]]:
        """Copy completions and pending batches into a store; return the keys of ``count``."""
        found: set[bytes] = set()
        rest = list(requests)
        for folder, rows in self._ask(lambda db: _read(db, rest)):
            numbers = {outcome.batch for _, outcome in rows if outcome.batch}
            taken = {number: _take_batch(store, self.origin, self._open[folder], number) for number in numbers}
            for start in range(0, len(rows), BATCH):
                store.add(self.origin, [
                    (requests[key], replace(outcome, batch=taken.get(outcome.batch or 0)))
                    for key, outcome in rows[start : start + BATCH]
                ])  # fmt: skip
            self.found[folder] += len(rows)
            found.update(key for key, _ in rows)
            rest[:] = [key for key in rest if key not in found]
        for folder, batch_of in self._find_pending(rest).items():
            for number in set(batch_of.values()):
                _take_batch(store, self.origin, self._open[folder], number)
        return found, store.in_batches(rest)

    def describe(self) -> list[str]:
        """Return a sentence about completions that were found, and one about pending requests, if there are any."""
        notes = []
        if self.found.total():
            notes.append(f"{self.found.total():,} answers to the same questions were found in {_name(self.found)}; "
                         "they are not asked again.")  # fmt: skip
        if self.pending.total():
            notes.append(f"{self.pending.total():,} of the requests are pending in batches of {_name(self.pending)}; "
                         "they are not sent again.")  # fmt: skip
        return notes


def _name(counts: Counter[Path]) -> str:
    return ", ".join(f"{folder.parent.name}/{folder.name}" for folder in sorted(+counts))


def _read(db: sqlite3.Connection, keys: Sequence[bytes]) -> list[tuple[bytes, Completion]]:
    rows = among(db, keys, f"completions WHERE {SOUND}", f", {COLUMNS}, batch, reasoning, logprobs")
    return [(key, build_completion(parts)) for key, *parts in rows]


def _take_batch(store: CompletionStore, origin: Origin, db: sqlite3.Connection, number: int) -> int | None:
    """Copy a batch, with the requests that are pending in it, and return its number in the store.

    One that is no longer pending is copied as ended; completions that came with it have the price of a batch.
    """
    with contextlib.suppress(sqlite3.Error):
        query = f"SELECT {BATCHES}, CASE WHEN {PENDING} THEN NULL ELSE created END FROM batches WHERE number = ?"
        row = db.execute(query, (number,)).fetchone()
        if row is None:
            return None
        with store.transaction():
            store.execute(
                f"INSERT OR IGNORE INTO batches ({BATCHES}, ended, origin) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                (*row, origin.number),
            )
            query = "SELECT number, ended FROM batches WHERE token = ?"
            taken, ended = store.execute(query, row[:1]).fetchone()
            query = "SELECT key, line, place, request FROM batch_requests WHERE batch = ?"
            for key, *parts in db.execute(query, (number,)) if ended is None else ():
                store.execute(
                    "INSERT OR IGNORE INTO batch_requests (batch, key, line, place, request) SELECT ?, ?, ?, ?, ? "
                    "WHERE NOT EXISTS (SELECT 1 FROM completions WHERE key = ?)",
                    (taken, key, *parts, key),
                )
        return int(taken)
    return None
