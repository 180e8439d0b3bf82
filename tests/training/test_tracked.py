"""What W&B is told of a run, read back from the files that it leaves offline."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml
from trained import train_tiny
from wandb_files import Recorded, read_recorded

from dsbs.cli.checkpoints import Checkpoint
from dsbs.cli.config import EvaluateConfig
from dsbs.core.errors import ConfigError
from dsbs.core.tracking import Tracking
from dsbs.evaluate import evaluate
from dsbs.training.tracked import sample_answers, summarise_run

METRICS = {
    "task": "triage", "student": "t5", "objective": "step_by_step", "control": "none", "labels": "gold",
    "teacher": "handbook", "data_fraction": 0.125, "seed": 3, "metric": "accuracy", "train_examples": 80,
    "validation_examples": 20, "steps": 100, "best_step": 100, "target_tokens": 4000, "seconds": 12.0,
    "evaluation_seconds": 2.0, "validation": {"accuracy": 0.9, "examples": 20, "against": "gold"},
    "test": {"accuracy": 0.8, "examples": 16}, "test_last": {"accuracy": 0.7, "examples": 16},
}  # fmt: skip
MANIFEST = {"teacher_accuracy": {"train": 0.97, "test": None}, "teacher_cost_usd": 1.5}


def recorded(outputs: Path) -> list[Recorded]:
    """Return what every run below a folder recorded, in the order of their beginnings."""
    files = sorted(outputs.glob("wandb/offline-run-*/run-*.wandb"), key=lambda path: path.stat().st_mtime_ns)
    return [read_recorded(path) for path in files]


def test_the_summary_names_each_accuracy_for_its_split_and_everything_that_panels_need() -> None:
    summary = summarise_run(METRICS, MANIFEST)
    assert summary == {
        "task": "triage", "student": "t5", "objective": "step_by_step", "method": "step_by_step", "control": "none",
        "labels": "gold", "teacher": "handbook", "data_fraction": 0.125, "seed": 3, "metric": "accuracy",
        "validation/accuracy": 0.9, "validation/examples": 20, "validation/against": "gold",
        "test/accuracy": 0.8, "test/examples": 16, "test/accuracy@0.125": 0.8,
        "test_last/accuracy": 0.7, "test_last/examples": 16,
        "labels_training": 80, "labels_choosing": 20, "labels_total": 100, "steps": 100, "best_step": 100,
        "target_tokens": 4000, "seconds": 12.0, "evaluation_seconds": 2.0, "tokens_per_second": 400.0,
        "best_is_last": True, "teacher_accuracy": 0.97, "teacher_accuracy_split": "train", "teacher_cost_usd": 1.5,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "manifest", "told"),
    [
        ({"teacher": None}, {}, {"teacher_cost_usd": 0.0, "teacher_accuracy": None}),
        ({"control": "shuffled"}, MANIFEST, {"method": "step_by_step (shuffled)"}),
        ({"labels": "teacher"}, MANIFEST, {"method": "step_by_step (teacher's labels)"}),
        ({"test": {"accuracy": None, "examples": 0}}, MANIFEST, {"test/accuracy": None, "test/accuracy@0.125": None}),
        ({"metric": "rouge_l", "test": {"rouge_l": 0.4}}, {}, {"test/rouge_l@0.125": 0.4, "test/accuracy": None}),
        ({}, {}, {"teacher_cost_usd": None}),
    ],
    ids=["no teacher", "control", "labels", "no gold", "metric", "no price"],
)
def test_what_is_not_known_is_left_out(changes: dict[str, Any], manifest: dict[str, Any], told: dict[str, Any]) -> None:
    summary = summarise_run(METRICS | changes, manifest)
    assert {key: summary.get(key) for key in told} == told
    assert None not in summary.values()


def test_the_test_split_that_is_read_later_reaches_the_same_run_and_evaluate_tells_only_what_it_is_asked_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tracking = Tracking(mode="offline", predictions=5)
    folder = train_tiny(tmp_path, test=False, tracking=tracking)
    [searched] = recorded(tmp_path / "outputs")
    assert "validation/accuracy" in searched.summary
    assert not [key for key in searched.summary if key.startswith("test")]
    assert "predictions" not in searched.summary

    assert train_tiny(tmp_path, tracking=tracking) == folder
    _, tested = recorded(tmp_path / "outputs")
    accuracy = json.loads((folder / "metrics.json").read_text())["test"]["accuracy"]
    assert tested.run_id == searched.run_id
    assert (tested.summary["test/accuracy"], tested.summary["test/accuracy@1"]) == (accuracy, accuracy)
    assert tested.summary["predictions"]["nrows"] == 5

    evaluate(EvaluateConfig(checkpoint=str(folder)))
    assert len(recorded(tmp_path / "outputs")) == 2
    monkeypatch.chdir(folder)
    figures = evaluate(EvaluateConfig(checkpoint=".", split="validation", track=True, trust_run=True))
    *_, added = recorded(tmp_path / "outputs")
    assert added.run_id == searched.run_id
    assert added.summary["evaluate/validation/accuracy"] == figures["accuracy"]
    assert "test/accuracy" not in added.summary
    assert figures["tracked"] == "W&B: evaluate/validation/accuracy (offline)"


def test_evaluate_cannot_add_to_a_run_that_wandb_does_not_know(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = train_tiny(tmp_path)
    monkeypatch.setattr(Checkpoint, "load", lambda *_: pytest.fail("it was loaded before the fault was found"))

    def refuse(checkpoint: Path, reason: str, **tracking: Any) -> None:
        config = checkpoint / "config.yaml"
        said = yaml.safe_load(config.read_text())
        config.write_text(yaml.safe_dump({**said, "tracking": {**said["tracking"], **tracking}}))
        with pytest.raises(ConfigError, match=reason):
            evaluate(EvaluateConfig(checkpoint=str(checkpoint), track=True))

    refuse(folder, r"tracking\.mode=disabled")
    refuse(folder, r"tracking\.report_to without wandb", report_to=["mlflow"])
    monkeypatch.setenv("WANDB_MODE", "disabled")
    refuse(folder, "WANDB_MODE=disabled", report_to=["wandb"], mode="auto")
    refuse(shutil.copytree(folder, tmp_path / "moved"), "W&B knows a run by its path", mode="offline")
    monkeypatch.chdir(tmp_path / "moved")
    refuse(Path(), "moved: W&B knows a run by its path")
    rows = sample_answers(folder / "predictions.parquet", 3)
    assert len(rows) == 3
    assert {"id", "input", "gold", "label", "correct", "confidence", "rationale"} == rows[0].keys()
    assert {row["id"] for row in rows} < {row["id"] for row in sample_answers(folder / "predictions.parquet", 10)}
    assert sample_answers(folder / "predictions.parquet", 0) == []
