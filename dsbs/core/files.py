"""Files that are written completely or not at all, and files inside installed packages."""

import errno
import importlib.util
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_IN_THE_WAY = (errno.EEXIST, errno.ENOTDIR)


def write_text(path: Path, text: str) -> None:
    """Write a text file atomically: a reader sees the old content or the new one, never half of it."""
    with open_atomic(path) as file:
        file.write(text)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """Yield a temporary path to write to; it is renamed to ``path`` at the end, and removed after an error.

    A device or a named pipe is written to directly.

    Raises:
        OSError: it cannot be written; names ``path``.
    """
    if path.is_dir():
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if path.exists() and not path.is_file():
        yield path
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    except OSError as error:
        if error.filename in (None, str(partial)):
            error.filename = str(path)
        raise
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def open_atomic(path: Path) -> Iterator[TextIO]:
    """Open a text file for writing that appears as ``path`` when it is closed; after an error it does not."""
    with atomic_path(path) as partial, partial.open("w", encoding="utf-8") as file:
        yield file
        file.flush()
        if partial != path:
            os.fsync(file.fileno())


def why_unwritable(error: OSError) -> str:
    """Return why a file could not be written, without its name.

    >>> why_unwritable(FileExistsError(errno.EEXIST, "File exists", "notes.txt"))
    'File exists: notes.txt is a file, where a folder is needed'
    """
    reason = error.strerror or str(error)
    return f"{reason}: {error.filename} is a file, where a folder is needed" if error.errno in _IN_THE_WAY else reason


def explain_refusal(error: OSError) -> str | None:
    """Return what to tell the user where the system refused to write or read a place; None for other errors."""
    path, reason = error.filename, error.strerror or str(error)
    if error.errno in _IN_THE_WAY and path is not None:
        found = next((one for one in (Path(path), *Path(path).parents) if one.is_file()), path)
        return f"{found}: a file, where a folder is needed. Name another folder, or move the file."
    if error.errno in _FULL:
        return f"{path or 'A file'}: cannot be written: {reason}. Free some space, or name another folder."
    if error.errno in _FORBIDDEN:
        return f"{path or 'A file'}: {reason}. Fix the permissions, or name another place."
    return f"{path}: {reason}." if error.errno in (errno.EISDIR, errno.ENAMETOOLONG) and path else None


def write_json(path: Path, value: Any) -> None:
    """Write a JSON value atomically, indented.

    Raises:
        ValueError: for NaN and infinity, which JSON does not have.
    """
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def folder_bytes(folder: Path) -> int:
    """Return the size of all files in a folder, in bytes."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def find_packaged(package: str, pattern: str) -> Path | None:
    """Return the first file of an installed package that matches a glob pattern, or None.

    The package is located, never imported: of a package of weights only the files are wanted.
    """
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations if spec else None) or []:
        for file in sorted(Path(folder).glob(pattern)):
            return file
    return None
