"""``python -m dsbs.report`` as a user runs it."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from fake_runs import share, write_run

Command = Callable[..., tuple[int, str, str]]
CHECK = """
import sys, runpy
sys.argv = ["dsbs.report", *sys.argv[1:]]
runpy.run_module("dsbs.report", run_name="__main__")
heavy = [name for name in ("torch", "transformers", "datasets", "openai") if name in sys.modules]
sys.exit(f"imported: {heavy}" if heavy else 0)
"""


def test_the_command_writes_a_report_without_torch_and_nothing_else(tmp_path: Path) -> None:
    for seed in (0, 1):
        write_run(tmp_path / "outputs", share(90 + seed), objective="step_by_step", fraction=0.125, seed=seed)
        write_run(tmp_path / "outputs", share(80 + seed), objective="finetune", seed=seed)
    paths = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", CHECK, "runs=outputs/train/triage"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": paths, "WANDB_MODE": "disabled", "COLUMNS": "100"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Non-inferiority" in done.stdout
    assert "outputs/report/triage/index.html" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["outputs"]
    assert sorted(path.name for path in (tmp_path / "outputs").iterdir()) == ["report", "train"]
    assert (tmp_path / "outputs/report/triage/report.json").exists()


def test_the_curve_goes_to_wandb_under_the_output_folder(tmp_path: Path, run_dsbs: Command) -> None:
    write_run(tmp_path / "outputs", share(80))
    assert run_dsbs("report", "runs=outputs/train", "output_dir=out")[0] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "outputs"]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["report", "wandb"]
    (run,) = (tmp_path / "out" / "wandb").glob("offline-run-*")
    media = {path.name.partition("_")[0] for path in run.rglob("files/media/*/*")}
    assert {"accuracy over data fraction", "cells", "plot"} <= media


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("runs=nowhere", ["runs=nowhere", "python -m dsbs.train"]),
        ("runs=.", ["runs=.", "python -m dsbs.train"]),
        ("tracking.mode=on", ["auto, online, offline, disabled"]),
    ],
)
def test_a_mistake_is_one_message_and_an_exit_code(run_dsbs: Command, word: str, told: list[str]) -> None:
    code, _, said = run_dsbs("report", word)
    assert code == 1
    for part in told:
        assert part in said
    assert "Traceback" not in said


def test_an_objective_that_no_run_has_is_refused_unless_it_is_one_of_ours(tmp_path: Path, run_dsbs: Command) -> None:
    write_run(tmp_path / "outputs", share(80))
    code, _, said = run_dsbs("report", "runs=outputs/train", "baseline=fine_tune", "candidates=[finetune,sbs]")
    assert code == 1
    assert "baseline: fine_tune: there is no such objective among the runs, which have finetune." in said
    assert "candidates: sbs: there is no such" in said
    assert run_dsbs("report", "runs=outputs/train", "baseline=distill", "tracking.mode=disabled")[0] == 0
    assert (tmp_path / "outputs/report/triage/report.json").exists()
