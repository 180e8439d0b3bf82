"""One self-contained SQLite file of raw completions.

The key of a completion is a hash over the teacher's and the prompt's identity, the question and the number of the
sample. So a new parser, filter or score requests nothing again; a new prompt, model or sampling setting does.
"""

import hashlib
import json
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from pathlib import Path
from typing import Any

from dsbs.core.errors import DataError
from dsbs.core.logprobs import pack, unpack
from dsbs.core.records import Completion, Request
from dsbs.core.untrusted import MAX_COUNT, load_json, storable
from dsbs.store.origin import Failure, Origin, Outcome, Spent, Totals, name_origin
from dsbs.store.reading import (
    BROKEN,
    PACE,
    SPENT,
    among,
    check_rows,
    limited,
    measure_pace,
    open_reading,
    place_fault,
    sum_spent,
)
from dsbs.store.schema import check_schema, columns, compatibility_views, read_format
from dsbs.store.writing import open_writing, transaction

COLUMNS = "text, finish_reason, model, prompt_tokens, completion_tokens, created"


class CompletionStore:
    """Raw completions by request key. A context manager; used from one thread at a time.

    Args:
        path: the file; it and its folder are created where they are missing.
        read_only: open an existing store for reading alone; one of an older format is not upgraded.

    Raises:
        DataError: where the file is not a store of completions.
        RunError: where it cannot be created.
    """

    def __init__(self, path: Path, *, read_only: bool = False) -> None:
        self.path = path
        try:
            self._db = open_reading(path) if read_only else open_writing(path)
        except BROKEN as error:
            raise place_fault(path, error) or DataError(f"{path}: not a store of completions ({error}).") from error

    def __enter__(self) -> "CompletionStore":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what is committed stays."""
        self._db.close()

    def transaction(self) -> AbstractContextManager[None]:
        """Return a context manager in which all writes are committed together, or not at all."""
        return transaction(self._db, self.path)

    def execute(self, statement: str, values: Sequence[Any] = ()) -> sqlite3.Cursor:
        """Run one SQL statement; for the modules of this package that have tables of their own in the file."""
        return self._db.execute(statement, values)

    def origin(self, identity: dict[str, Any], request: Request, *, by_id: bool = False) -> Origin:
        """Return the origin (teacher and prompt) of requests; it is registered where it is new.

        Args:
            identity: JSON-like; ``teacher`` and ``prompt`` decide the key, the rest is saved for information.
            request: any request of the extraction; its shots decide the key, its instruction is saved for information.
        """
        rendered = json.dumps({"instruction": request.instruction, "shots": request.shots}, ensure_ascii=False)
        decides = json.dumps([identity["teacher"], identity["prompt"], request.shots], sort_keys=True, default=list)
        prefix = hashlib.blake2b(decides.encode(), digest_size=16).digest()
        with self.transaction():
            self._db.execute(
                "INSERT OR IGNORE INTO origins (prefix, identity, prompt) VALUES (?, ?, ?)",
                (prefix, json.dumps(identity, sort_keys=True, ensure_ascii=False, default=list), rendered),
            )
        number = self._db.execute("SELECT number FROM origins WHERE prefix = ?", (prefix,)).fetchone()[0]
        return Origin(number, prefix, by_id)

    def origins(self) -> list[Origin]:
        """Return all origins in the store."""
        return [Origin(*row) for row in self._db.execute("SELECT number, prefix FROM origins ORDER BY number")]

    def identities(self) -> dict[int, dict[str, Any]]:
        """Return number of an origin -> its saved identity."""
        return {number: _read_object(text) for number, text in self._db.execute("SELECT number, identity FROM origins")}

    def add(self, origin: Origin, arrived: Sequence[tuple[Request, Completion]]) -> None:
        """Commit completions in one transaction; those that are there already stay as they are."""
        rows = [
            (origin.key(request), origin.number, request.split, storable(request.id), request.sample,
             storable(request.question), storable(completion.text), _storable(completion.finish_reason),
             _storable(completion.model), _storable(completion.prompt_tokens), _storable(completion.completion_tokens),
             completion.created or time.time(), completion.batch, _storable(completion.reasoning),
             pack(completion.logprobs))
            for request, completion in arrived
        ]  # fmt: skip
        with self.transaction():
            self._db.executemany(f"INSERT OR IGNORE INTO completions VALUES ({', '.join('?' * 15)})", rows)
            for table in ("failures", "batch_requests"):
                self._db.executemany(f"DELETE FROM {table} WHERE key = ?", [row[:1] for row in rows])

    def fail(self, origin: Origin, failed: Sequence[tuple[Request, Failure]]) -> None:
        """Commit why requests ended without a completion, in one transaction."""
        now = time.time()
        rows = [
            (origin.key(request), origin.number, request.split, storable(request.id), request.sample,
             storable(failure.reason), storable(failure.message), now)
            for request, failure in failed
        ]  # fmt: skip
        with self.transaction():
            self._db.executemany(f"INSERT OR REPLACE INTO failures VALUES ({', '.join('?' * 8)})", rows)
            self._db.executemany("DELETE FROM batch_requests WHERE key = ?", [row[:1] for row in rows])

    def present(self, keys: Iterable[bytes]) -> set[bytes]:
        """Return those of the keys that have a completion."""
        return {row[0] for row in among(self._db, list(keys), "completions")}

    def in_batches(self, keys: Iterable[bytes]) -> set[bytes]:
        """Return those of the keys that are pending in a batch."""
        if self._db.execute("SELECT 1 FROM batch_requests LIMIT 1").fetchone() is None:
            return set()
        return {row[0] for row in among(self._db, list(keys), "batch_requests")}

    def completions(self, keys: Iterable[bytes], *, logprobs: bool = False) -> dict[bytes, Completion]:
        """Return the completions of those keys that have one, with their log-probabilities if ``logprobs``."""
        wanted = f", {COLUMNS}, batch, reasoning, {'logprobs' if logprobs else 'NULL'}"
        return {key: build_completion(row) for key, *row in among(self._db, list(keys), "completions", wanted)}

    def failures(self, keys: Iterable[bytes]) -> dict[bytes, Failure]:
        """Return the failures of those keys that have one."""
        return {key: Failure(*row) for key, *row in among(self._db, list(keys), "failures", ", reason, message")}

    def outcomes(self, keys: Sequence[bytes], *, logprobs: bool = False) -> dict[bytes, Outcome]:
        """Return the completions of the keys, and the failures of those that have none."""
        return {**self.failures(keys), **self.completions(keys, logprobs=logprobs)}

    def find(self, split: str, id: str, sample: int = 0) -> Completion | None:
        """Return the newest completion of an example, whatever its origin, or None."""
        query = (
            f"SELECT {COLUMNS}, NULL, reasoning, logprobs FROM completions WHERE split = ? AND id = ? AND sample = ? "
            "ORDER BY created DESC"
        )
        row = self._db.execute(query, (split, id, sample)).fetchone()
        return build_completion(row) if row else None

    def questions(self) -> Iterator[tuple[str, str, str]]:
        """Yield split, id and question of the completions; of several questions about an example the newest last."""
        yield from self._db.execute("SELECT split, id, question FROM completions ORDER BY created")

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield every completion with its split, id, sample, question and origin, in the order of arrival."""
        shown = f"origin, split, id, sample, question, {COLUMNS}, reasoning, logprobs"
        query = f"SELECT {shown} FROM completions ORDER BY rowid"
        with closing(self._db.cursor()) as cursor:
            cursor.execute(query)
            names = [column[0] for column in cursor.description]
            for row in cursor:
                yield dict(zip(names, row, strict=True))

    def count(self) -> int:
        """Return the number of completions."""
        return int(self._db.execute("SELECT coalesce(sum(completions), 0) FROM origins").fetchone()[0])

    def totals(self, origin: Origin) -> Totals:
        """Return the number of an origin's completions, and of their tokens."""
        query = "SELECT completions, prompt_tokens, completion_tokens FROM origins WHERE number = ?"
        return Totals(*self._db.execute(query, (origin.number,)).fetchone())

    def batch_totals(self, origin: Origin) -> Totals:
        """Return the same for those completions that came with batches."""
        sums = ", ".join(f"coalesce(sum({name}), 0)" for name in Totals._fields)
        return Totals(*self._db.execute(f"SELECT {sums} FROM batches WHERE origin = ?", (origin.number,)).fetchone())

    def spent(self, origin: Origin, split: str) -> Spent:
        """Return what the completions of an origin and split took; one that several examples share counts once."""
        return sum_spent(self._db.execute(SPENT, (origin.number, split)))

    def pace(self, origin: Origin) -> float | None:
        """Return completions a second when the origin was last asked, or None where there are too few to tell."""
        return measure_pace(self._db.execute(PACE, (origin.prefix,)))

    def overview(self) -> list[tuple[str, str, str, int, int, int, int]]:
        """Return, by origin and split: task, teacher, split, completions, failures, prompt and completion tokens."""
        query = """SELECT origin, split, sum(1 - failed), sum(failed), sum(read), sum(written) FROM (
            SELECT origin, split, 0 failed, coalesce(prompt_tokens, 0) read, coalesce(completion_tokens, 0) written
            FROM completions UNION ALL SELECT origin, split, 1, 0, 0 FROM failures)
            GROUP BY origin, split ORDER BY origin, split"""
        identities = self.identities()
        overview = []
        for number, split, *counts in self._db.execute(query):
            task, teacher = name_origin(identities.get(number, {}))
            overview.append((task or "?", teacher or "?", split, *counts))
        return overview

    def adopt(self, path: Path, statements: Sequence[str]) -> None:
        """Run statements that copy from another store in one transaction.

        Args:
            path: the other store; it is opened for reading alone.
            statements: SQL in which its tables are named ``other_origins``, ``other_completions``, …

        Raises:
            DataError: where the other one is no store.
            RunError: where this one cannot be written.
        """
        self._db.execute("ATTACH DATABASE ? AS other", (f"{path.resolve().as_uri()}?mode=ro",))
        try:
            with limited(self._db, path), self.transaction():
                check_schema(self._db, "other")
                views = compatibility_views(str(read_format(self._db, "other")), "other", "other_")
                for statement in [*views, *statements, *(f"DROP VIEW temp.other_{table}" for table in columns())]:
                    self._db.execute(statement)
        finally:
            self._db.execute("DETACH DATABASE other")

    def digest_logprobs(self, split: str, ids: Iterable[str]) -> str:
        """Return a hash over the log-probabilities of some examples' completions, the newest of each sample."""
        digest = hashlib.sha256()
        query = "SELECT sample, logprobs FROM completions WHERE split = ? AND id = ? ORDER BY sample, created"
        for id in sorted(ids):
            newest = dict(self._db.execute(query, (split, id)).fetchall())
            digest.update(repr((id, newest)).encode(errors="surrogatepass") + b"\0")
        return digest.hexdigest()[:16]

    def digest(self) -> str:
        """Return a hash over keys and texts of the completions, whatever the order in which they arrived."""
        digest = hashlib.sha256()
        for key, text in self._db.execute("SELECT key, text FROM completions ORDER BY key"):
            digest.update(key + text.encode(errors="surrogatepass") + b"\0")
        return digest.hexdigest()[:16]


def build_completion(values: Sequence[Any]) -> Completion:
    """Return a completion from its columns, in the order of the fields of ``Completion``, ``logprobs`` packed."""
    text, reason, model, read, written, created, batch, reasoning, packed = values
    return Completion(text, reason, model, read, written, created, batch, reasoning, unpack(packed))


def _storable(value: Any) -> Any:
    """Return a text or a count that SQLite can hold, else None: one odd field must not lose what comes beside it."""
    if isinstance(value, str):
        return storable(value)
    return value if isinstance(value, int) and 0 <= value <= MAX_COUNT else None


@contextmanager
def open_store(path: Path) -> Iterator[CompletionStore]:
    """Open an untrusted store for reading: its rows are checked first, and the time of reading is limited.

    Raises:
        DataError: where it is not a store, or takes longer than its size justifies.
    """
    with CompletionStore(path, read_only=True) as store, limited(store._db, path):
        check_rows(store._db)
        yield store


def _read_object(text: str) -> dict[str, Any]:
    with suppress(ValueError):
        if isinstance(value := load_json(text), dict):
            return value
    return {}
