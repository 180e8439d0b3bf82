"""Where ``dsbs.predict`` writes its rows: a stream, or a file that appears when it is complete.

Until then its rows are in ``<output>.partial``. The same command continues there after an interruption.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import BinaryIO, TextIO

from filelock import FileLock, Timeout

from dsbs.core.errors import RunError
from dsbs.core.files import open_atomic
from dsbs.core.fingerprint import fingerprint
from dsbs.core.records import Example

logger = logging.getLogger(__name__)
_DIGEST = 16  # characters


class Rows:
    """Rows of JSON in a stream."""

    def __init__(self, file: TextIO | BinaryIO) -> None:
        self.file = file

    def missing(self, examples: Iterator[Example]) -> Iterator[Example]:
        """Return the examples whose rows are not there yet: all of them."""
        return examples

    def write(self, example: Example, line: str) -> None:
        """Write the row of an example."""
        self.file.write(f"{line}\n")  # type: ignore[call-overload]

    def flush(self) -> None:
        """Pass on what was written."""
        self.file.flush()


class KeptRows(Rows):
    """Rows of JSON in a file that may have some of an interrupted command; each has a digest of what led to it.

    Args:
        settings: what the rows depend on beside their examples.
    """

    file: BinaryIO

    def __init__(self, file: BinaryIO, settings: object) -> None:
        super().__init__(file)
        self.settings = fingerprint(settings, _DIGEST)

    def missing(self, examples: Iterator[Example]) -> Iterator[Example]:
        """Yield the examples whose rows are not there yet; rows are deleted from the first that differs on."""
        self.file.seek(0)
        kept = size = 0
        line, rest = b"", examples
        for example in examples:
            line = self.file.readline()
            if not line.endswith(self._end(example)):
                rest = chain([example], examples)
                break
            size += len(line)
            kept += 1
        self.file.seek(size)
        self.file.truncate()
        if kept:
            logger.info("%s answers of the interrupted command are kept.", f"{kept:,}")
        elif line:
            logger.info("What was interrupted had another checkpoint, other settings or inputs; starting over.")
        yield from rest

    def write(self, example: Example, line: str) -> None:
        self.file.write(line.removesuffix("}").encode() + self._end(example))

    def plain(self) -> Iterator[str]:
        """Yield all rows without their digests."""
        length = len(self._end(Example("", "")))
        self.file.seek(0)
        for line in self.file:
            yield line[:-length].decode() + "}\n"

    def _end(self, example: Example) -> bytes:
        """Return how the row of an example ends, which has the same length for all."""
        digest = fingerprint([self.settings, example.id, example.input, example.choices], _DIGEST)
        return f', "digest": "{digest}"}}\n'.encode()


@contextmanager
def open_rows(path: Path, settings: object) -> Iterator[Rows]:
    """Yield the rows of a file that appears as ``path`` at the end; a device or named pipe is written to directly.

    Raises:
        OSError: it cannot be written.
        RunError: another process writes it.
    """
    if path.exists() and not path.is_file():
        with open_atomic(path) as stream:
            yield Rows(stream)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial, lock = path.with_name(f"{path.name}.partial"), path.with_name(f".{path.name}.lock")
    partial.open("ab").close()  # the lock would not say why a file cannot be written
    try:
        with FileLock(lock, timeout=0):
            try:
                with partial.open("a+b") as file:
                    rows = KeptRows(file, settings)
                    yield rows
                    with open_atomic(path) as whole:
                        whole.writelines(rows.plain())
                partial.unlink()
            finally:
                if partial.is_file() and partial.stat().st_size:
                    logger.warning("The answers so far are in %s; the same command continues there.", partial)
                else:
                    partial.unlink(missing_ok=True)
                lock.unlink(missing_ok=True)
    except Timeout:
        raise RunError(f"output={path}: another process is writing it; wait or stop it.") from None
