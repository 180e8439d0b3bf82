"""Short hashes of settings, records and files; they name runs and extractions."""

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from dsbs.core.untrusted import open_regular


def fingerprint(value: Any, length: int = 8) -> str:
    """Return ``length`` hexadecimal characters over a JSON-like value; the order of keys does not matter.

    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    True
    """
    return hashlib.sha256(_canonical(value)).hexdigest()[:length]


def fingerprint_stream(values: Iterable[Any]) -> str:
    """Return 16 hexadecimal characters over a list of values that need not be in memory together.

    >>> fingerprint_stream(iter([1, {"a": 2}])) == fingerprint([1, {"a": 2}], 16)
    True
    """
    digest = hashlib.sha256(b"[")
    for number, value in enumerate(values):
        digest.update(b"," * (number > 0) + _canonical(value))
    digest.update(b"]")
    return digest.hexdigest()[:16]


def _canonical(value: Any) -> bytes:
    return json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"), default=list).encode()


def fingerprint_files(paths: list[Path]) -> str:
    """Return 16 hexadecimal characters over names and content of files; memory does not grow with their size.

    Raises:
        DataError: where one is missing, or no regular file.
    """
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.name.encode() + b"\0")
        with open_regular(path) as file:
            digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()[:16]
