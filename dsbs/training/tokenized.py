"""Tokenized rows in a memory-mapped Arrow file: for data larger than memory, and tokenized only once."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from dsbs.core.files import atomic_path
from dsbs.core.fingerprint import fingerprint, fingerprint_stream
from dsbs.core.progress import Meter
from dsbs.core.records import Target
from dsbs.students.collator import CUT, SHARED, Reader, Row, tokenize
from dsbs.students.model import StudentModel
from dsbs.students.prefixes import KINDS

FORMAT = 5  # version of the file format and of how targets are truncated; part of the file's name
CHUNK = 1000  # rows tokenized together
IDS = pa.list_(pa.int32())
SCHEMA = pa.schema(
    [
        ("inputs", pa.list_(pa.struct([("name", pa.string()), ("ids", IDS)]))),
        (
            "targets",
            pa.list_(
                pa.struct([("kind", pa.string()), ("source", pa.string()), ("ids", IDS), ("weight", pa.float64())])
            ),
        ),
        (
            "signals",
            pa.list_(pa.struct([("kind", pa.string()), ("name", pa.string()), ("values", pa.list_(pa.float32()))])),
        ),
        *((name, pa.int32()) for name in CUT),
    ]
)


class RowFile:
    """The rows of an Arrow file, read from disk on access; a map-style data set for torch's loaders.

    Raises:
        ValueError: the file is broken.
    """

    def __init__(self, path: Path) -> None:
        from datasets import Dataset

        self.path = path
        try:
            self._dataset = Dataset.from_file(str(path)).with_format("arrow")
        except (OSError, pa.ArrowInvalid) as error:
            raise ValueError(f"{path}: {error}") from error

    def __len__(self) -> int:
        return len(self._dataset)

    def __getitem__(self, position: int) -> Row:
        return self.__getitems__([position])[0]

    def __getitems__(self, positions: Sequence[int]) -> list[Row]:
        return [_from_record(record) for record in self._dataset[list(positions)].to_pylist()]

    def lengths(self) -> np.ndarray:
        """Return the number of tokens of inputs and of targets of each row [2, N]."""
        return np.stack([self._count_tokens("inputs"), self._count_tokens("targets")])

    def _count_tokens(self, column: str) -> np.ndarray:
        parts = self._dataset.data.column(column)
        owners = pc.list_parent_indices(parts).to_numpy()
        counts = pc.list_value_length(pc.struct_field(pc.list_flatten(parts), "ids")).to_numpy()
        return np.bincount(owners, weights=counts, minlength=len(self)).astype(np.int64)

    def rewrite(self, path: Path, change: Callable[[int, Row], Row]) -> "RowFile":
        """Return the changed rows in another file, written unless it exists.

        Args:
            change: (position, row) -> new row.
        """

        def chunks() -> Iterator[list[dict[str, Any]]]:
            for start in range(0, len(self), CHUNK):
                positions = range(start, min(start + CHUNK, len(self)))
                records = self._dataset[list(positions)].to_pylist()
                yield [
                    record | _to_record(change(position, _from_record(record)))
                    for position, record in zip(positions, records, strict=True)
                ]

        if not path.exists():
            _write(path, chunks())
        return RowFile(path)

    def cut(self) -> dict[str, int]:
        """Return the numbers ``CUT`` of truncated inputs and targets; those of a teacher beside the student, if any."""
        counts = {name: pc.sum(self._dataset.data.column(name)).as_py() or 0 for name in CUT}
        return {name: count for name, count in counts.items() if count or not name.startswith("teacher")}

    def count_longer(self, kind: str, limit: int) -> int:
        """Return the number of targets of a kind with more than ``limit`` tokens."""
        targets = pc.list_flatten(self._dataset.data.column("targets"))
        sizes = pc.list_value_length(pc.struct_field(targets, "ids"))
        longer = pc.and_(pc.equal(pc.struct_field(targets, "kind"), kind), pc.greater(sizes, limit))
        return pc.sum(longer).as_py() or 0

    def count_unknown(self, unknown: int) -> tuple[dict[str, int], dict[str, int]]:
        """Count the tokens of the student's own inputs and targets, and those with the id ``unknown``.

        Returns:
            ``inputs_tokens``, ``inputs_unknown``, ``targets_tokens``, ``targets_unknown``; and ``inputs`` or
            ``targets`` -> position of the first row with an unknown token, where there is one.
        """
        counts = dict.fromkeys(("inputs_tokens", "inputs_unknown", "targets_tokens", "targets_unknown"), 0)
        first: dict[str, int] = {}
        start = 0
        for batch in self._dataset.data.table.to_batches():  # a chunk at a time
            for column, name in (("inputs", "name"), ("targets", "kind")):
                parts = pc.list_flatten(batch.column(column))
                kinds = [str(kind).split(" ")[0] for kind in pc.struct_field(parts, name).to_pylist()]
                own = np.array([kind in (SHARED, *KINDS) for kind in kinds], dtype=bool)
                ids = pc.struct_field(parts, "ids")
                tokens, part_of = pc.list_flatten(ids).to_numpy(), pc.list_parent_indices(ids).to_numpy()
                owners = pc.list_parent_indices(batch.column(column)).to_numpy()
                lost = (tokens == unknown) & own[part_of]
                counts[f"{column}_tokens"] += int(own[part_of].sum())
                counts[f"{column}_unknown"] += int(lost.sum())
                if column not in first and lost.any():
                    first[column] = start + int(owners[part_of[lost.argmax()]])
            start += len(batch)
        return counts, first


def prepare_rows(
    student: StudentModel,
    texts: Iterable[tuple[str, list[Target]]],
    count: int,
    max_input_tokens: int,
    max_target_tokens: int,
    folder: Path,
    readers: Mapping[str, Reader] | None = None,
) -> RowFile:
    """Tokenize inputs and targets as a stream into a file, unless it exists.

    Args:
        texts: input and targets of every example; iterated once to name the file, and again to write it.
        folder: of the files, whose names are hashes of their content.
        readers: kind of target -> the model that reads it, for kinds that are not the student's own.
    """
    import transformers

    tokenizer = student.tokenizer
    fast = getattr(tokenizer, "backend_tokenizer", None)
    words = fast.to_str() if fast else [repr(tokenizer), tokenizer.get_vocab()]
    identity = [
        type(student).__name__,
        student.prefix_on,
        words,
        *([student.row_identity] if student.row_identity else []),
    ]
    digest = fingerprint_stream(([text, *map(asdict, targets)] for text, targets in texts))
    key = [FORMAT, digest, identity, max_input_tokens, max_target_tokens, transformers.__version__]
    if readers:
        key.append({kind: [one.model.prefix_on, one.kind, one.max_input_tokens] for kind, one in readers.items()})
    path = folder / f"rows-{fingerprint(key, length=16)}.arrow"
    if path.exists():
        try:
            return RowFile(path)
        except ValueError:
            path.unlink()
    with Meter("tokenizing", count) as meter:
        tokenize_part = partial(
            tokenize,
            student,
            max_input_tokens=max_input_tokens,
            max_target_tokens=max_target_tokens,
            readers=readers,
        )
        _write(path, _tokenize(iter(texts), meter, tokenize_part))
    return RowFile(path)


def _tokenize(
    texts: Iterator[tuple[str, list[Target]]], meter: Meter, tokenize_part: Callable[..., tuple[list[Row], Any]]
) -> Iterator[list[dict[str, Any]]]:
    while chunk := list(islice(texts, CHUNK)):
        inputs, targets = zip(*chunk, strict=True)
        rows, cut = tokenize_part(inputs, targets)
        records = [_to_record(row) for row in rows]
        records[0] |= cut  # the counts of a chunk stand in its first row
        yield records
        meter.update(meter.done + len(records))


def _write(path: Path, chunks: Iterable[list[dict[str, Any]]]) -> None:
    """Write the file by rename, so that it is complete or absent."""
    with atomic_path(path) as partial, partial.open("wb") as file, pa.ipc.new_stream(file, SCHEMA) as writer:
        for chunk in chunks:
            writer.write_batch(pa.RecordBatch.from_pylist(chunk, schema=SCHEMA))


def _to_record(row: Row) -> dict[str, Any]:
    return {
        "inputs": [{"name": name, "ids": ids} for name, ids in row.inputs.items()],
        "targets": [
            {"kind": kind, "source": source, "ids": ids, "weight": weight} for kind, source, ids, weight in row.targets
        ],
        "signals": [
            {"kind": kind, "name": name, "values": values}
            for kind, own in row.signals.items()
            for name, values in own.items()
        ],
    }


def _from_record(record: dict[str, Any]) -> Row:
    signals: dict[str, dict[str, list[float]]] = {}
    for part in record["signals"]:
        signals.setdefault(part["kind"], {})[part["name"]] = part["values"]
    return Row(
        {part["name"]: part["ids"] for part in record["inputs"]},
        [(part["kind"], part["source"], part["ids"], part["weight"]) for part in record["targets"]],
        signals,
    )
