"""A cache of embeddings on disk, shared by the runs of an output folder."""

import hashlib
import logging
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from dsbs.store.reading import among
from dsbs.store.schema import check_schema

logger = logging.getLogger(__name__)
PATIENCE = 60  # seconds to wait for another process that writes


class EmbeddingCache:
    """A SQLite file of embeddings by hash of their text; without effect where it cannot be read or written."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, texts: Sequence[str]) -> dict[str, NDArray[np.float32]]:
        """Return text -> embedding [d] for those texts that are in the cache."""
        by_key = {_key(text): text for text in texts}
        found = {}
        try:
            with closing(self._open()) as file:
                for key, vector in among(file, list(by_key), "vectors", ", vector"):
                    found[by_key[key]] = np.frombuffer(vector, dtype=np.float32)
        except (sqlite3.Error, OSError, ValueError, TypeError) as error:
            logger.warning("%s: cannot be read (%s); inputs are embedded again.", self.path, error)
        return found

    def put(self, vectors: Mapping[str, NDArray[np.float32]]) -> None:
        """Add embeddings to the cache."""
        rows = [(_key(text), vector.astype(np.float32).tobytes()) for text, vector in vectors.items()]
        try:
            with closing(self._open()) as file, file:
                file.executemany("INSERT OR IGNORE INTO vectors VALUES (?, ?)", rows)
        except (sqlite3.Error, OSError) as error:
            logger.warning("%s: cannot be written (%s).", self.path, error)

    def _open(self) -> sqlite3.Connection:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        file = sqlite3.connect(self.path, timeout=PATIENCE)
        file.execute("PRAGMA trusted_schema=OFF")
        check_schema(file)
        file.execute("CREATE TABLE IF NOT EXISTS vectors (key BLOB PRIMARY KEY, vector BLOB) WITHOUT ROWID")
        return file


def _key(text: str) -> bytes:
    return hashlib.sha256(text.encode()).digest()[:16]
