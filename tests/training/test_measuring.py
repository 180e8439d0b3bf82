"""What is read of the test split, when, and what is said of it."""

import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from trained import OBJECTIVES, train_tiny

from dsbs.core.records import Annotation, Example
from dsbs.data.join import RunData
from dsbs.extraction.filters import Filter, FilterCheck, restore
from dsbs.tasks.answers import ClosedAnswers
from dsbs.training.settings import Validation


def metrics_of(run: Path) -> dict[str, object]:
    content: dict[str, object] = json.loads((run / "metrics.json").read_text())
    return content


@pytest.fixture(scope="module")
def measured(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run with all that can be measured."""
    return train_tiny(tmp_path_factory.mktemp("measured"), also_measure=["last", "generate"], explain=3)


def test_effort_speed_and_the_way_there_are_told(measured: Path) -> None:
    metrics = metrics_of(measured)
    assert (metrics["example_visits"], metrics["epochs"]) == (32, 0.5)
    assert 0 < metrics["label_tokens"] < metrics["target_tokens"]  # type: ignore[operator]
    assert metrics["milliseconds_per_example"] > 0  # type: ignore[operator]
    history: list[dict[str, float]] = metrics["history"]  # type: ignore[assignment]
    assert [entry["step"] for entry in history if "validation" in entry] == [2, 4]


def test_the_last_step_and_answers_written_freely_are_measured_beside_the_best(measured: Path) -> None:
    metrics = metrics_of(measured)
    for key in ("test", "test_last", "test_generated"):
        assert metrics[key]["examples"] == 16, key  # type: ignore[index]
    if metrics["best_step"] == metrics["steps"]:
        assert metrics["test_last"] == metrics["test"]
    # Reading the last step leaves the best student in its place.
    rows = pq.read_table(measured / "predictions.parquet").to_pylist()
    assert sum(row["correct"] for row in rows) / 16 == metrics["test"]["accuracy"]  # type: ignore[index]


def test_some_predictions_come_with_input_and_rationale(measured: Path) -> None:
    rows = pq.read_table(measured / "predictions.parquet").to_pylist()
    assert sum(row["rationale"] is not None for row in rows) == 3
    assert all(row["input"] for row in rows)


def test_a_search_leaves_test_alone_and_the_same_command_reads_it_later(tmp_path: Path) -> None:
    searched = train_tiny(tmp_path, test=False)
    before = metrics_of(searched)
    assert "test" not in before
    assert not (searched / "predictions.parquet").exists()
    assert "accuracy, test" not in (searched / "checkpoint/README.md").read_text()
    again = train_tiny(tmp_path, test=True, also_measure=["generate"])
    assert again == searched  # what is measured does not name a run
    after = metrics_of(again)
    assert "accuracy, test" in (searched / "checkpoint/README.md").read_text()
    assert after["test"]["examples"] == after["test_generated"]["examples"] == 16  # type: ignore[index]
    assert {key: after[key] for key in before if key != "notes"} == {
        key: value for key, value in before.items() if key != "notes"
    }  # not trained again
    straight = train_tiny(tmp_path / "straight", also_measure=["generate"])
    assert {key: metrics_of(straight)[key] for key in ("test", "test_generated")} == {
        key: after[key] for key in ("test", "test_generated")
    }


def test_what_an_extraction_refused_can_be_learnt_from_and_refused_anew(tmp_path: Path) -> None:
    answers = ClosedAnswers(("no", "yes"))
    example, annotation = Example("1", "Is fire cold?", "no"), Annotation("1", "yes", "It is warm.")
    refused = FilterCheck(Filter("gold", agrees_with_gold=True), answers).check(example, annotation)
    assert refused.status == "filter: agrees_with_gold"
    assert restore(refused) == annotation
    assert restore(Annotation("1", status="no_cue")).status == "no_cue"


def test_a_run_says_whose_annotations_it_learnt_from_and_a_filter_makes_another_run(tmp_path: Path) -> None:
    plain = train_tiny(tmp_path, labels="gold", objective=OBJECTIVES["step_by_step"])
    gated = train_tiny(tmp_path, objective=OBJECTIVES["step_by_step"], filter=Filter("short", max_words=5))
    assert plain != gated
    said = [json.loads((run / "manifest.json").read_text())["annotations"] for run in (plain, gated)]
    assert [one["filter"] for one in said] == ["none", "short (max_words=5)"]
    assert said[0]["folder"] == said[1]["folder"]
    assert said[0]["samples"] == 1
    assert said[0]["rows"] > 0
    assert said[0]["hash"] == said[1]["hash"]
    counts: dict[str, int] = metrics_of(gated)["counts"]  # type: ignore[assignment]
    assert counts["label_only"] == 64  # a rationale of the handbook is longer


def test_a_checkpoint_is_chosen_on_some_of_validation_and_measured_on_all(tmp_path: Path, measured: Path) -> None:
    limited = train_tiny(tmp_path, validation=Validation(limit=3), test=False)
    metrics = metrics_of(limited)
    assert limited.name != measured.name  # it decides which checkpoint is taken
    validation: dict[str, Any] = metrics["validation"]  # type: ignore[assignment]
    assert (validation["examples"], validation["chosen_on"]["examples"], metrics["validation_examples"]) == (8, 3, 3)
    history: list[dict[str, float]] = metrics["history"]  # type: ignore[assignment]
    scores = [entry["validation"] for entry in history if "validation" in entry]
    assert max(scores) == validation["chosen_on"]["accuracy"]
    assert all((3 * score).is_integer() for score in scores)


def test_a_limit_above_what_there_is_changes_nothing(tmp_path: Path, measured: Path) -> None:
    assert train_tiny(measured.parents[6], validation=Validation(limit=8), also_measure=["last"]) == measured


def test_validation_limit_is_a_fixed_draw() -> None:
    examples = [Example(str(number), "", "yes") for number in range(50)]

    def draw(limit: int | None, seed: int = 0) -> set[str]:
        data = RunData(None, examples, [])  # type: ignore[arg-type]
        data.limit_validation(limit, seed)
        return {example.id for example in data.choosing}

    assert draw(None) == {example.id for example in examples}
    assert draw(5) < draw(20)
    assert len(draw(5)) == 5
    assert draw(5) != draw(5, seed=1)
    assert Validation(limit=0).faults() == ["validation.limit=0: expected at least 1, or null for all."]
