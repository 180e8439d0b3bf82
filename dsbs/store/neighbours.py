"""Completions of the same requests that lie in other folders: a completion belongs to its question, not to a folder.

Rows that are added to a file, another split or another share make another folder; the questions that were asked before
are the same ones. Other stores are only read, as they are, whatever version of dsbs wrote them.
"""

import contextlib
import logging
import sqlite3
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from dsbs.core.records import Completion, Request
from dsbs.store.completions import BATCH, COLUMNS, CompletionStore
from dsbs.store.origin import Origin
from dsbs.store.pace import PACE, measure_pace
from dsbs.store.schema import FORMATS, read_format

logger = logging.getLogger(__name__)

# Columns that stores of earlier formats lack.
LATER = ("batch", "reasoning")
BATCHES = "token, address, file, remote, requests, characters, created"


class Neighbours:
    """The other stores below a folder that hold completions of the same teacher, asked in the same way.

    Args:
        root: all stores below it are looked at: ``<root>/<task>/<teacher>-<hash>/completions.sqlite``; None: none.
        own: the store that is not among them.
        origin: who is asked, and how.

    Attributes:
        lent: how many completions were found in which folder.
        under_way: how many of the rest are in batches that another folder waits for.
    """

    def __init__(self, root: Path | None, own: Path, origin: Origin) -> None:
        self.origin = origin
        self.lent: Counter[Path] = Counter()
        self.under_way: Counter[Path] = Counter()
        self._open: list[tuple[Path, sqlite3.Connection, list[str]]] = []
        if root is None or origin.by_id:  # a replay joins by example, and examples of other data have the same ids
            return
        for path in sorted(root.glob(f"*/*/{own.name}")):
            if path.resolve() != own.resolve():
                self._visit(path)

    def _visit(self, path: Path) -> None:
        try:
            db = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, isolation_level=None)
            try:
                known = (
                    read_format(db) in FORMATS
                    and db.execute(
                        "SELECT 1 FROM origins WHERE prefix = ? AND completions > 0", (self.origin.prefix,)
                    ).fetchone()
                )
                columns = [row[1] for row in db.execute("PRAGMA table_info(completions)")]
            except sqlite3.Error:
                db.close()
                raise
        except sqlite3.Error as error:
            logger.warning("%s cannot be read (%s): what it may hold is asked anew.", path, error)
            return
        if known:
            self._open.append((path.parent, db, columns))
        else:
            db.close()

    def __enter__(self) -> "Neighbours":
        return self

    def __exit__(self, *_: object) -> None:
        for _folder, db, _columns in self._open:
            db.close()

    def pace(self) -> float | None:
        """Return how many answers came a second when neighbours were last asked, or None where that is not known."""
        paces = [measure_pace(db.execute(PACE, (self.origin.prefix,))) for _folder, db, _columns in self._open]
        return next(filter(None, paces), None)

    def count(self, keys: Collection[bytes]) -> set[bytes]:
        """Return those of the keys that some neighbour has a completion of, and remember where."""
        found: set[bytes] = set()
        for folder, db, _ in self._open:
            rest = [key for key in keys if key not in found]
            for start in range(0, len(rest), BATCH):
                part = rest[start : start + BATCH]
                query = f"SELECT key FROM completions WHERE key IN ({', '.join('?' * len(part))})"
                here = {row[0] for row in db.execute(query, part)}
                self.lent[folder] += len(here)
                found |= here
        self._look_for_batches(keys, found)
        return found

    def _look_for_batches(self, keys: Collection[bytes], found: set[bytes]) -> None:
        for folder, db, columns in self._open:
            rest = [key for key in keys if key not in found] if "batch" in columns else []
            for start in range(0, len(rest), BATCH):
                part = rest[start : start + BATCH]
                query = f"SELECT count(*) FROM batch_requests WHERE key IN ({', '.join('?' * len(part))})"
                self.under_way[folder] += db.execute(query, part).fetchone()[0]

    def lend(self, store: CompletionStore, requests: dict[bytes, Request]) -> set[bytes]:
        """Copy the completions of requests into a store; return the keys of those that were found."""
        found: set[bytes] = set()
        for folder, db, columns in self._open:
            rest = [key for key in requests if key not in found]
            for start in range(0, len(rest), BATCH):
                rows = list(_read(db, columns, rest[start : start + BATCH]))
                if rows:
                    numbers = _take_batches(store, self.origin, db, {said.batch for _, said in rows if said.batch})
                    store.add(self.origin, [
                        (requests[key], replace(said, batch=numbers.get(said.batch or 0))) for key, said in rows
                    ])  # fmt: skip
                self.lent[folder] += len(rows)
                found |= {key for key, _ in rows}
        self._look_for_batches(requests, found)
        return found

    def tell(self) -> list[str]:
        """Return how many completions were found where, and what is still under way; a sentence each."""
        told = []
        if self.lent.total():
            told.append(f"{self.lent.total():,} answers to the same questions were found in {_name(self.lent)}; they "
                        "are not asked again.")  # fmt: skip
        if self.under_way.total():
            told.append(f"{self.under_way.total():,} of the requests are in batches that {_name(self.under_way)} waits "
                        "for. To not pay for them twice, collect them there first.")  # fmt: skip
        return told


def _name(counts: Counter[Path]) -> str:
    return ", ".join(f"{folder.parent.name}/{folder.name}" for folder in sorted(+counts))


def _read(db: sqlite3.Connection, columns: Sequence[str], keys: Sequence[bytes]) -> Iterator[tuple[bytes, Completion]]:
    later = ", ".join(name if name in columns else "NULL" for name in LATER)
    query = f"SELECT key, {COLUMNS}, {later} FROM completions WHERE key IN ({', '.join('?' * len(keys))})"
    for key, *parts in db.execute(query, keys):
        yield key, Completion(*parts)


def _take_batches(
    store: CompletionStore, origin: Origin, db: sqlite3.Connection, numbers: Collection[int]
) -> dict[int, int]:
    """Write down the batches through which completions came, as ended; their price is that of a batch."""
    taken: dict[int, int] = {}
    for number in numbers:
        with contextlib.suppress(sqlite3.Error):
            row = db.execute(f"SELECT {BATCHES} FROM batches WHERE number = ?", (number,)).fetchone()
            if row is None:
                continue
            with store.transaction():
                store.execute(
                    f"INSERT OR IGNORE INTO batches ({BATCHES}, origin, ended) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    (*row, origin.number, row[-1]),
                )
            taken[number] = store.execute("SELECT number FROM batches WHERE token = ?", row[:1]).fetchone()[0]
    return taken
