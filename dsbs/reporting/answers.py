"""What a finished run answered on the test split, example by example: ``predictions.parquet``."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsbs.core.errors import DataError
from dsbs.core.fingerprint import fingerprint

ACCURACY = "accuracy"  # the metric that counts answers that are right


@dataclass(frozen=True)
class Answered:
    """The answers of a run, in the order of the ids.

    Attributes:
        test_set: a hash over ids and gold answers; equal where two runs were tested on the same.
        ids: of the examples.
        golds: the gold answers.
        scores: the score of each answer by the task's metric, (examples,); for accuracy 1 or 0.
    """

    test_set: str
    ids: list[str]
    golds: list[str]
    scores: NDArray[np.float64]

    @property
    def majority(self) -> float:
        """The share of the most frequent gold answer: the accuracy of who always gives that one."""
        return Counter(self.golds).most_common(1)[0][1] / len(self.golds)


def read_answers(path: Path, test: dict[str, Any], metric: str) -> Answered:
    """Read predictions, and check that they are those which the metrics were computed from.

    Raises:
        DataError: where they cannot be read or do not belong to the metrics.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    column = "correct" if metric == ACCURACY else "metric_score"
    try:
        table = pq.read_table(path, columns=["id", "gold", column])
        rows = sorted(zip(*(table[name].to_pylist() for name in ("id", "gold", column)), strict=True))
    except (OSError, pa.ArrowException, KeyError, TypeError) as error:
        raise DataError(f"predictions.parquet cannot be read ({str(error).splitlines()[0]})") from None
    ids = [id for id, _, _ in rows]
    scores = np.array([score for _, _, score in rows], dtype=np.float64)
    if len(set(ids)) != len(ids):
        raise DataError("predictions.parquet names an id twice")
    if len(ids) != test.get("examples", len(ids)) or not ids or abs(scores.mean() - test[metric]) > 1e-6:
        raise DataError(f"predictions.parquet and metrics.json do not agree on the test {metric}")
    golds = [gold for _, gold, _ in rows]
    return Answered(
        fingerprint([[id, gold] for id, gold in zip(ids, golds, strict=True)], length=16), ids, golds, scores
    )
