"""``python -m dsbs.report`` as a user runs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from fake_runs import share, write_run
from hydra.core.global_hydra import GlobalHydra

from dsbs import report

CHECK = """
import sys, runpy
sys.argv = ["dsbs.report", *sys.argv[1:]]
runpy.run_module("dsbs.report", run_name="__main__")
heavy = [name for name in ("torch", "transformers", "datasets", "openai") if name in sys.modules]
sys.exit(f"imported: {heavy}" if heavy else 0)
"""


def run_report(monkeypatch: pytest.MonkeyPatch, cwd: Path, *words: str) -> None:
    monkeypatch.chdir(cwd)
    monkeypatch.setattr(sys, "argv", ["dsbs.report", *words])
    GlobalHydra.instance().clear()
    report.main()


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


def test_the_curve_goes_to_wandb_under_the_output_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_run(tmp_path / "outputs", share(80))
    run_report(monkeypatch, tmp_path, "runs=outputs/train", "output_dir=out")
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
def test_a_mistake_is_one_message_and_an_exit_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], word: str, told: list[str]
) -> None:
    with pytest.raises(SystemExit) as ended:
        run_report(monkeypatch, tmp_path, word)
    assert ended.value.code == 1
    said = capfd.readouterr().err
    for part in told:
        assert part in said
    assert "Traceback" not in said


def test_an_objective_that_no_run_has_is_refused_unless_it_is_one_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    write_run(tmp_path / "outputs", share(80))
    with pytest.raises(SystemExit):
        run_report(monkeypatch, tmp_path, "runs=outputs/train", "baseline=fine_tune", "candidates=[finetune,sbs]")
    said = capfd.readouterr().err
    assert "baseline: fine_tune: there is no such objective among the runs, which have finetune." in said
    assert "candidates: sbs: there is no such" in said
    run_report(monkeypatch, tmp_path, "runs=outputs/train", "baseline=distill", "tracking.mode=disabled")
    assert (tmp_path / "outputs/report/triage/report.json").exists()
