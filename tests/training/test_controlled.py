"""Controls in a run: on tokenised rows, in its name and in its metrics."""

import json
from pathlib import Path
from typing import Any

import pytest
from tiny import annotated, tiny_t5
from trained import OBJECTIVES, small_triage, train_tiny

from dsbs.data.controls import CONTROLS
from dsbs.objectives import StepByStep
from dsbs.students.collator import Collator, Row
from dsbs.training.controlled import control_rows
from dsbs.training.settings import TrainSettings
from dsbs.training.tokenized import RowFile, prepare_rows

NAMES = [name for name in CONTROLS if name != "none"]


@pytest.fixture(scope="module")
def student() -> Any:
    return tiny_t5()


def rows_of(student: Any, folder: Path, max_target_tokens: int = 64) -> RowFile:
    objective = StepByStep(name="step_by_step", prefix_on=student.prefix_on)
    pairs = annotated(24, with_rationale=set(range(20)))
    texts = [(example.input, objective.targets(example, annotation)) for example, annotation in pairs]
    return prepare_rows(student, texts, len(pairs), 64, max_target_tokens, folder)


def target(row: Row, kind: str) -> list[int] | None:
    return next((ids for name, _, ids, _ in row.targets if name == kind), None)


@pytest.mark.parametrize("name", NAMES)
def test_rows_keep_labels_weights_inputs_and_end_tokens(student: Any, tmp_path: Path, name: str) -> None:
    rows = rows_of(student, tmp_path)
    found = control_rows(rows, CONTROLS[name](name=name), student, 64, 0, tmp_path)
    assert found.cut() == rows.cut()
    assert len(found) == len(rows)
    for row, other in zip(rows, found, strict=True):
        assert target(row, "label") == target(other, "label")
        assert row.inputs["shared"] == other.inputs["shared"]
        assert [(kind, weight) for kind, _, _, weight in row.targets] == [
            (kind, weight) for kind, _, _, weight in other.targets
        ]
        if (rationale := target(other, "rationale")) is not None:
            assert rationale[-1] == student.config.eos_token_id
            assert student.config.eos_token_id not in rationale[:-1]
    assert Collator(student)(list(found))["targets"].keys() == {"label", "rationale"}
    again = control_rows(rows, CONTROLS[name](name=name), student, 64, 0, tmp_path)
    assert again.path == found.path
    assert control_rows(rows, CONTROLS[name](name=name), student, 64, 1, tmp_path).path != found.path


@pytest.mark.parametrize("name", NAMES)
def test_a_rationale_that_was_cut_has_no_end_whoever_gets_it(student: Any, tmp_path: Path, name: str) -> None:
    rows = rows_of(student, tmp_path, 10)
    found = control_rows(rows, CONTROLS[name](name=name), student, 10, 0, tmp_path)
    before, after = ([ids for row in part if (ids := target(row, "rationale"))] for part in (rows, found))
    assert {len(ids) for ids in before} == {3, 7, 10}
    for ids in before + after:
        assert student.end_id not in ids[:-1]
        assert (ids[-1] == student.end_id) == (len(ids) < 10)


@pytest.mark.parametrize("prefix_on", ["target", "input"])
def test_a_copy_with_gaps_is_read_for_the_rationale_alone(tmp_path: Path, prefix_on: str) -> None:
    student = tiny_t5(prefix_on)
    control = CONTROLS["extra_compute"](name="extra_compute")
    for row in list(control_rows(rows_of(student, tmp_path), control, student, 64, 0, tmp_path))[:20]:
        label, noised = ("shared", "noised") if prefix_on == "target" else ("label", "noised")
        assert set(row.inputs) == {label, noised}
        assert {kind: source for kind, source, _, _ in row.targets} == {"label": label, "rationale": noised}
        assert len(row.inputs[noised]) <= len(row.inputs[label]) + 3  # "rationale" is a longer prefix


def test_a_control_names_the_run_and_is_in_its_metrics(tmp_path: Path) -> None:
    plain, controlled, again = (
        train_tiny(tmp_path, control=CONTROLS[name](name=name)) for name in ("none", "shuffled", "shuffled")
    )
    assert plain != controlled == again
    metrics = [json.loads((run / "metrics.json").read_text()) for run in (plain, controlled)]
    assert [one["control"] for one in metrics] == ["none", "shuffled"]
    assert metrics[0]["target_tokens"] == pytest.approx(metrics[1]["target_tokens"], rel=0.05)
    assert "control" not in json.loads((plain / "manifest.json").read_text())["settings"]


@pytest.mark.parametrize("name", ["extra_compute", "matched_information"])
def test_a_run_trains_with_another_input_or_text(tmp_path: Path, name: str) -> None:
    assert (train_tiny(tmp_path, small_triage(), control=CONTROLS[name](name=name)) / "metrics.json").exists()


@pytest.mark.parametrize("name", ["finetune", "rationale_then_label", "label_then_rationale"])
def test_a_control_without_rationales_of_their_own_is_refused(name: str) -> None:
    settings = TrainSettings(objective=OBJECTIVES[name], control=CONTROLS["shuffled"](name="shuffled"))
    [fault] = settings.faults()
    assert fault == (
        "control=shuffled replaces the rationale that is learned beside the label: choose objective=step_by_step."
    )
    assert TrainSettings(objective=OBJECTIVES["step_by_step"], control=settings.control).faults() == []
