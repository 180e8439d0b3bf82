"""Predictions as Parquet files and as JSON lines."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dsbs.core.files import atomic_path
from dsbs.core.records import Example, Prediction
from dsbs.tasks.base import Task


def write_predictions(
    path: Path, predictions: Sequence[Prediction], task: Task, examples: Iterable[Example] = ()
) -> None:
    """Write predictions as Parquet: the fields of ``Prediction``, ``correct``, ``metric_score`` and ``input``.

    The name of the metric is in the schema's metadata; ``score`` is the label's log-probability, in nats.

    Args:
        examples: their inputs are written; may be empty.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns: dict[str, Any] = {
        name: [getattr(prediction, name) for prediction in predictions]
        for name in ("id", "gold", "label", "rationale", "score", "confidence")
    }
    columns["scores"] = [None if one.scores is None else list(one.scores.items()) for one in predictions]
    columns["correct"] = [task.answers.equivalent(one.label, one.gold) for one in predictions]
    columns["metric_score"] = [0.0 if one.gold is None else task.score(one.label, one.gold) for one in predictions]
    inputs = {example.id: example.input for example in examples}
    columns["input"] = [inputs.get(prediction.id) for prediction in predictions]
    schema = pa.schema(
        [(name, pa.string()) for name in ("id", "gold", "label", "rationale")]
        + [("score", pa.float64()), ("correct", pa.bool_()), ("confidence", pa.float64())]
        + [("scores", pa.map_(pa.string(), pa.float64())), ("metric_score", pa.float64()), ("input", pa.string())],
        metadata={"metric": task.metric},
    )
    with atomic_path(path) as partial:
        pq.write_table(pa.table(columns, schema=schema), partial)


def to_line(
    example: Example, prediction: Prediction, rationale: bool = False, with_input: bool = False, scores: bool = False
) -> str:
    """Return a prediction as a line of JSON, as ``dsbs.predict`` writes it; log-probabilities are in nats, or null."""
    line: dict[str, Any] = {"id": prediction.id}
    if with_input:
        line["input"] = example.input
    line |= {
        "label": prediction.label,
        "score": finite(prediction.score),
        "confidence": finite(prediction.confidence),
    }
    if scores:
        line["scores"] = finite_scores(prediction.scores)
    if rationale:
        line["rationale"] = prediction.rationale
    return json.dumps(line, ensure_ascii=False)


def finite(value: float | None) -> float | None:
    """Return a number, or None for one that JSON lacks: NaN and infinity."""
    return value if value is not None and math.isfinite(value) else None


def finite_scores(scores: Mapping[str, float] | None) -> dict[str, float | None] | None:
    """Return the log-probabilities of closed answers, None for those of answers that the student does not know."""
    return None if scores is None else {choice: finite(score) for choice, score in scores.items()}
