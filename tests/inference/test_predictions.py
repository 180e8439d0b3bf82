"""Predictions as Parquet and as lines of JSON."""

import json
import math
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st
from quiz import Overlap, Quiz

from dsbs.core.records import Example, Prediction, softmax
from dsbs.inference.predictions import to_line, write_predictions

SCORES = {"yes": math.log(0.6), "no": math.log(0.2)}


def test_predictions_keep_what_is_missing_as_missing(tmp_path: Path) -> None:
    ranked = Prediction.ranked("a", "yes", SCORES)
    write_predictions(tmp_path / "predictions.parquet", [ranked, Prediction("b", "no", None, "because")], Quiz(),
                      [Example("a", "Is fire hot?")])  # fmt: skip
    table = pq.read_table(tmp_path / "predictions.parquet")
    one, other = table.to_pylist()
    assert one == {
        "id": "a", "gold": "yes", "label": "yes", "rationale": None, "score": SCORES["yes"], "correct": True,
        "confidence": pytest.approx(0.75), "scores": list(SCORES.items()), "metric_score": 1.0,
        "input": "Is fire hot?",
    }  # fmt: skip
    assert other == {
        "id": "b", "gold": "no", "label": None, "rationale": "because", "score": None, "correct": False,
        "confidence": None, "scores": None, "metric_score": 0.0, "input": None,
    }  # fmt: skip
    assert table.schema.metadata[b"metric"] == b"accuracy"
    assert [path.name for path in tmp_path.iterdir()] == ["predictions.parquet"]


def test_a_metric_of_the_task_stands_beside_what_is_right(tmp_path: Path) -> None:
    write_predictions(tmp_path / "one.parquet", [Prediction("a", "the red kettle", "red kettle")], Overlap())
    table = pq.read_table(tmp_path / "one.parquet")
    (row,) = table.to_pylist()
    assert (row["correct"], row["metric_score"]) == (False, pytest.approx(2 / 3))
    assert table.schema.metadata[b"metric"] == b"overlap"


def test_a_line_holds_what_is_asked_for() -> None:
    example, prediction = Example("a", "Is it?"), Prediction.ranked("a", None, SCORES)
    assert list(json.loads(to_line(example, prediction))) == ["id", "label", "score", "confidence"]
    whole = json.loads(to_line(example, prediction, rationale=True, with_input=True, scores=True))
    assert whole["input"] == "Is it?"
    assert whole["scores"] == pytest.approx(SCORES)
    assert whole["confidence"] == pytest.approx(0.75)
    assert whole["rationale"] is None


@pytest.mark.parametrize("score", [math.nan, -math.inf])
def test_what_json_has_no_number_for_is_null(score: float) -> None:
    line = json.loads(to_line(Example("a", ""), Prediction.ranked("a", None, {"yes": score, "no": score}), scores=True))
    assert line["score"] is line["confidence"] is line["scores"]["yes"] is None


@given(st.dictionaries(st.text(), st.floats(-1e4, 0), min_size=1))
def test_the_likeliest_answer_wins_with_its_share(scores: dict[str, float]) -> None:
    prediction = Prediction.ranked("a", None, scores)
    shares = softmax(scores)
    assert prediction.score == max(scores.values())
    assert prediction.confidence == max(shares.values())  # type: ignore[type-var]
    assert sum(shares.values()) == pytest.approx(1)  # type: ignore[arg-type]
