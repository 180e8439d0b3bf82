"""A finished run's answers to the test examples: ``predictions.parquet``."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsbs.core.errors import DataError
from dsbs.core.fingerprint import fingerprint
from dsbs.core.untrusted import excerpt, open_regular
from dsbs.tasks.base import ACCURACY

MAX_ROWS, MAX_BYTES = 2_000_000, 2**30
# Columns that may be missing in older runs; their values are then None.
OPTIONAL = ("label", "rationale", "confidence", "input")


@dataclass(frozen=True)
class Answered:
    """The answers of a run, in the order of the ids.

    Attributes:
        test_set: hash over ids and gold answers; equal for runs tested on the same examples.
        scores: of each answer by the task's metric [examples]; for accuracy 1 or 0.
        correct: whether each answer is right [examples].
        labels: the answers; None where the student's text has no answer.
        confidences: probability of each answer among the closed ones, or None.
    """

    test_set: str
    ids: list[str]
    golds: list[str]
    scores: NDArray[np.float64]
    correct: NDArray[np.bool_]
    labels: list[str | None]
    rationales: list[str | None]
    confidences: list[float | None]
    inputs: list[str | None]

    @property
    def majority(self) -> float:
        """The share of the most frequent gold answer: the accuracy of always answering that."""
        return Counter(self.golds).most_common(1)[0][1] / len(self.golds)


def read_answers(path: Path, test: dict[str, Any], metric: str) -> Answered:
    """Read predictions, and check that the metrics were computed from them.

    Raises:
        DataError: they cannot be read, or do not match the metrics.
    """
    columns = _read_columns(path, "correct" if metric == ACCURACY else "metric_score")
    ids, golds = columns["id"], columns["gold"]
    scores = np.array(columns["scored"], dtype=np.float64)
    if len(set(ids)) != len(ids):
        raise DataError("predictions.parquet has a duplicate id")
    if not np.isfinite(scores).all():
        raise DataError("predictions.parquet has scores that are not finite")
    same_count = len(ids) == (test.get("examples") or len(ids))
    if not ids or not same_count or not np.isclose(scores.mean(), test[metric], 1e-6, 1e-6):
        raise DataError(f"predictions.parquet and metrics.json do not agree on the test {metric}")
    return Answered(
        test_set=fingerprint([[id, gold] for id, gold in zip(ids, golds, strict=True)], length=16),
        ids=ids,
        golds=golds,
        scores=scores,
        correct=np.array(columns["correct"], dtype=np.bool_),
        labels=columns["label"],
        rationales=columns["rationale"],
        confidences=columns["confidence"],
        inputs=columns["input"],
    )


def _read_columns(path: Path, scored: str) -> dict[str, list[Any]]:
    """Return the columns, sorted by id."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with open_regular(path) as opened, pq.ParquetFile(opened) as file:
            there = set(file.schema_arrow.names)
            wanted = {"id", "gold", "correct", scored}
            if missing := sorted(wanted - there):
                raise DataError(f"predictions.parquet lacks {', '.join(missing)}")
            names = sorted(wanted | (set(OPTIONAL) & there))
            _check_types(file.schema_arrow, names)
            rows = _read_bounded(file, names)
        rows["scored"] = list(rows[scored])
        if None in rows["id"] or None in rows["gold"] or None in rows[scored] or None in rows["correct"]:
            raise DataError("predictions.parquet has rows without id, gold answer or score")
        order = sorted(range(len(rows["id"])), key=rows["id"].__getitem__)
    except (OSError, pa.ArrowException, TypeError, ValueError, OverflowError) as error:
        raise DataError(f"predictions.parquet cannot be read ({excerpt(str(error).splitlines()[0])})") from None
    empty = [None] * len(order)
    return {
        name: [values[position] for position in order]
        for name, values in {**dict.fromkeys(OPTIONAL, empty), **rows}.items()
    }


def _check_types(schema: Any, names: Sequence[str]) -> None:
    import pyarrow.types as kinds

    tests = {"correct": (kinds.is_boolean,), "metric_score": (kinds.is_floating, kinds.is_integer)}
    tests["confidence"] = (kinds.is_floating, kinds.is_null)
    texts = (kinds.is_string, kinds.is_large_string, kinds.is_null)
    for name in names:
        if not any(test(schema.field(name).type) for test in tests.get(name, texts)):
            raise DataError(f"predictions.parquet: the column {name} is {excerpt(str(schema.field(name).type), 40)}")


def _read_bounded(file: Any, names: list[str]) -> dict[str, list[Any]]:
    """Read columns in batches, up to a limit: a kilobyte of Parquet may encode a billion rows."""
    rows: dict[str, list[Any]] = {name: [] for name in names}
    size = 0
    if file.metadata.num_rows > MAX_ROWS:
        raise DataError(f"predictions.parquet: {file.metadata.num_rows:,} rows, of at most {MAX_ROWS:,}")
    for batch in file.iter_batches(batch_size=8192, columns=names):
        size += batch.nbytes
        if size > MAX_BYTES:
            raise DataError(f"predictions.parquet: more than {MAX_BYTES:,} bytes of answers")
        for name in names:
            rows[name] += batch.column(name).to_pylist()
    return rows
