"""Batches at a batch endpoint, and which of their results are still to come.

A batch is saved with all its requests before its file is uploaded; a request is removed from it when its completion or
failure is committed. So whenever a process is killed, nothing is lost and nothing is sent twice.
"""

import json
import secrets
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from dsbs.core.errors import DataError
from dsbs.core.records import Request
from dsbs.store.completions import CompletionStore, Origin

COLUMNS = "number, token, address, file, remote, requests, characters, created"


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch that has not ended.

    Attributes:
        number: its row in the store's table ``batches``.
        token: our name for it, sent along as metadata, so that it is found again if the endpoint's reply was lost.
        address: the endpoint that it was sent to.
        file: the endpoint's id of the uploaded requests, or None before that.
        remote: the endpoint's id of the batch, or None where it is not known (yet).
        requests: completions that were requested.
        characters: length of its requests, from which their tokens are estimated.
        created: Unix time in seconds.
    """

    number: int
    token: str
    address: str
    file: str | None
    remote: str | None
    requests: int
    characters: int
    created: float


class Batches:
    """The batches of one origin."""

    def __init__(self, store: CompletionStore, origin: Origin) -> None:
        self.store, self.origin = store, origin
        (prompt,) = store.execute("SELECT prompt FROM origins WHERE number = ?", (origin.number,)).fetchone()
        self._shots = tuple((question, answer) for question, answer in json.loads(prompt)["shots"])

    def plan(self, address: str, lines: Sequence[Sequence[Request]], characters: int) -> Batch:
        """Save a batch that is about to be sent, and return it.

        Args:
            lines: for every line of the batch, the samples of one question that are requested together.
        """
        token, now = secrets.token_hex(16), time.time()
        with self.store.transaction():
            cursor = self.store.execute(
                "INSERT INTO batches (token, origin, address, requests, characters, created) VALUES (?, ?, ?, ?, ?, ?)",
                (token, self.origin.number, address, sum(map(len, lines)), characters, now),
            )
            number = cursor.lastrowid
            for line in lines:
                first = self.origin.key(line[0])
                for place, request in enumerate(line):
                    row = (self.origin.key(request), number, first, place, _pack(request))
                    self.store.execute("INSERT INTO batch_requests VALUES (?, ?, ?, ?, ?)", row)
        return self._read(f"number = {number}")[0]

    def note_file(self, batch: Batch, file: str) -> Batch:
        """Save the endpoint's id of the uploaded file; return the batch with it."""
        return self._note(batch, "file", file)

    def note_remote(self, batch: Batch, remote: str) -> Batch:
        """Save the endpoint's id of the batch; return the batch with it."""
        return self._note(batch, "remote", remote)

    def _note(self, batch: Batch, column: str, value: str) -> Batch:
        with self.store.transaction():
            self.store.execute(f"UPDATE batches SET {column} = ? WHERE number = ?", (value, batch.number))
        return self._read(f"number = {batch.number}")[0]

    def open(self) -> list[Batch]:
        """Return the batches that have not ended, the oldest first."""
        return self._read(f"origin = {self.origin.number} AND ended IS NULL")

    def _read(self, condition: str) -> list[Batch]:
        rows = self.store.execute(f"SELECT {COLUMNS} FROM batches WHERE {condition} ORDER BY number")
        return [Batch(*row) for row in rows]

    def find(self, batch: Batch, lines: Collection[str]) -> dict[str, dict[int, Request]]:
        """Return the pending requests of some lines of a batch: line -> place in the line -> request.

        Args:
            lines: names of lines (``line_name``); unknown ones, and those without pending requests, are left out.
        """
        found: dict[str, dict[int, Request]] = {}
        for name in lines:
            try:
                line = bytes.fromhex(name)
            except ValueError:
                continue
            query = "SELECT place, request FROM batch_requests WHERE batch = ? AND line = ?"
            rows = self.store.execute(query, (batch.number, line)).fetchall()
            if rows:
                found[name] = {place: self._unpack(request) for place, request in rows}
        return found

    def rest(self, batch: Batch, limit: int) -> list[Request]:
        """Return pending requests of a batch, at most ``limit``."""
        query = "SELECT request FROM batch_requests WHERE batch = ? LIMIT ?"
        return [self._unpack(row[0]) for row in self.store.execute(query, (batch.number, limit))]

    def lines(self, batch: Batch) -> list[list[Request]]:
        """Return all pending requests of a batch, by line."""
        query = "SELECT line, request FROM batch_requests WHERE batch = ? ORDER BY line, place"
        found: dict[bytes, list[Request]] = {}
        for line, request in self.store.execute(query, (batch.number,)):
            found.setdefault(line, []).append(self._unpack(request))
        return list(found.values())

    def release(self, requests: Iterable[Request]) -> None:
        """Take requests out of their batch: they may be sent again."""
        keys = list(map(self.origin.key, requests))
        if keys:
            with self.store.transaction():
                for key in keys:
                    self.store.execute("DELETE FROM batch_requests WHERE key = ?", (key,))

    def waiting(self) -> int:
        """Return the number of pending requests in all open batches."""
        query = "SELECT count(*) FROM batch_requests JOIN batches ON number = batch WHERE origin = ? AND ended IS NULL"
        return int(self.store.execute(query, (self.origin.number,)).fetchone()[0])

    def end(self, batch: Batch) -> None:
        """Mark a batch as ended; its pending requests may then be sent again."""
        end_batch(self.store, batch.token)

    def explain_abandoning(self, batch: Batch) -> str:
        """Return the sentence that says how to give up a batch."""
        name = batch.remote or batch.token
        return f"To give it up and ask again: python -m dsbs.store abandon {self.store.path} {name}"

    def _unpack(self, text: str) -> Request:
        parts: dict[str, Any] = json.loads(text)
        choices = parts.pop("choices")
        return Request(shots=self._shots, choices=choices and tuple(choices), **parts)


def line_name(origin: Origin, line: Sequence[Request]) -> str:
    """Return the name of a line of a batch: the key of its first request, in hexadecimal."""
    return origin.key(line[0]).hex()


def end_batch(store: CompletionStore, token: str) -> None:
    """Mark a batch as ended and drop its pending requests; one that never got an id at the endpoint is deleted."""
    with store.transaction():
        row = store.execute("SELECT number FROM batches WHERE token = ?", (token,)).fetchone()
        store.execute("DELETE FROM batch_requests WHERE batch = ?", row)
        store.execute("UPDATE batches SET ended = ? WHERE number = ?", (time.time(), *row))
        store.execute("DELETE FROM batches WHERE number = ? AND remote IS NULL", row)


def abandon(store: CompletionStore, name: str) -> int:
    """Give up a batch: its pending requests are sent, and paid for, again by the next extraction.

    Args:
        name: the endpoint's id of the batch, or its token where it has none.

    Returns:
        how many requests it held.

    Raises:
        DataError: where there is no such open batch.
    """
    batches = {batch.remote or batch.token: (batch, held) for batch, held in open_batches(store)}
    if name not in batches:
        raise DataError(f"{store.path}: batch {name} is not pending ({', '.join(batches) or 'none'}).")
    batch, held = batches[name]
    end_batch(store, batch.token)
    return held


def open_batches(store: CompletionStore) -> list[tuple[Batch, int]]:
    """Return the batches that have not ended, each with its number of pending requests."""
    held = "(SELECT count(*) FROM batch_requests WHERE batch = number)"
    rows = store.execute(f"SELECT {held}, {COLUMNS} FROM batches WHERE ended IS NULL ORDER BY number")
    return [(Batch(*row), count) for count, *row in rows]


def _pack(request: Request) -> str:
    names = ("id", "split", "instruction", "question", "sample", "choices", "answer_format", "system_role")
    return json.dumps({name: getattr(request, name) for name in names})
