"""``dsbs.defer`` writes a policy, which ``dsbs.serve`` reads again with the checkpoint."""

import json
import os
import signal
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from row_files import write_rows
from trained import train_tiny

from dsbs.core.records import Example
from dsbs.defer import defer, describe_labels
from dsbs.deferral.settings import DeferConfig
from dsbs.extraction.prompts import Prompt
from dsbs.inference.checkpoint import Remembered
from dsbs.objectives import OBJECTIVES
from dsbs.serve import find_policy, reload_on_hangup
from dsbs.serving.service import Student
from dsbs.serving.settings import ServeConfig
from dsbs.students import STUDENTS
from dsbs.tasks import TASKS
from dsbs.teachers import TEACHERS
from dsbs.training.held_out import HeldOut


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A run of a student that is trained in a moment."""
    monkeypatch.chdir(tmp_path)
    return train_tiny(tmp_path, objective="finetune", student=STUDENTS["logreg"](name="logreg"))


def test_a_threshold_of_other_weights_is_told_and_a_reload_reads_the_new_one(
    run: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    record, path = defer(DeferConfig(checkpoint=str(run), share=0.5))
    assert record["note"] is None
    docs = (Path(__file__).parents[2] / "docs/files.md").read_text()
    assert all(f"`{key}`" in docs for key in json.loads(path.read_text()))
    config = ServeConfig(checkpoint=str(run), mode="defer")
    first = find_policy(config)
    assert "other weights" not in caplog.text
    saved = run / "checkpoint/config.json"
    saved.write_text(json.dumps(json.loads(saved.read_text()), indent=1))  # trained again
    assert find_policy(config) == first
    assert "defer.json: its threshold was chosen for other weights than these" in caplog.text

    defer(DeferConfig(checkpoint=str(run), share=0.25))
    policies, students = list[Any](), list[Any]()
    referee = SimpleNamespace(replace=lambda policy, task: policies.append((policy, task)))
    loaded = Student(None, Remembered(), "task", None, "new")  # type: ignore[arg-type]
    monkeypatch.setattr("dsbs.serve.load_student", lambda config: loaded)
    before = signal.getsignal(signal.SIGHUP)
    try:
        reload_on_hangup(config, SimpleNamespace(replace=students.append), referee)
        os.kill(os.getpid(), signal.SIGHUP)
        deadline = time.monotonic() + 10
        while not students and time.monotonic() < deadline:
            time.sleep(0.01)
    finally:
        signal.signal(signal.SIGHUP, before)
    assert students == [loaded]
    [(policy, task)] = policies
    assert policy == find_policy(config) != first
    assert task == "task"


@pytest.mark.parametrize(("own", "accuracy"), [({}, None), ({"label": "said"}, 1.0)])
def test_gold_labels_beside_rationales_are_no_answers_of_the_teacher(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, own: dict[str, str], accuracy: float | None
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [{"input": f"{n} is {w}", "label": w, "said": w, "why": "So."} for n in range(30) for w in ("odd", "even")]
    write_rows(Path("rows.jsonl"), rows)
    task = TASKS["table"](name="parity", path="rows.jsonl", test_share=0.2)  # type: ignore[call-arg]
    teacher = TEACHERS["recorded"](name="recorded", rationale="why", **own)  # type: ignore[call-arg]
    parts = {"labels": "teacher", "teacher": teacher, "prompt": Prompt(name="recorded")}
    done = train_tiny(
        tmp_path, task, OBJECTIVES["finetune"](name="distill"), STUDENTS["logreg"](name="logreg"), **parts
    )
    record, _ = defer(DeferConfig(checkpoint=str(done), share=0.5))
    assert (record["test"]["accuracy_teacher"], record["test"]["usd_per_1000_teacher"]) == (accuracy, None)


@pytest.mark.parametrize(
    ("labels", "agreement"),
    [
        ("gold", None),
        ("teacher", "agreement with the teacher"),
        ("mixed", "agreement with gold and the teacher's labels"),
    ],
)
def test_accuracy_on_labels_of_the_teacher_is_told(run: Path, labels: str, agreement: str | None) -> None:
    metrics = json.loads((run / "metrics.json").read_text())
    (run / "metrics.json").write_text(json.dumps(metrics | {"labels": labels}))
    tested, untested = HeldOut([], [Example("1", "It leaks.", "refund")]), HeldOut([], [])
    told = [
        describe_labels(DeferConfig(checkpoint=str(run), accuracy=0.9), run, tested),
        describe_labels(DeferConfig(checkpoint=str(run), share=0.9), run, untested),
    ]
    assert describe_labels(DeferConfig(checkpoint=str(run), agreement=0.9), run, tested) is None
    assert told == [None, None] if agreement is None else all(agreement in str(one) for one in told)
