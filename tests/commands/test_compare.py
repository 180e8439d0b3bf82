"""``dsbs.compare`` trains what fits, lists what does not, and uses finished runs as they are."""

import json
from pathlib import Path

import pytest
from rich.console import Console

from dsbs.cli.config import CompareConfig
from dsbs.compare import conclude, earlier_seconds, forecast, plan_all, train_all, train_one
from dsbs.core.errors import DataError, Terminated

SMALL = ["task.products=12", "task.complaints=12", "task.train=64", "task.validation=16", "task.test=16"]


def test_what_fits_is_trained_once_and_the_rest_is_listed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = CompareConfig(methods=["logreg:finetune", "logreg:step_by_step"], output_dir=str(tmp_path))
    typed = [*SMALL, f"output_dir={tmp_path}", "methods=[logreg:finetune]", "seeds=[0]"]
    candidates = plan_all(config, typed)
    assert [one.method for one in candidates if one.run] == ["logreg:finetune"]
    forecast(candidates, Console())
    train_all([one for one in candidates if one.run], Console())
    conclude(config, candidates, Console(width=160))
    shown = capsys.readouterr().out
    assert "left out: logreg:step_by_step" in shown
    record = json.loads((tmp_path / "compare" / "triage" / "compare.json").read_text())
    [student] = record["students"]
    assert student["student"] == "logreg"
    assert student["milliseconds"] > 0
    assert student["parameters"] > 0
    assert student["on_frontier"]
    assert record["advice"]
    assert (tmp_path / "compare" / "triage" / "frontier.svg").is_file()
    again = plan_all(config, typed)
    assert again[0].finished
    assert again[0].run is not None
    (again[0].run.folder.parent / "1-broken").mkdir()
    (again[0].run.folder.parent / "1-broken" / "metrics.json").write_text("{")
    assert earlier_seconds(again[0].run) == again[0].finished["seconds"]


def test_a_run_of_a_search_is_measured_on_test_before_it_is_compared(tmp_path: Path) -> None:
    config = CompareConfig(methods=["logreg:finetune"], output_dir=str(tmp_path))
    train_one([*SMALL, f"output_dir={tmp_path}", "student=logreg", "objective=finetune", "test=false"], Console())
    [candidate] = plan_all(config, [*SMALL, f"output_dir={tmp_path}"])
    assert candidate.run is not None
    assert "test" not in (candidate.run.finished_metrics() or {"test": ""})
    assert candidate.finished is None
    train_all([candidate], Console())
    assert candidate.finished
    assert candidate.finished["test"]["accuracy"] is not None


def test_options_of_the_users_own_reach_its_trainings_and_what_it_says_to_type(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("train/student").mkdir(parents=True)  # a folder that is named like a key of compare
    Path("train/student/words.yaml").write_text(
        "defaults:\n  - /schema/student@_here_: logreg\n  - _self_\nname: words\n"
    )
    flags = ["--config-dir", "train"]
    config = CompareConfig(methods=["words:finetune", "t5_scratch:step_by_step"])
    words, scratch = plan_all(config, [*flags, *SMALL, "teacher=openai", "teacher.model=m"])
    assert words.run is not None
    assert train_one(words.words, Console())[0] == 0
    assert words.run.finished_metrics()
    assert "python -m dsbs.extract --config-dir train task=triage teacher=openai" in str(scratch.fault)


def test_where_nothing_fits_it_says_why(tmp_path: Path) -> None:
    config = CompareConfig(methods=["logreg:step_by_step"])
    with pytest.raises(DataError, match="No student fits"):
        plan_all(config, [*SMALL, f"output_dir={tmp_path}"])


def test_what_is_typed_twice_is_one_run_and_a_fault_is_told_whole(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = CompareConfig(methods=["logreg:finetune"] * 2, fractions=["1", "1.0", "2"], seeds=[0, 0])
    candidates = plan_all(config, [*SMALL, f"output_dir={tmp_path}"])
    assert [one.run is not None for one in candidates].count(True) == 1
    forecast(candidates, Console(width=200))
    assert "left out: logreg:finetune: data_fraction=2: expected a share above 0" in capsys.readouterr().out


def test_what_is_not_annotated_yet_is_left_out_with_the_command_to_type(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    config = CompareConfig(methods=["logreg:finetune", "t5_scratch:step_by_step"])
    forecast(plan_all(config, [*SMALL, f"output_dir={tmp_path}", "teacher=openai", "teacher.model=m"]), Console())
    shown = capsys.readouterr().out
    assert "2 runs: 0 finished, 1 to train, 1 left out." in shown
    assert "\n      python -m dsbs.extract task=triage teacher=openai" in shown


@pytest.mark.parametrize(("content", "says"), [(None, "cannot be read"), ("\n \n", "the file is empty")])
def test_a_file_of_other_texts_is_read_before_anything_is_trained(
    content: str | None, says: str, tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / "other.txt").write_text(content)
    config = CompareConfig(methods=["logreg:finetune"], other=str(tmp_path / "other.txt"))
    with pytest.raises(DataError, match=rf"other\.txt.*{says}"):
        plan_all(config, [*SMALL, f"output_dir={tmp_path}"])


def test_arguments_of_one_student_come_last(tmp_path: Path) -> None:
    config = CompareConfig(
        methods=["logreg:finetune", "encoder:finetune"],
        train=["training.max_steps=60"],
        each={"encoder": "training.learning_rate=5e-5 training.max_steps=30"},
    )
    logreg, encoder = plan_all(config, [*SMALL, f"output_dir={tmp_path}", "each={}"])
    assert logreg.words[-1] == "training.max_steps=60"
    assert encoder.plan is None
    assert encoder.words[-2:] == ["training.learning_rate=5e-5", "training.max_steps=30"]


def test_wrong_settings() -> None:
    assert len(CompareConfig(methods=["logreg", "a:b:c"], seeds=[]).faults()) == 3
    config = CompareConfig(methods=["logreg:finetune"], each={"encoder": "", "logreg": "student.C='1"})
    assert config.faults() == [
        "each: encoder: expected a student of methods (logreg).",
        "each: logreg: student.C='1: no closing quotation.",
    ]
    blind = CompareConfig(methods=["logreg:finetune"], train=["test=false"], each={"logreg": "seed=1 test=False"})
    assert [fault.split(":")[0] for fault in blind.faults()] == ["test=false", "test=False"]


def test_what_stops_it_stops_the_training_that_is_under_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\ntrap 'touch saved; exit 143' TERM\necho ' training: 0 of 4' >&2\nsleep 60 & wait\n")
    python.chmod(0o755)
    monkeypatch.setattr("dsbs.compare.sys.executable", str(python))
    monkeypatch.chdir(tmp_path)
    console = Console()

    def stop(*said: object, **how: object) -> None:
        raise Terminated("by SIGTERM")

    monkeypatch.setattr(console, "print", stop)
    with pytest.raises(Terminated):
        train_one([], console)
    assert (tmp_path / "saved").is_file()
