"""``python -m dsbs.train`` as a user meets it."""

import json
import os
import re
import signal
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from forked import killed

from dsbs.training.checkpointing import StopCallback

SMALL = [
    "task.products=12", "task.complaints=12", "task.train=64", "task.validation=16", "task.test=16",
    "student.vocab_size=400", "student.d_model=32", "student.d_kv=16", "student.d_ff=32", "student.num_layers=1",
    "student.num_heads=2", "training.max_steps=4", "training.eval_steps=2", "training.warmup_steps=0",
    "training.per_device_train_batch_size=8", "tracking.mode=disabled",
]  # fmt: skip
Command = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(run_dsbs: Command) -> Command:
    """Run the command in an empty folder; return its exit code, its output and its errors."""
    return partial(run_dsbs, "train")


@pytest.mark.parametrize(
    ("words", "extra"),
    [(("-m", "launcher=joblib", "seed=0,1"), "joblib"), (("-m", "search=optuna"), "optuna")],
    ids=["launcher", "search"],
)
def test_an_option_whose_plugin_is_missing_names_the_extra(
    run: Command, monkeypatch: pytest.MonkeyPatch, words: tuple[str, ...], extra: str
) -> None:
    monkeypatch.setattr("dsbs.cli.sweeps.find_spec", lambda name: None)
    assert run(*words) == (1, "", f"dsbs.train: {words[1]} needs a Hydra plugin: pip install 'dsbs[{extra}]'\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ("search=optuna", "seed=1"),
            "search=optuna is for sweeps, which -m starts: python -m dsbs.train -m search",
        ),
        (("launcher=joblib",), "launcher=joblib is for sweeps"),
        (("-m", "search=optuna", "objective=finetune"), "objective=finetune search=optuna_rate"),
    ],
)
def test_what_is_for_sweeps_is_not_ignored(run: Command, words: tuple[str, ...], says: str) -> None:
    code, _, err = run(*words)
    assert code == 1
    assert says in err


def metrics_below(folder: Path) -> list[Path]:
    return sorted(folder.rglob("metrics.json"))


def test_a_run_is_trained_shown_and_the_second_time_skipped(run: Command, tmp_path: Path) -> None:
    code, out, err = run(*SMALL, "data_fraction=1/8", "seed=3")
    assert code == 0, err
    assert "triage · t5_scratch · step_by_step on 8 examples (1/8 of the data), seed 3" in out
    assert "test " in out
    [metrics] = metrics_below(tmp_path)
    assert metrics.parent.as_posix().startswith(f"{tmp_path}/outputs/train/triage/t5_scratch/step_by_step/0.125/3-")
    written = metrics.stat().st_mtime_ns
    code, out, err = run(*SMALL, "data_fraction=0.125", "seed=3")
    assert code == 0, err
    assert "finished already" in out
    assert metrics.stat().st_mtime_ns == written
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]
    assert sorted(path.name for path in (tmp_path / "outputs").iterdir()) == ["cache", "rationales", "train"]


def test_output_dir_is_the_only_place_that_is_written(run: Command, tmp_path: Path) -> None:
    code, _, err = run(*SMALL, "objective=finetune", "training.max_steps=2", "output_dir=elsewhere/deep")
    assert code == 0, err
    assert [path.name for path in tmp_path.iterdir()] == ["elsewhere"]
    [metrics] = metrics_below(tmp_path)
    config = (metrics.parent / "config.yaml").read_text(encoding="utf-8")
    assert "max_steps: 2" in config
    manifest = json.loads((metrics.parent / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["command"].startswith("python -m dsbs.train task.products=12 ")
    assert manifest["command"].endswith(" objective=finetune training.max_steps=2 output_dir=elsewhere/deep")


def test_in_a_sweep_a_failed_job_is_listed_and_the_others_go_on(run: Command, tmp_path: Path) -> None:
    sweep = ["-m", *SMALL, "training.max_steps=2", "objective=finetune,distill,step_by_step"]
    code, out, err = run(*sweep)
    assert code == 1
    assert {path.parts[-4] for path in metrics_below(tmp_path)} == {"finetune", "step_by_step"}
    assert len(re.findall(r", test [\d.]+%", out)) == 2
    listed = err[err.index("1 of this sweep's jobs failed:") :]
    assert "objective=distill" in listed
    assert "labels=teacher" in listed
    assert "objective=finetune" not in listed
    well = err[err.index("2 of this sweep's jobs succeeded:") : err.index("1 of this sweep's jobs failed:")]
    assert well.index("objective=finetune") < well.index("objective=step_by_step")
    assert well.count("validation ") == 2
    assert "Traceback" not in err
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]
    assert not list(tmp_path.rglob("multirun.yaml"))


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["task.nme=1"], "task.nme: there is no such key. Did you mean task.name?"),
        (["task.products=7", "labels=silver", "data_fraction=2"], "3 invalid settings:"),
        (["task.train=200"], "task.train"),
        (["student=pretrained", "student.model=no/such", "objective=finetune"], "student.model=no/such"),
        (["rationales=nowhere"], "rationales=nowhere: 64 of the examples"),
        (["teacher=openai", "teacher.model=m", "data_fraction=1/4"], "python -m dsbs.extract task=triage"),
        (["task=svamp", "task.path=nowhere", "objective=finetune"], "nowhere"),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, list) else "",
)
def test_a_mistake_is_one_message_on_standard_error_and_exit_code_1(
    run: Command, tmp_path: Path, words: list[str], says: str
) -> None:
    small = [word for word in SMALL if word.split(".")[0] not in ("student",) or "student=pretrained" not in words]
    small = [word for word in small if word.split("=")[0] not in {word.split("=")[0] for word in words}]
    if any(word.startswith("task=") for word in words):
        small = [word for word in small if not word.startswith("task.")]
    code, out, err = run(*small, *words)
    assert code == 1
    assert says in err
    assert "Traceback" not in err + out
    assert not metrics_below(tmp_path)


def test_the_command_that_asks_repeats_what_was_typed(run: Command) -> None:
    _, _, err = run(*SMALL, "teacher=openai", "teacher.model=m", "teacher.base_url=http://127.0.0.1:9/v1", "seed=2")
    [line] = [line for line in err.splitlines() if "python -m dsbs.extract" in line]
    for word in ("teacher=openai", "teacher.model=m", "teacher.base_url=http://127.0.0.1:9/v1", "task.train=64"):
        assert word in line
    assert "student" not in line
    assert "training" not in line


def test_a_loss_that_runs_away_is_a_failed_run_that_says_why(run: Command, tmp_path: Path) -> None:
    code, _, err = run(*SMALL, "objective=finetune", "training.learning_rate=1e30", "training.logging_steps=1")
    assert code == 1
    assert "learning rate" in err
    [failed] = tmp_path.rglob("failed.json")
    assert "learning rate" in failed.read_text(encoding="utf-8")
    assert "Traceback" not in err


def test_ctrl_c_is_no_traceback(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsbs.train.execute", lambda *parts: (_ for _ in ()).throw(KeyboardInterrupt))
    code, out, err = run(*SMALL, "objective=finetune")
    assert code == 130
    assert "The same command resumes" in err
    assert "Traceback" not in err + out


def test_sigterm_saves_ends_the_command_and_the_next_one_goes_on(
    run: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    on_step_end = StopCallback.on_step_end

    def ask_to_end(self: StopCallback, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.global_step == 3:
            os.kill(os.getpid(), signal.SIGTERM)
        on_step_end(self, args, state, control, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(StopCallback, "on_step_end", ask_to_end)
        code, _, err = run("-m", *SMALL, "output_dir=cut", "seed=0,1")
    assert code == 143
    assert "stopped by SIGTERM, with a checkpoint of step 3 of 4. The same command resumes." in err
    assert "Traceback" not in err
    code, _, err = run(*SMALL, "output_dir=cut")
    assert code == 0, err
    assert "Resuming from checkpoint-3" in err
    assert json.loads(metrics_below(tmp_path)[0].read_text(encoding="utf-8"))["steps"] == 4


def test_a_fault_of_ours_keeps_its_traceback(run: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsbs.train.prepare_run", lambda *parts: 1 / 0)
    code, _, err = run(*SMALL)
    assert code == 1
    assert "Traceback" in err
    assert "unexpected ZeroDivisionError" in err


def test_a_run_that_was_killed_goes_on_from_its_last_checkpoint(run: Command, tmp_path: Path) -> None:
    words = [*SMALL, "objective=finetune", "training.max_steps=6", "training.eval_steps=3"]
    killed(4, [*words, "output_dir=killed"], tmp_path)  # in the middle of its fifth step
    assert not metrics_below(tmp_path / "killed")
    code, _, err = run(*words, "output_dir=killed")
    assert code == 0, err
    assert "Resuming from checkpoint-3" in err
    code, _, err = run(*words, "output_dir=whole")
    assert code == 0, err
    assert "other settings" not in err
    again, whole = (json.loads(metrics_below(tmp_path / name)[0].read_text()) for name in ("killed", "whole"))
    for metrics in (again, whole):
        # What depends on the clock, and the loss since the last log, which a stop cuts in two.
        for key in [key for key in metrics if "second" in key or key == "history"]:
            del metrics[key]
    assert again == whole
    run_folder = metrics_below(tmp_path / "killed")[0].parent
    (run_folder / "metrics.json").rename(run_folder / "metrics.once")
    code, _, err = run(*words, "output_dir=killed")
    assert "Training is finished already, at step 6; reading the test split." in err
    assert (run_folder / "metrics.json").exists()
