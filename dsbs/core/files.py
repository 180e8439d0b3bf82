"""Files that are whole or not there at all."""

import importlib.util
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO


def write_text(path: Path, text: str) -> None:
    """Write a text by rename: whoever reads it sees the old one or the new one, never half of it."""
    with open_whole(path) as file:
        file.write(text)


@contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Give a name to write to; what is there appears as ``path`` at the end, after an error there is nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        yield partial
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)


@contextmanager
def open_whole(path: Path) -> Iterator[TextIO]:
    """Open a text file that appears under its name when all is written; after an error there is none."""
    with whole(path) as partial, partial.open("w", encoding="utf-8") as file:
        yield file
        file.flush()
        os.fsync(file.fileno())


def write_json(path: Path, value: Any) -> None:
    """Write a JSON value by rename, indented for people."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def find_packaged(package: str, pattern: str) -> Path | None:
    """Return a file that an installed package ships, or None. The package is found, never imported: of those that bring
    weights, only the weights matter here.
    """
    spec = importlib.util.find_spec(package)
    for folder in (spec.submodule_search_locations if spec else None) or []:
        for file in sorted(Path(folder).glob(pattern)):
            return file
    return None
