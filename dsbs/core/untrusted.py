"""Untrusted input: files and JSON of endpoints, runs, stores and checkpoints, read within bounds and checked by type.

All of it is read through here: ``open_regular``, ``read_file``, ``read_json_file`` and ``read_yaml`` for files,
``load_json`` for the syntax, ``Fields`` for the parts. A part of another type than expected counts as missing; a text
is bounded and can be written to any file. Names that become paths are checked by ``dsbs.core.names``.
"""

import json
import math
import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import IO, Any, AnyStr

import orjson
import yaml

from dsbs.core.errors import DataError

# Bytes of a file of settings or figures; what is larger holds data, and is read as a stream.
MAX_FILE = 4 * 2**20
# Bytes of a line that a student is to answer; students read a few thousand words.
MAX_LINE = 2**20
# Bytes of a row of data, and characters of what becomes a part of an example.
MAX_ROW = 2**24
MAX_INPUT = 2**20
MAX_LABEL = 100_000
# Characters of an untrusted text; names and reasons are shorter.
MAX_TEXT = 1_000_000
MAX_NAME = 200
MAX_COUNT = 10**12
# Values of a JSON document: each takes some 60 bytes or more, however short it is written.
MAX_VALUES = 2_000_000
# Characters of a config that a run wrote down, and how deep it may be.
MAX_YAML = 2**18
MAX_DEPTH = 32
YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # where libyaml is there, ten times as fast
_STARTS = (b",", b"[", b"{")


def load_json(content: bytes | str, exact: bool = False, limit: int = MAX_VALUES) -> Any:
    """Read a JSON document.

    Args:
        exact: whether integers beyond 64 bits stay integers; else they become floats.

    Raises:
        ValueError: where it is not JSON, is nested too deeply, or has too many values.
    """
    raw = content.encode(errors="surrogatepass") if isinstance(content, str) else content
    if sum(map(raw.count, _STARTS)) > limit:
        raise ValueError(f"it has more than {limit:,} values")
    try:
        if not exact:
            return orjson.loads(raw)
    except orjson.JSONDecodeError:
        pass  # what only Python's reader takes: infinity, half surrogates, line breaks within a text
    try:
        return json.loads(raw, strict=False)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading; a FIFO would block, and a device may have no end.

    Raises:
        DataError: where it is missing, cannot be read, or is no regular file.
    """
    try:
        # Without blocking: opening a FIFO waits for whoever writes to it.
        descriptor = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from None
    kind = os.fstat(descriptor).st_mode
    if not stat.S_ISREG(kind):
        os.close(descriptor)
        found = next((name for name, test in _KINDS.items() if test(kind)), "something else")
        raise DataError(f"{path}: expected a regular file, found {found}.")
    return os.fdopen(descriptor, "rb")


_KINDS = {"a folder": stat.S_ISDIR, "a FIFO": stat.S_ISFIFO, "a device": stat.S_ISCHR, "a disk": stat.S_ISBLK,
          "a socket": stat.S_ISSOCK}  # fmt: skip


def check_regular(folder: Path) -> None:
    """Check that a folder holds nothing but regular files and folders: a link may lead anywhere, a FIFO blocks.

    Raises:
        DataError: naming the first path that is something else.
    """
    for path in folder.rglob("*"):
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise DataError(f"{path}: expected a regular file or a folder; a link may lead anywhere.")


def bounded_lines(
    file: IO[AnyStr], name: str, limit: int = MAX_LINE, expected: str = "one input per line"
) -> Iterator[AnyStr]:
    """Yield the lines of a stream, checking their length.

    Args:
        limit: bytes, or characters of a text stream, that a line may have.

    Raises:
        DataError: for a line that is longer, with its number.
    """
    number = 0
    while line := file.readline(limit + 1):
        number += 1
        if len(line) > limit:
            unit = "bytes" if isinstance(line, bytes) else "characters"
            raise DataError(f"{name}:{number}: a line of more than {limit:,} {unit}; expected {expected}.")
        yield line


def read_file(path: Path, limit: int = MAX_FILE) -> bytes:
    """Return the content of a file.

    Raises:
        DataError: as ``open_regular``, and where it holds more than ``limit`` bytes.
    """
    try:
        with open_regular(path) as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error}).") from None
    if len(content) > limit:
        raise DataError(f"{path}: larger than the {limit:,} bytes that such a file may have.")
    return content


def read_json_file(path: Path, limit: int = MAX_FILE) -> Any:
    """Return the JSON document in a file.

    Raises:
        DataError: as ``read_file``, and where it is not JSON or has too many values.
    """
    try:
        return load_json(read_file(path, limit))
    except ValueError as error:
        raise DataError(f"{path}: not valid JSON ({excerpt(str(error))}).") from None


def read_object(path: Path) -> dict[str, Any]:
    """Return the JSON object in a file.

    Raises:
        DataError: as ``read_json_file``, and where it is not an object.
    """
    value = read_json_file(path)
    if not isinstance(value, dict):
        raise DataError(f"{path}: expected an object, found {type(value).__name__}.")
    return value


def read_yaml(path: Path) -> dict[str, Any]:
    """Return the keys and values in a YAML file, such as the ``config.yaml`` of a run.

    Raises:
        DataError: as ``read_file``, and where it is not YAML, not as ``check_yaml`` wants it, or something else.
    """
    try:
        text = read_file(path, MAX_YAML).decode()
        check_yaml(text)
        values = yaml.load(text, Loader=YAML_LOADER)  # noqa: S506 - a safe loader
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise DataError(f"{path}: not valid YAML ({excerpt(str(error).splitlines()[0])}).") from None
    if not isinstance(values, dict):
        raise DataError(f"{path}: expected keys and values, found {type(values).__name__}.")
    return {str(key): value for key, value in values.items()}


def check_yaml(text: str) -> None:
    """Check that a YAML document has no aliases, which can expand to gigabytes, and is not nested deeply.

    Raises:
        ValueError: where it has, is, or is not YAML at all.
    """
    depth = 0
    try:
        for event in yaml.parse(text, Loader=YAML_LOADER):
            if isinstance(event, yaml.AliasEvent):
                raise ValueError("it has aliases (*name), which dsbs never writes")
            depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
            if depth > MAX_DEPTH:
                raise ValueError("it is nested too deeply")
    except (yaml.YAMLError, RecursionError) as error:
        raise ValueError(excerpt(str(error).split("\n")[0]) or "it is not YAML") from None


def storable(text: str) -> str:
    """Return the text with lone surrogates, which UTF-8 cannot encode, replaced by U+FFFD.

    >>> storable("a" + chr(0xd800) + "b") == "a" + chr(0xfffd) + "b"
    True
    """
    return text if text.isascii() else text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def excerpt(value: Any, limit: int = MAX_NAME) -> str:
    """Return an untrusted value on one line, for a message: bounded, without control characters.

    >>> excerpt("no" + chr(27) + "[31m  such\\nmodel"), excerpt(b"xx\\xff", 2), excerpt(["a", 1])
    ('no [31m such model', 'xx', "['a', 1]")
    """
    if isinstance(value, bytes):
        value = value[: 4 * limit].decode(errors="replace")
    elif not isinstance(value, str):
        try:
            value = repr(value)
        except (RecursionError, ValueError):  # nested too deeply; an integer with too many digits
            value = f"a {type(value).__name__}"
    text = storable(value[: 8 * limit])
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:limit].rstrip()


def is_finite(value: Any) -> bool:
    """Return whether a value is a finite number in the range of floats; booleans are not numbers."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    return abs(value) <= 1e300 and math.isfinite(value)


class Fields:
    """An untrusted JSON object, read by type: a field of another type than asked for counts as missing.

    Args:
        value: any JSON value; one that is not an object has no fields.

    >>> fields = Fields({"model": ["m"], "usage": {"tokens": 7.0, "cost": float("inf")}, "choices": [{"text": "hi"}]})
    >>> fields.text("model"), fields.inside("usage").count("tokens"), fields.inside("usage").number("cost")
    (None, 7, None)
    >>> [choice.text("text") for choice in fields.each("choices")]
    ['hi']
    """

    def __init__(self, value: Any) -> None:
        self._values: dict[str, Any] = value if isinstance(value, dict) else {}

    def __contains__(self, name: str) -> bool:
        return self._values.get(name) is not None

    def __bool__(self) -> bool:
        return bool(self._values)

    def has(self, name: str) -> bool:
        """Return whether there is such a field, even if it is ``null``."""
        return name in self._values

    def raw(self, name: str) -> Any:
        """Return a field unchecked, or None; only to quote it with ``excerpt``."""
        return self._values.get(name)

    def text(self, name: str, limit: int = MAX_NAME) -> str | None:
        """Return a text field, cut to ``limit`` characters and made ``storable``; None if it is not a text."""
        value = self._values.get(name)
        return storable(value[:limit]) if isinstance(value, str) else None

    def count(self, name: str, limit: int = MAX_COUNT) -> int | None:
        """Return an integer field from 0 to ``limit``; None if it is not one."""
        value = self._values.get(name)
        if isinstance(value, float) and value.is_integer():
            value = int(value)
        return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= limit else None

    def number(self, name: str) -> float | None:
        """Return a finite number as float; None if it is not one."""
        value = self._values.get(name)
        return float(value) if value is not None and is_finite(value) else None

    def inside(self, name: str) -> "Fields":
        """Return an object field; one without fields if it is not an object."""
        return Fields(self._values.get(name))

    def each(self, name: str) -> Iterator["Fields"]:
        """Yield the items of a list field, as objects; nothing if it is not a list."""
        values = self._values.get(name)
        for value in values if isinstance(values, list) else ():
            yield Fields(value)
