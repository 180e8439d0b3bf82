"""Keys of the machine are nowhere to be found in what a training leaves behind."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
from commands.test_train import SMALL
from wandb_files import read_recorded

from dsbs.core.run_ids import find_run_id
from dsbs.dashboards.study import Study
from dsbs.reporting.reading import FinishedRun, read_run
from dsbs.training.tracked import summarise_run

KEYS = {
    "OPENAI_API_KEY": "sk-planted-0123456789abcdef",
    "WANDB_API_KEY": "fedcba9876543210fedcba9876543210fedcba98",
    "HF_TOKEN": "hf_plantedABCDEFGHIJKLMNOPQRSTUV",
}


def test_keys_are_in_no_file_of_a_run_nor_in_what_it_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, run_dsbs: Callable[..., tuple[int, str, str]]
) -> None:
    for name, key in KEYS.items():
        monkeypatch.setenv(name, key)
    words = [word for word in SMALL if not word.startswith("tracking")]
    words += ["tracking.mode=offline", "tracking.artifact=true", "tracking.report_to=[wandb,tensorboard]"]
    code, out, err = run_dsbs("train", *words, "training.logging_steps=2", "data_fraction=1/2")
    assert code == 0, err
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert {"config.yaml", "manifest.json", "metrics.json", "completions.sqlite", "summary.json"} <= names
    assert [path for path in files if "wandb" in path.parts]
    texts = {"output": out + err} | {str(path): path.read_bytes().decode(errors="replace") for path in files}
    found = [(place, name) for place, text in texts.items() for name, key in KEYS.items() if key[3:20] in text]
    assert found == []
    check_recorded(tmp_path)
    check_tensorboard(tmp_path)


def check_recorded(folder: Path) -> None:
    """Check that W&B has everything that a run is about."""
    [path] = folder.glob("outputs/wandb/offline-run-*/run-*.wandb")
    [metrics_path] = folder.rglob("metrics.json")
    run, metrics = read_recorded(path), json.loads(metrics_path.read_text())
    manifest = json.loads((metrics_path.parent / "manifest.json").read_text())
    assert run.run_id == find_run_id(metrics_path.parent)
    assert run.group == "triage/t5_scratch/step_by_step/0.5"
    assert set(run.tags) == {"triage", "t5_scratch", "step_by_step"}
    names = {"task": "triage", "objective": "step_by_step", "method": "step_by_step", "control": "none", "seed": 0}
    assert names.items() <= run.config.items()
    assert run.config["settings"]["training"]["max_steps"] == 4
    assert run.config["data_fraction"] == 0.5
    for key in ("loss", "loss_label", "loss_rationale", "learning_rate", "tokens_per_second", "seconds"):
        assert run.logged(f"train/{key}"), key
    assert len(run.logged("validation/accuracy")) == 2
    assert run.logged("test/accuracy") == [metrics["test"]["accuracy"]]
    assert run.logged("data_fraction") == [0.5]
    finished = read_run(metrics_path.parent)
    assert isinstance(finished, FinishedRun)
    logged = {
        "config": set(run.config),
        "summary": set(run.summary),
        "history": {key for row in run.history for key in row},
    }
    for place, key in Study("triage", folder, {}, {run.run_id: finished}).keys:  # all that a dashboard can show
        assert key in logged[place], (place, key)
    for key, value in summarise_run(metrics, manifest).items():
        assert run.summary[key] == value, key
    assert run.summary["teacher_accuracy"] == manifest["teacher_accuracy"]["test"]
    assert run.summary["predictions"]["nrows"] == 16
    assert run.artifacts[f"triage-t5_scratch-step_by_step-0.5-{metrics_path.parent.name}"] == "model"


def check_tensorboard(folder: Path) -> None:
    """Check that TensorBoard has what the Trainer logs."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    [events] = folder.glob("outputs/tensorboard/*/events.*")
    board = EventAccumulator(str(events))
    board.Reload()
    assert {"train/loss", "train/loss_rationale", "train/tokens_per_second", "eval/accuracy"} <= {
        *board.Tags()["scalars"]
    }
    assert [event.step for event in board.Scalars("eval/accuracy")] == [2, 4]
