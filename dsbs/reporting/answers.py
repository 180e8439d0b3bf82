"""What a finished run answered on the test split, example by example: ``predictions.parquet``."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsbs.core.errors import DataError
from dsbs.core.fingerprint import fingerprint
from dsbs.tasks.base import ACCURACY

# Columns that older runs lack; what is missing is None for every example.
OPTIONAL = ("label", "rationale", "confidence", "input")


@dataclass(frozen=True)
class Answered:
    """The answers of a run, in the order of the ids.

    Attributes:
        test_set: a hash over ids and gold answers; equal where two runs were tested on the same.
        ids: of the examples.
        golds: the gold answers.
        scores: the score of each answer by the task's metric, (examples,); for accuracy 1 or 0.
        correct: whether each answer is right, (examples,).
        labels: the answers; None where what the student wrote is no answer.
        rationales: the student's rationales, where it wrote one.
        confidences: the probability of each answer among the closed ones, where there are such.
        inputs: what was asked.
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
        """The share of the most frequent gold answer: the accuracy of who always gives that one."""
        return Counter(self.golds).most_common(1)[0][1] / len(self.golds)


def read_answers(path: Path, test: dict[str, Any], metric: str) -> Answered:
    """Read predictions, and check that they are those which the metrics were computed from.

    Raises:
        DataError: where they cannot be read or do not belong to the metrics.
    """
    columns = _read_columns(path, "correct" if metric == ACCURACY else "metric_score")
    ids, golds = columns["id"], columns["gold"]
    scores = np.array(columns["scored"], dtype=np.float64)
    if len(set(ids)) != len(ids):
        raise DataError("predictions.parquet names an id twice")
    if len(ids) != test.get("examples", len(ids)) or not ids or abs(scores.mean() - test[metric]) > 1e-6:
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
    """Return the columns in the order of the ids."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            there = set(file.schema_arrow.names)
            wanted = {"id", "gold", "correct", scored}
            if missing := sorted(wanted - there):
                raise DataError(f"predictions.parquet lacks {', '.join(missing)}")
            table = file.read(columns=sorted(wanted | (set(OPTIONAL) & there)))
        rows = {name: table[name].to_pylist() for name in table.column_names}
        rows["scored"] = list(rows[scored])
        order = sorted(range(len(rows["id"])), key=rows["id"].__getitem__)
    except (OSError, pa.ArrowException, TypeError) as error:
        raise DataError(f"predictions.parquet cannot be read ({str(error).splitlines()[0]})") from None
    empty = [None] * len(order)
    return {
        name: [values[place] for place in order] for name, values in {**dict.fromkeys(OPTIONAL, empty), **rows}.items()
    }
