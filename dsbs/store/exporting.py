"""Export of a store to JSON lines, Parquet, a folder of ``datasets``, or the Hugging Face hub."""

import json
import tempfile
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dsbs.core.errors import ConfigError, RunError
from dsbs.core.files import atomic_path, open_atomic
from dsbs.store.completions import CompletionStore
from dsbs.store.origin import name_origin

BATCH = 5000
HUB = "hub:"
SCHEMA = pa.schema(
    [
        ("task", pa.string()),
        ("teacher", pa.string()),
        ("split", pa.string()),
        ("id", pa.string()),
        ("sample", pa.int32()),
        ("question", pa.string()),
        ("text", pa.string()),
        ("finish_reason", pa.string()),
        ("model", pa.string()),
        ("prompt_tokens", pa.int64()),
        ("completion_tokens", pa.int64()),
        ("created", pa.float64()),
        ("reasoning", pa.string()),
        ("logprobs", pa.string()),
    ]
)


def export(store: CompletionStore, to: str, *, public: bool = False) -> int:
    """Write every completion to a file, a folder or the hub.

    Args:
        to: ``NAME.jsonl``, ``NAME.parquet``, a folder (as ``datasets`` saves them) or ``hub:OWNER/NAME``.

    Returns:
        how many completions were written.

    Raises:
        ConfigError: where the target exists, or has an unknown suffix.
        RunError: where the hub refuses.
    """
    if to.startswith(HUB):
        return _push(store, to.removeprefix(HUB), public)
    path = Path(to)
    if path.exists() and not (path.is_dir() and not any(path.iterdir())):
        raise ConfigError(f"--to {to}: exists already; choose another name.")
    if path.suffix == ".jsonl":
        with open_atomic(path) as file:
            for row in _rows(store):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
    elif path.suffix == ".parquet":
        with atomic_path(path) as partial:
            _write_parquet(store, partial)
    elif path.suffix:
        raise ConfigError(f"--to {to}: expected NAME.jsonl, NAME.parquet, a folder, or hub:OWNER/NAME.")
    else:
        with tempfile.TemporaryDirectory() as folder:
            _load_dataset(store, Path(folder)).save_to_disk(path)
    return store.count()


def _rows(store: CompletionStore) -> Iterator[dict[str, Any]]:
    identities = store.identities()
    for row in store.rows():
        task, teacher = name_origin(identities.get(row.pop("origin"), {}))
        yield {"task": task, "teacher": teacher} | row


def _write_parquet(store: CompletionStore, path: Path) -> None:
    rows = _rows(store)
    with pq.ParquetWriter(path, SCHEMA) as writer:
        while batch := list(islice(rows, BATCH)):
            writer.write_table(pa.Table.from_pylist(batch, schema=SCHEMA))


def _load_dataset(store: CompletionStore, folder: Path) -> Any:
    from datasets import Dataset

    _write_parquet(store, folder / "completions.parquet")
    return Dataset.from_parquet(str(folder / "completions.parquet"), cache_dir=str(folder / "cache"))


def _push(store: CompletionStore, repository: str, public: bool) -> int:
    with tempfile.TemporaryDirectory() as folder:
        dataset = _load_dataset(store, Path(folder))
        try:
            dataset.push_to_hub(repository, private=not public)
        except Exception as error:  # the hub's client raises many kinds
            raise RunError(
                f"--to hub:{repository}: the hub did not take it ({type(error).__name__}: {error}). Log in with "
                "`hf auth login`, and check OWNER/NAME."
            ) from error
    return store.count()
