"""What a run's files may say: a run that says something else is left out with the reason, and the report is written."""

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_runs import edit_answers, edit_json, share, write_failure, write_run
from rich.console import Console

from dsbs.reporting.reading import FinishedRun, LeftOut, read_run
from dsbs.reporting.report import build_reports
from dsbs.reporting.terminal import show_report
from dsbs.reporting.writing import write_report

Change = Callable[[Path], object]
ALIASES = "a: &a [x,x,x,x,x,x,x,x,x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [{','.join(['*' + chr(97 + n)] * 9)}]\n" for n in range(9)
)


def metrics(**changes: Any) -> Change:
    return lambda folder: edit_json(folder / "metrics.json", **changes)


def manifest(**changes: Any) -> Change:
    return lambda folder: edit_json(folder / "manifest.json", **changes)


def text(name: str, content: str | bytes) -> Change:
    return lambda folder: (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)


def answers(**columns: Any) -> Change:
    return lambda folder: edit_answers(folder, **columns)


def is_fifo(name: str) -> Change:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        os.mkfifo(folder / name)

    return change


LEFT_OUT: dict[str, tuple[Change, str]] = {
    "a task that leaves": (metrics(task="../../../elsewhere"), "task='../../../elsewhere': expected letters"),
    "a task of markup": (metrics(task="<script>"), "task='<script>': expected letters"),
    "a task of escapes": (metrics(task="a\x1b[2J"), "expected letters"),
    "a student that is a list": (metrics(student=["t5"]), "student=.*: expected letters"),
    "an objective that is an object": (metrics(objective={"name": "x"}), "objective=.*: expected letters"),
    "a teacher that is a list": (metrics(teacher=[]), "teacher=.*: expected letters"),
    "labels of nobody": (metrics(labels="mine"), "labels='mine': expected one of gold, teacher, mixed"),
    "no labels": (metrics(labels=...), "lacks labels"),
    "a share of nothing": (metrics(data_fraction=0), "data_fraction='0': expected a share"),
    "a share that is a text": (metrics(data_fraction="1/8"), "data_fraction='1/8': expected a share"),
    "a share that is true": (metrics(data_fraction=True), "data_fraction='True': expected a share"),
    "a seed that is a list": (metrics(seed=[0]), "seed=.*: expected a whole number"),
    "a seed beyond all": (metrics(seed=10**400), "seed=.*: expected a finite number"),
    "steps of half": (metrics(best_step=1.5), "best_step='1.5': expected a whole number"),
    "an accuracy beyond all": (metrics(test={"accuracy": 1e300, "examples": 10}), "accuracy=.*from 0 to 1"),
    "an accuracy that is none": (text("metrics.json", '{"test": {"accuracy": NaN}}'), "expected a finite number"),
    "no test": (metrics(test=None), "test='None': expected an object"),
    "a test of another metric": (metrics(metric="f1"), "lacks test.f1"),
    "a metric that is an object": (metrics(metric={"a": 1}), "metric=.*: expected the name of a metric"),
    "tokens that are a text": (metrics(target_tokens="many"), "target_tokens='many': expected a number"),
    "seconds without end": (metrics(seconds=1e301), "seconds=.*: expected a (finite )?number"),
    "a history that is a text": (metrics(history="long"), "history='long': expected a list"),
    "another score that is a list": (metrics(test_last={"accuracy": []}), "test_last: accuracy=.*from 0 to 1"),
    "metrics that are a list": (text("metrics.json", "[]"), "expected an object, found list"),
    "metrics cut off": (text("metrics.json", '{"task": "tri'), "metrics.json is corrupt or missing"),
    "metrics nested a little too deeply": (metrics(counts={"a": [[[[[[[[[[1]]]]]]]]]]}), "nested too deeply"),
    "metrics without end": (text("metrics.json", b" " * 2**25), "larger than the"),
    "metrics of many values": (metrics(history=[0] * 300_000), "more than 200,000 values"),
    "metrics of half surrogates": (text("metrics.json", '{"task": "\\ud800"}'), "expected letters|lacks"),
    "metrics that are a FIFO": (is_fifo("metrics.json"), "expected a regular file, found a FIFO"),
    "a manifest that is a FIFO": (is_fifo("manifest.json"), "found a FIFO"),
    "a command that is a list": (manifest(command=["rm"]), "command=.*: expected a text"),
    "settings that are a list": (manifest(settings=[1]), "settings=.*: expected an object"),
    "a task in the settings that is a text": (manifest(settings={"task": "x"}), "settings: task='x': expected an obj"),
    "processes that are a text": (manifest(settings={"processes": "two"}), "processes='two': expected a whole"),
    "a batch that is a text": (
        manifest(settings={"training": {"per_device_train_batch_size": "8"}}), "batch_size='8': expected a whole"
    ),
    "rationales that are a number": (manifest(rationales=7), "rationales='7': expected a text"),
    "an alias bomb": (text("config.yaml", ALIASES), "it has aliases"),
    "a config that is missing": (lambda folder: (folder / "config.yaml").unlink(), "config.yaml: cannot be read"),
    "a config of infinities": (text("config.yaml", "training:\n  learning_rate: .inf\n"), "expected a finite number"),
    "a batch in the config that is a text": (
        text("config.yaml", "training:\n  per_device_train_batch_size: many\n"), "batch_size='many': expected a whole"
    ),
}  # fmt: skip


@pytest.mark.timeout(20)
@pytest.mark.parametrize("kind", LEFT_OUT)
def test_a_run_that_says_what_no_run_says_is_left_out_with_the_reason(kind: str, tmp_path: Path) -> None:
    folder = write_run(tmp_path, share(90))
    change, sentence = LEFT_OUT[kind]
    change(folder)
    found = read_run(folder)
    assert isinstance(found, LeftOut)
    assert re.search(sentence, found.reason), found.reason
    assert len(found.reason) < 500
    assert found.reason.isprintable()


NO_ANSWERS: dict[str, tuple[Change, str]] = {
    "missing": (lambda folder: (folder / "predictions.parquet").unlink(), "cannot be read"),
    "a FIFO": (is_fifo("predictions.parquet"), "found a FIFO"),
    "an id twice": (answers(id=["a"] * 100), "has a duplicate id"),
    "ids that are numbers": (answers(id=list(range(100))), "the column id is int64"),
    "an id that is none": (answers(id=[None, *map(str, range(99))]), "rows without id"),
    "a right answer that is none": (answers(correct=[None] + [True] * 99), "rows without id, gold answer or score"),
    "other answers": (answers(correct=[True] * 100), "do not agree on the test accuracy"),
    "confidences that are texts": (answers(confidence=["sure"] * 100), "the column confidence is string"),
}


@pytest.mark.parametrize("kind", NO_ANSWERS)
def test_a_run_whose_answers_cannot_be_read_is_told_and_cannot_be_compared(kind: str, tmp_path: Path) -> None:
    folder = write_run(tmp_path, share(90))
    change, sentence = NO_ANSWERS[kind]
    change(folder)
    found = read_run(folder)
    assert isinstance(found, FinishedRun)
    assert found.answers is None
    assert sentence in (found.fault or "")


def test_a_kilobyte_that_stands_for_a_billion_rows_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_run(tmp_path, share(90))
    for name, bound in (("MAX_ROWS", "of at most 50"), ("MAX_BYTES", "more than 50 bytes of answers")):
        with monkeypatch.context() as patched:
            patched.setattr(f"dsbs.reporting.answers.{name}", 50)
            found = read_run(folder)
        assert isinstance(found, FinishedRun)
        assert bound in (found.fault or "")


MARKUP = (
    "$x^{2",
    "[bold]a[/",
    "<script>alert(1)</script>",
    "a\x1b[2J",
    "{{ 7 * 7 }}",
    "| a | b |",
    "_first",
    "\\frac{$",
)


def test_hostile_runs_beside_sound_ones_leave_a_whole_report_that_shows_texts_as_they_stand(tmp_path: Path) -> None:
    """Names in settings are texts, in HTML, in the plot and in the terminal alike."""
    for seed in (0, 1):
        write_run(tmp_path, share(80), seed=seed)
        for place, name in enumerate(MARKUP):
            changed = {"objective.note": name, "prompt.name": name}
            write_run(tmp_path, share(90, first=seed), objective="step_by_step", seed=seed, config=changed,
                      suffix=f"bbbbbbb{place}")  # fmt: skip
    for number, (change, _) in enumerate(LEFT_OUT.values()):
        change(write_run(tmp_path, share(90), seed=2, suffix=f"{number:08d}"))
    write_failure(tmp_path, "killed \x1b]0;title\x07 by <b>nobody</b>")
    with Path(os.devnull).open("w") as nowhere:
        (report,) = build_reports(tmp_path / "train")
        places = write_report(report, tmp_path / "report")
        console = Console(file=nowhere, record=True, width=200, force_terminal=True)
        show_report(report, places, console)
    assert len(report.left_out) == len(LEFT_OUT) + 1
    page = (tmp_path / "report" / "index.html").read_text(encoding="utf-8")
    assert "<script>alert" not in page
    assert "\x1b" not in page
    shown = console.export_text()
    assert "[bold]a[/" in shown
    assert "$x^{2" in shown
    assert json.loads((tmp_path / "report" / "report.json").read_text(encoding="utf-8"))["left_out"]
    assert not (tmp_path / "elsewhere").exists()


SUMMARIES: dict[str, Any] = {
    "a list": [],
    "an accuracy of markup": {"splits": {"test": {"teacher_accuracy": "<b>"}}},
}


@pytest.mark.parametrize("kind", SUMMARIES)
def test_a_teachers_summary_of_another_form_counts_as_none(kind: str, tmp_path: Path) -> None:
    write_run(tmp_path, share(90), objective="step_by_step")
    place = tmp_path / "rationales" / "triage" / "handbook-12345678"
    place.mkdir(parents=True)
    (place / "summary.json").write_text(json.dumps(SUMMARIES[kind]))
    (report,) = build_reports(tmp_path / "train")
    assert report.teachers[0].accuracy is None
