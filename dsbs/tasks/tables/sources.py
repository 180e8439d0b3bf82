"""Sources of rows: JSON lines, CSV and Parquet files, streamed; each row comes with its place, for messages."""

import codecs
import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from dsbs.core.errors import DataError
from dsbs.core.fingerprint import fingerprint_files
from dsbs.core.untrusted import MAX_ROW, bounded_lines, excerpt, open_regular, read_file
from dsbs.tasks.tables.class_names import class_names, column_of, name_classes, read_classes
from dsbs.tasks.tables.delimited import check_names, read_csv
from dsbs.tasks.tables.foreign import SUFFIXES, advise, name_foreign
from dsbs.tasks.tables.splits import SPLITS

Row = Mapping[str, Any]
MAX_ARRAY = 2**30  # bytes of a file that is one array, which is read whole
SAVE_AS_UTF8 = "Save the file as UTF-8; from Windows or Excel: iconv -f CP1252 -t UTF-8 FILE > NEW_FILE"
BATCH = 256
MAX_BATCH = 2**30  # bytes of as many rows; a few pages of a file can repeat a cell without end


def is_utf16(head: bytes) -> bool:
    """Return whether a text is UTF-16, by its first bytes: a byte order mark, or a third of them 0.

    >>> is_utf16("text,label".encode("utf-16")), is_utf16("text,label".encode("utf-16-le")), is_utf16(b"text,label")
    (True, True, False)
    """
    return head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or 3 * head.count(0) > len(head) > 3


class Source(Protocol):
    """The rows of a data set, by split."""

    def splits(self) -> tuple[str, ...]:
        """Return the splits that exist, among train, validation and test."""

    def rows(self, split: str) -> Iterator[tuple[str, Row]]:
        """Yield each row of a split with its place, such as ``data/train.jsonl:12``.

        Raises:
            DataError: where the data cannot be read.
        """

    def classes(self, column: str) -> list[str]:
        """Return the class names of a column, where the data declares them (``ClassLabel``); else an empty list."""

    def identity(self) -> dict[str, object]:
        """Return what decides the rows: a hash or a commit, but no paths."""


@dataclass(frozen=True)
class FileSource:
    """Files on this machine.

    Attributes:
        files: split -> its files, in the order in which they are read.
    """

    files: dict[str, list[Path]]

    def splits(self) -> tuple[str, ...]:
        """Return the splits that have files."""
        return tuple(split for split in SPLITS if split in self.files)

    def rows(self, split: str) -> Iterator[tuple[str, Row]]:
        """Yield the rows of a split, file by file; errors are those of ``read_rows``."""
        for path in self.files[split]:
            yield from read_rows(path)

    def classes(self, column: str) -> list[str]:
        """Return the class names of a column in the first Parquet file that declares them; else an empty list."""
        for path in (path for paths in self.files.values() for path in paths if path.suffix.lower() == ".parquet"):
            if names := read_classes(path).get(column_of(column)):
                return names
        return []

    def identity(self) -> dict[str, object]:
        """Return a hash of each split's files."""
        return {"files": {split: fingerprint_files(paths) for split, paths in self.files.items()}}


def read_rows(path: Path) -> Iterator[tuple[str, Row]]:
    """Yield the rows of a file with their places.

    Raises:
        DataError: for a file that is missing, of an unknown kind or broken; with the line and what is wrong.
    """
    kind = path.suffix.lower()
    reader = {".csv": read_csv, ".tsv": read_csv, ".parquet": _read_parquet}.get(kind, _read_json)
    try:
        head = _read_head(path, kind in SUFFIXES)
        if problem := name_foreign(path, head):
            raise DataError(f"{path}: {problem}.")
        if kind not in SUFFIXES:
            raise DataError(f"{path}: expected a file that ends in {', '.join(SUFFIXES)}.{advise(path)}")
        if kind != ".parquet" and is_utf16(head):
            convert = f"iconv -f UTF-16 -t UTF-8 {shlex.quote(str(path))} > utf-8{path.suffix}"
            raise DataError(f"{path}: UTF-16; expected UTF-8. Convert it: {convert}")
        yield from reader(path)
    except UnicodeDecodeError as error:
        raise _not_utf8(path, error) from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}.") from None


def _read_head(path: Path, known: bool) -> bytes:
    try:
        with open_regular(path) as file:
            return file.read(512)
    except (DataError, OSError):
        if known:
            raise
        return b""


def _not_utf8(path: Path, error: UnicodeDecodeError) -> DataError:
    """Return the error about a text file in another encoding, with the first line that is not UTF-8."""
    with open_regular(path) as file:
        lines = enumerate(bounded_lines(file, str(path), MAX_ROW, "one row per line"), 1)
        line = next((number for number, content in lines if not _is_utf8(content)), 1)
    return DataError(f"{path}:{line}: not UTF-8: {error.reason}. {SAVE_AS_UTF8}")


def _is_utf8(content: bytes) -> bool:
    try:
        content.decode()
    except UnicodeDecodeError:
        return False
    return True


def _read_json(path: Path) -> Iterator[tuple[str, Row]]:
    with open_regular(path) as file:
        if file.read(1024).removeprefix(b"\xef\xbb\xbf").lstrip().startswith(b"["):
            yield from _read_json_array(path)
            return
        file.seek(0)
        for number, line in enumerate(bounded_lines(file, str(path), MAX_ROW, "one object per line"), 1):
            if line.strip():
                yield f"{path}:{number}", parse_row(line.rstrip(), f"{path}:{number}")


def _read_json_array(path: Path) -> Iterator[tuple[str, Row]]:
    text = read_file(path, MAX_ARRAY).decode("utf-8-sig")
    try:
        items = json.loads(text, object_pairs_hook=_unique)
    except DataError as error:
        raise DataError(f"{path}: {error}") from None
    except (ValueError, RecursionError) as error:
        place = f"{path}:{error.lineno}" if isinstance(error, json.JSONDecodeError) else f"{path}"
        raise DataError(f"{place}: not JSON: {error}. Expected one object per line, or one array of objects.") from None
    for number, item in enumerate(items, 1):
        if not isinstance(item, dict):
            raise DataError(f"{path}, item {number}: expected an object with the columns as keys, got {item!r:.80}.")
        yield f"{path}, item {number}", item


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        check_names([name for name, _ in pairs], "an object")
    return found


def parse_row(line: bytes, place: str) -> Row:
    """Return the object in a line of JSON.

    Raises:
        DataError: where it is not an object.
    """
    try:
        row = json.loads(line.decode("utf-8-sig"), object_pairs_hook=_unique)
    except UnicodeDecodeError as error:
        raise DataError(f"{place}: not UTF-8: {error.reason}. {SAVE_AS_UTF8}") from None
    except DataError as error:
        raise DataError(f"{place}: {error}") from None
    except json.JSONDecodeError as error:
        raise DataError(
            f"{place}: not JSON: {error.msg} at column {error.colno}. Expected one object per line, such as "
            f'{{"input": "...", "label": "..."}}.{_advise(line, error)}'
        ) from None
    except RecursionError:
        raise DataError(f"{place}: JSON nested too deeply.") from None
    except ValueError as error:  # a number of thousands of digits
        raise DataError(f"{place}: not valid JSON ({excerpt(str(error))}).") from None
    if not isinstance(row, dict):
        raise DataError(f"{place}: expected an object with the columns as keys, got {row!r:.80}.")
    return row


def _advise(line: bytes, error: json.JSONDecodeError) -> str:
    """Return what to do about a line that is not JSON, where it shows what it is."""
    line = line.removeprefix(codecs.BOM_UTF8).strip()
    if line == b"{":
        return " For objects over several lines: jq -c . FILE > rows.jsonl"
    if error.msg == "Extra data":
        behind = error.doc[error.pos :].strip()
        if behind == ",":
            return " For lines that end with a comma: sed 's/,$//' FILE > rows.jsonl"
        return " For several objects on a line: jq -c . FILE > rows.jsonl" * behind.startswith("{")
    if line.startswith(b"{'"):
        return " It is how Python prints a dict; json.dumps(row) writes JSON."
    return " Is it CSV? Then name it .csv." * (error.pos == 0 and b'"' not in line[:1] and b"," in line)


def _read_parquet(path: Path) -> Iterator[tuple[str, Row]]:
    import pyarrow
    import pyarrow.parquet

    try:
        with open_regular(path) as opened, pyarrow.parquet.ParquetFile(opened) as file:
            check_names(file.schema_arrow.names, f"{path}")
            classes = class_names(file.schema_arrow.metadata or {})
            narrow = {
                field.name: field.type.to_pandas_dtype()
                for field in file.schema_arrow
                if field.type in (pyarrow.float32(), pyarrow.float16())
            }
            number = 0
            for batch in file.iter_batches(batch_size=BATCH):
                if batch.nbytes > MAX_BATCH:
                    raise DataError(f"{path}:{number + 1}: {batch.num_rows} rows of more than {MAX_BATCH:,} bytes.")
                for row in batch.to_pylist():
                    number += 1
                    name_classes(row, classes)
                    shorten_floats(row, narrow)
                    yield f"{path}:{number}", row
    except pyarrow.ArrowException as error:
        raise DataError(f"{path}: broken Parquet: {error}.") from None


def shorten_floats(row: dict[str, Any], columns: Mapping[str, Any]) -> None:
    """Round 16- and 32-bit floats in a row to the digits that they are printed with, in place: 0.1, as in a CSV file.

    Args:
        columns: column -> its type, such as ``float32``.

    >>> row = {"a": 0.0999755859375, "b": 0.10000000149011612}
    >>> shorten_floats(row, {"a": "float16", "b": "float32"})
    >>> row
    {'a': 0.1, 'b': 0.1}
    """
    import numpy as np

    for column, kind in columns.items():
        if isinstance(value := row.get(column), float):
            row[column] = float(str(np.dtype(kind).type(value)))
