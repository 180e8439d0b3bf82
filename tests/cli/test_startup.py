"""Help, a mistyped key, a fault of the config and 'finished already' wait for no heavy import."""

import json
import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra

from dsbs import train
from dsbs.cli.command import _check_environment, command
from dsbs.cli.config import ROOTS

HEAVY = ["torch", "transformers", "accelerate", "peft", "bitsandbytes", "scipy", "sklearn", "openai", "wandb", "ray"]
SCRIPT = f"""
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
from dsbs.cli.main import main
told = []
for words in json.loads(sys.argv[1]):
    sys.argv = ["dsbs", *words]
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said):
        try:
            main()
        except SystemExit:
            pass
    told.append([said.getvalue(), [name for name in {HEAVY} if name in sys.modules]])
print(json.dumps(told))
"""
SMALL = ["task.products=12", "task.complaints=12", "task.train=64", "task.validation=16", "task.test=16"]


def say(folder: Path, *commands: list[str]) -> list[str]:
    """Run commands one after another in one process; return what they said, and check what was imported."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, json.dumps(commands)], cwd=folder, capture_output=True, text=True, check=True
    )
    told = json.loads(done.stdout)
    assert [heavy for _, heavy in told] == [[]] * len(commands), told
    return [said for said, _ in told]


def test_what_is_answered_without_work_imports_nothing_heavy(tmp_path: Path) -> None:
    helps = [[name, "--help"] for name in ROOTS]
    faults = [
        ["train", "taks=1"],
        ["train", "labels=silver"],
        ["extract", "concurrency=0"],
        ["evaluate", "checkpoint=no"],
    ]
    dry = [["extract", *SMALL, "dry_run=true"]]
    told = say(tmp_path, *helps, *faults, *dry)
    for name, said in zip(ROOTS, told, strict=False):
        assert said.startswith(f"dsbs {name}: ")
    assert "Did you mean task?" in told[-5]
    assert "labels=silver" in told[-4]
    assert "Dry run" in told[-1]
    assert not (tmp_path / "outputs" / "train").exists()


def test_a_finished_run_is_told_without_importing_torch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ["train", *SMALL, "objective=finetune"]
    folders: list[Path] = []
    monkeypatch.setattr(train, "execute", lambda plan, *_: folders.append(plan.run.folder) or sys.exit())
    monkeypatch.setattr(sys, "argv", ["dsbs.train", *words[1:]])
    monkeypatch.chdir(tmp_path)
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit):
        train.main()
    run = tmp_path / folders[0]
    run.mkdir(parents=True)
    metrics = {
        "task": "triage", "student": "t5_scratch", "objective": "finetune", "labels": "gold",
        "train_examples": 64, "data_fraction": 1.0,
        "seed": 0, "best_step": 2, "steps": 2, "seconds": 1.0, "examples_per_second": 1.0, "counts": {},
        "validation": {"accuracy": 0.5, "examples": 16}, "test": {"accuracy": 0.25, "examples": 16},
    }  # fmt: skip
    (run / "metrics.json").write_text(json.dumps(metrics), encoding="utf-8")
    [said] = say(tmp_path, words)
    assert "finished already" in said
    assert "25.0%" in said


def test_a_training_waits_for_no_package_that_it_does_not_use_and_nothing_speaks_meanwhile() -> None:
    unwanted = ["peft", "bitsandbytes", "datasets", "pandas", "scipy", "sklearn"]
    script = (
        "import sys; from dsbs.training.backends import load_backend; load_backend('huggingface'); "
        f"print([name for name in {unwanted} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[]\n", "")


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--version"], 0, "dsbs 0."),
        (["--help"], 0, "dsbs COMMAND --help"),
        ([], 0, "dsbs COMMAND --help"),
        (["train", "--version"], 0, "dsbs 0."),
        (["trian"], 1, "dsbs: trian: there is no such command. Did you mean dsbs train?"),
        (["train", "--seed=3"], 1, "--seed=3: there is no such flag. Keys are typed without dashes: seed=3"),
    ],
)
def test_the_console_script(
    words: list[str], code: int, says: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["dsbs", *words])
    try:
        runpy.run_module("dsbs", run_name="__main__")
        ended = 0
    except SystemExit as stop:
        ended = int(str(stop.code))
    assert ended == code
    said = capsys.readouterr()
    assert says in said.out + said.err


def test_a_deleted_folder_is_told_and_a_width_of_0_hides_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    monkeypatch.setenv("COLUMNS", "0")
    gone.rmdir()
    with pytest.raises(SystemExit):
        _check_environment("extract")
    assert "was deleted or moved; cd to another one." in capsys.readouterr().err
    assert "COLUMNS" not in os.environ


def test_a_command_is_named_by_how_it_was_called(monkeypatch: pytest.MonkeyPatch) -> None:
    from dsbs.cli.arguments import program_of

    module = Path(command.__code__.co_filename).parents[1] / "train.py"
    for called, program in [
        ("dsbs train", ["dsbs", "train"]),
        (str(module), ["python", "-m", "dsbs.train"]),
        ("my/own.py", ["python", "my/own.py"]),
    ]:
        monkeypatch.setattr(sys, "argv", [called])
        assert program_of("train", ["--config-dir", "conf", "seed=1"]) == [*program, "--config-dir", "conf"]
