"""The scripts of a study say what they take."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
# Stands in for Python: writes down what it is asked to run.
RECORDER = """#!/bin/bash
echo "$@" >>"$RECORD"
"""


@pytest.mark.parametrize(
    ("study", "runs", "says"),
    [
        ("triage", 2, "dsbs.train -m experiment=one_eighth seed=0,1 task.train=64 output_dir=mine launcher=joblib"),
        ("controls", 4, "control=teacher_noise control.rate=0.1,0.2,0.4 task.train=64"),
        ("hard", 2, "dsbs.report runs=mine/train/triage_hard output_dir=mine fraction=1/8"),
        ("noise", 2, "dsbs.train -m experiment=triage_noise seed=0,1"),
        ("search", 2, "experiment=equal_search data_fraction=0.125,1.0 seed=0,1 task.train=64"),
        ("sizes", 2, "experiment=model_size"),
        ("unlabelled", 2, "baseline=distill"),
        ("cqa", 5, "data_fraction=0.25 objective=step_by_step control=shuffled seed=0,1"),
        ("svamp", 3, "student.max_new_tokens=32 objective=finetune,step_by_step seed=0,1"),
    ],
)
def test_a_study_runs_what_it_says(tmp_path: Path, study: str, runs: int, says: str) -> None:
    python = tmp_path / "python"
    python.write_text(RECORDER)
    python.chmod(0o755)
    for name in ("cqa", "svamp"):
        (tmp_path / name).mkdir()
    asked = {"PYTHON": str(python), "SEEDS": "0,1", "JOBS": "2", "OUT": "mine", "DATA": str(tmp_path)}
    environment = {"PATH": "/usr/bin:/bin", "RECORD": str(tmp_path / "record"), **asked}
    command = ["bash", str(ROOT / "scripts/results.sh"), study, "task.train=64"]
    subprocess.run(command, check=True, env=environment)
    record = (tmp_path / "record").read_text()
    assert len(record.splitlines()) == runs
    assert says in record


def test_an_unknown_study_says_which_there_are() -> None:
    done = subprocess.run(["bash", str(ROOT / "scripts/results.sh"), "x"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "bash scripts/results.sh controls" in done.stdout
    missing = subprocess.run(["bash", str(ROOT / "scripts/results.sh"), "cqa"], capture_output=True, text=True,
                             check=False, env={"PATH": "/usr/bin:/bin"})  # fmt: skip
    assert "expected a folder that holds cqa/" in missing.stderr


def test_the_search_names_what_it_knows() -> None:
    script = ROOT / "scripts/search_triage.py"
    done = subprocess.run([sys.executable, str(script), "fact=3"], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "unknown: fact; expected facts, train" in done.stderr
