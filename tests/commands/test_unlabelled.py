"""Data without labels, from the file to a student: the first thing that a teacher is good for."""

import json
import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
from fault_server import FaultServer, serve
from row_files import write_rows

from dsbs.tasks import TableTask

SMALL = [
    "student.vocab_size=300", "student.d_model=32", "student.d_kv=16", "student.d_ff=32", "student.num_layers=1",
    "student.num_heads=2", "training.max_steps=4", "training.eval_steps=2", "training.warmup_steps=0",
    "training.per_device_train_batch_size=8", "tracking.mode=disabled",
]  # fmt: skip


@pytest.fixture
def run(
    run_dsbs: Callable[..., tuple[int, str, str]], monkeypatch: pytest.MonkeyPatch
) -> Callable[..., tuple[int, str]]:
    """Run a command in an empty folder; return its exit code and what it printed."""
    monkeypatch.setenv("COLUMNS", "300")

    def run(*words: str) -> tuple[int, str]:
        code, out, err = run_dsbs(*words)
        return code, out + err

    return run


def write(path: Path, labels: list[object]) -> None:
    rows = []
    for number, label in enumerate(labels):
        mood = "broke" if number % 2 else "works"
        rows.append({"input": f"The lamp {mood} on day {number}"} | ({} if label is ... else {"label": label}))
    write_rows(path, rows)


def say(question: str) -> str:
    return f"It says so. So the answer is {'bad' if 'broke' in question else 'good'}."


def printed(command: str, said: str) -> list[str]:
    """Return the words of the command that a message tells to type."""
    match = re.search(rf"python -m dsbs\.{command} (.*)", said)
    assert match, said
    return shlex.split(match[1])


@pytest.mark.parametrize("nothing", [..., None, ""])
def test_no_label_is_no_label_however_it_is_written(tmp_path: Path, nothing: object) -> None:
    write(tmp_path / "rows.jsonl", [nothing] * 40)
    task = TableTask(path=str(tmp_path / "rows.jsonl"))
    assert {example.label for example in task.examples("train")} == {None}


def test_a_file_without_labels_trains_a_student_on_the_teachers(run, tmp_path: Path) -> None:
    write(tmp_path / "rows.jsonl", [...] * 40)
    with serve(FaultServer(answer=say)) as server:
        words = [
            "task=table", "task.path=rows.jsonl", "labels=teacher", "teacher=openai", "teacher.model=m",
            f"teacher.base_url={server.url}",
        ]  # fmt: skip
        code, said = run("train", *words, *SMALL)
        assert code == 1
        code, extracted = run("extract", *printed("extract", said))
        assert code == 0, extracted
        assert "no gold labels" in extracted
    code, said = run("train", *words, *SMALL)
    assert code == 0, said
    assert "validation (agreement with the teacher)" in said
    assert re.search(r"training: 2 of 4, .*validation agreement with the teacher \d", said), said
    assert "no accuracy is known: there are no gold labels" in said
    (metrics,) = tmp_path.rglob("metrics.json")
    found = json.loads(metrics.read_text())
    assert found["test"] == {"accuracy": None, "examples": 0}
    assert found["validation"]["against"] == "teacher"
    card = (metrics.parent / "checkpoint" / "README.md").read_text()
    assert "agreement with the teacher, validation" in card
    assert "not known: there are no gold labels" in card
    code, said = run("report")
    assert "no test examples with gold labels" in said


def test_with_a_small_labelled_test_file_beside_it_the_student_is_measured(run, tmp_path: Path) -> None:
    write(tmp_path / "train.jsonl", [...] * 40)
    write(tmp_path / "test.jsonl", ["good", "bad"] * 4)
    with serve(FaultServer(answer=say)) as server:
        words = [
            "task=table", "task.path=.", "task.labels=[good,bad]", "labels=teacher", "teacher=openai",
            "teacher.model=m", f"teacher.base_url={server.url}",
        ]  # fmt: skip
        code, said = run("extract", *words)
        assert code == 0, said
        assert "100.00%" in said  # the teacher's accuracy on test
    code, said = run("train", *words, *SMALL)
    assert code == 0, said
    assert "of 8;" in said
    (metrics,) = tmp_path.rglob("metrics.json")
    assert json.loads(metrics.read_text())["test"]["examples"] == 8


def test_gold_labels_that_are_not_there_are_missed_before_a_teacher_is_paid(run, tmp_path: Path) -> None:
    write(tmp_path / "rows.jsonl", [None] * 40)
    code, said = run("train", "task=table", "task.path=rows.jsonl", "teacher=openai", "teacher.model=m", *SMALL)
    assert code == 1
    assert "no example of train has a gold label. Type labels=teacher" in said
    assert "(task.label). The columns are: input" in said
    mistyped = ["task=table", "task.path=rows.jsonl", "task.label=typo", "labels=teacher", "teacher=openai"]
    code, said = run("extract", *mistyped, "teacher.model=m", "teacher.base_url=http://localhost:9/v1")
    assert code == 1
    assert "rows.jsonl:1: there is no column 'typo' (task.label)." in said
    write(tmp_path / "rows.jsonl", ["good", "bad"] * 20)
    code, said = run("train", "task=table", "task.path=rows.jsonl", "objective=finetune", *SMALL)
    assert code == 1
    assert "no test split; it has train" in said
    assert "task.test_share=0.2" in said


def test_a_partly_labelled_table_tells_what_its_other_rows_are_good_for(run, tmp_path: Path) -> None:
    write(tmp_path / "rows.jsonl", ["good", "bad", None, None] * 20)
    with serve(FaultServer(answer=say)) as server:
        words = [
            "task=table", "task.path=rows.jsonl", "task.test_share=0.2", "teacher=openai", "teacher.model=m",
            f"teacher.base_url={server.url}",
        ]  # fmt: skip
        code, said = run("extract", *words, "dry_run=true")
        assert code == 0, said
        assert "40 rows without a label." in said
        assert "and at most 40,960 completion tokens" in said  # no answer is known yet, only teacher.max_tokens
        assert "dsbs train uses rows without a label only with labels=mixed" in said
        code, said = run("extract", *words, "labels=teacher")
        assert "only with labels=" not in said
    (summary,) = tmp_path.rglob("summary.json")
    splits = json.loads(summary.read_text())["splits"]
    assert splits["test"]["gold_labels"] == splits["test"]["examples"] == 40 - splits["train"]["gold_labels"]
    assert f"100.00% of {splits['train']['gold_labels']} " in said
    assert f"100.00% of {splits['train']['gold_labels']}<" in (summary.parent / "rationales.html").read_text()
    code, said = run("train", *words, "objective=finetune", "student=logreg", "tracking.mode=disabled")
    assert code == 0, said
    assert "40 without a label (not used; labels=mixed learns the teacher's)" in said


def test_an_extraction_of_rows_that_all_lack_a_label_says_so(run, tmp_path: Path) -> None:
    write(tmp_path / "rows.jsonl", [...] * 40)
    code, said = run(
        "extract", "task=table", "task.path=rows.jsonl", "teacher=openai", "teacher.model=m", "dry_run=true"
    )
    assert code == 0, said
    assert (
        "No row of train has a gold label: dsbs train needs labels=teacher, or the name of their column (task.label)."
        in said
    )
