"""Recorded traffic in one SQLite file: exchanges of an application with its LLM, and comparisons with a student."""

import contextlib
import json
import re
import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsbs.core.errors import DataError, RunError
from dsbs.core.untrusted import excerpt, is_finite, load_json
from dsbs.serving.chat import compile_pattern
from dsbs.store.reading import BROKEN, guard, limited, place_fault
from dsbs.store.schema import check_schema

REDACTED = "[redacted]"
Compared = tuple[float | None, bool, str | None, str | None]  # confidence, deferred, student's answer, LLM's answer
_JSON_VALUE = re.compile(r'"(?:[^"\\]|\\.)*"|-?\d[-+.\deE]*', re.S)  # a text or a number
CREATE = (
    "CREATE TABLE IF NOT EXISTS traffic (id INTEGER PRIMARY KEY, created REAL NOT NULL, seconds REAL NOT NULL, "
    "model TEXT, messages TEXT NOT NULL, completion TEXT NOT NULL, finish_reason TEXT)",
    "CREATE TABLE IF NOT EXISTS compared (id INTEGER PRIMARY KEY, created REAL NOT NULL, confidence REAL, "
    "deferred INTEGER NOT NULL, student TEXT, teacher TEXT)",
)


@dataclass(frozen=True)
class Exchange:
    """A chat request and its answer.

    Attributes:
        created: Unix time in seconds.
        seconds: until the end of the answer.
        model: that answered, if known.
        finish_reason: why the LLM stopped, if known.
    """

    created: float
    seconds: float
    model: str | None
    messages: Any
    completion: str
    finish_reason: str | None


class TrafficStore:
    """The file; safe to use from several threads. Additions are on disk when a call returns.

    Args:
        redact: regular expressions (RE2); matches are replaced.

    Raises:
        ConfigError: a regular expression is invalid.
        DataError: the file is not such a store.
        RunError: it cannot be created.
    """

    def __init__(self, path: Path, redact: Sequence[str] = (), *, read_only: bool = False) -> None:
        self.path = path
        self.redact = [compile_pattern("record.redact", pattern) for pattern in redact]
        if read_only and not path.is_file():
            raise DataError(f"{path}: no recorded traffic. Record it: python -m dsbs.serve mode=record ...")
        path.parent.mkdir(parents=True, exist_ok=True)
        address = f"{path.resolve().as_uri()}{'?mode=ro' if read_only else ''}"
        self._lock = threading.Lock()
        try:
            self._db = sqlite3.connect(address, uri=True, check_same_thread=False, timeout=30)
            guard(self._db)
            check_schema(self._db)  # a view would run when it is read
            if not read_only:
                self._db.execute("PRAGMA journal_mode=WAL")
                self._db.execute("PRAGMA synchronous=FULL")  # a power cut loses nothing, either
                for statement in CREATE:
                    self._db.execute(statement)
                self._db.commit()
            self._db.execute("SELECT id, created, messages, completion FROM traffic LIMIT 1")
        except BROKEN as error:
            raise place_fault(path, error) or DataError(f"{path}: not recorded traffic ({error}).") from None

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    def add(self, exchange: Exchange, secrets: Sequence[str] = ()) -> None:
        """Store an exchange, redacted.

        Args:
            secrets: texts to redact, besides the matches of regular expressions.

        Raises:
            RunError: it cannot be written.
        """
        values = (
            exchange.created,
            exchange.seconds,
            exchange.model,
            self._clean_json(json.dumps(exchange.messages, ensure_ascii=False), secrets),
            self._clean(exchange.completion, secrets),
            exchange.finish_reason,
        )
        self._write(
            "INSERT INTO traffic (created, seconds, model, messages, completion, finish_reason) VALUES (?,?,?,?,?,?)",
            values,
        )

    def compare(self, confidence: float | None, deferred: bool, student: str | None, teacher: str | None) -> None:
        """Store the answers of student and teacher to a request.

        Raises:
            RunError: they cannot be written.
        """
        self._write(
            "INSERT INTO compared (created, confidence, deferred, student, teacher) VALUES (?,?,?,?,?)",
            (time.time(), confidence, int(deferred), student, teacher),
        )

    def exchanges(self) -> Iterator[Exchange]:
        """Yield all exchanges, the oldest first.

        Raises:
            DataError: a row is invalid.
        """
        rows = self._db.execute(
            "SELECT created, seconds, model, messages, completion, finish_reason FROM traffic ORDER BY created, id"
        )
        for created, seconds, model, messages, completion, finish_reason in rows:
            sound = isinstance(messages, str) and isinstance(completion, str) and is_finite(created)
            if not sound or not is_finite(seconds):
                raise DataError(f"{self.path}: its table traffic has a row that dsbs.serve did not write.")
            try:
                asked = load_json(messages)
            except ValueError as error:
                raise DataError(f"{self.path}: its messages are not valid JSON ({excerpt(str(error))}).") from None
            yield Exchange(created, seconds, _text(model), asked, completion, _text(finish_reason))

    def compared(self) -> list[Compared]:
        """Return the comparisons, the oldest first."""
        rows = self._db.execute("SELECT confidence, deferred, student, teacher FROM compared ORDER BY id")
        return [
            (confidence if is_finite(confidence) else None, bool(deferred), _text(student), _text(teacher))
            for confidence, deferred, student, teacher in rows
        ]

    def _write(self, statement: str, values: Sequence[Any]) -> None:
        try:
            with self._lock, self._db:
                self._db.execute(statement, values)
        except sqlite3.Error as error:
            raise RunError(f"{self.path}: cannot be written: {error}.") from None

    def _clean_json(self, document: str, secrets: Sequence[str]) -> str:
        """Redact the texts and numbers in a JSON document, unescaped, so that patterns match what was sent."""

        def clean(found: re.Match[str]) -> str:
            token = found.group()
            value = json.loads(token) if token.startswith('"') else token
            cleaned = self._clean(value, secrets)
            return token if cleaned == value else json.dumps(cleaned, ensure_ascii=False)

        return _JSON_VALUE.sub(clean, document)

    def _clean(self, text: str, secrets: Sequence[str]) -> str:
        text = text.encode("utf-8", errors="replace").decode()  # lone surrogates
        for secret in secrets:
            if secret:
                text = text.replace(secret, REDACTED)
        for pattern in self.redact:
            text = pattern.sub(REDACTED, text)
        return text


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None


@contextlib.contextmanager
def open_traffic(path: Path) -> Iterator[TrafficStore]:
    """Open recorded traffic, which may be untrusted, for reading.

    Raises:
        DataError: it is not such a store, or reading it takes longer than its size justifies.
    """
    store = TrafficStore(path, read_only=True)
    try:
        with limited(store._db, path, "recorded traffic"):
            yield store
    finally:
        store.close()
