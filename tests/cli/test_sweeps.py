"""Sweeps through Hydra's plugins, each with a job that fails."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.core.global_hydra import GlobalHydra
from hydra.types import RunMode

from dsbs import train
from dsbs.cli.composition import composing
from dsbs.cli.config import register_schemas
from dsbs.cli.sweeps import sweep_fault

TASK = [
    "task.products=12", "task.complaints=12", "task.train=64", "task.validation=15", "task.test=17",
    "tracking.mode=disabled",
]  # fmt: skip
SMALL = [
    "student.vocab_size=400", "student.d_model=32", "student.d_kv=16", "student.d_ff=32", "student.num_heads=2",
    "training.max_steps=2", "training.eval_steps=2",
]  # fmt: skip


def sweep(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).resolve().parents[2])
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-m", "dsbs.train", "-m", *TASK, *words], cwd=folder, env={**os.environ, "PYTHONPATH": path},
        text=True, capture_output=True, timeout=250, check=False,
    )  # fmt: skip


def finished(folder: Path) -> list[dict[str, object]]:
    return [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.rglob("metrics.json"))]


@pytest.mark.parametrize(
    ("plugin", "words"),
    [
        ("hydra_joblib_launcher", ["launcher=joblib"]),
        ("hydra_ray_launcher", ["launcher=ray"]),
        # As launcher=slurm, but that the jobs run on this machine.
        ("hydra_submitit_launcher", ["hydra/launcher=submitit_local", "hydra.launcher.submitit_folder=.submitit/%j"]),
    ],
)
def test_launchers_run_jobs_side_by_side_and_list_the_failed_one(tmp_path: Path, plugin: str, words: list[str]) -> None:
    pytest.importorskip(f"hydra_plugins.{plugin}", reason="needs the extra joblib, ray-launcher or slurm")
    found = sweep(tmp_path, *words, "student=logreg", "objective=finetune,distill")
    assert found.returncode == 1
    assert {metrics["objective"] for metrics in finished(tmp_path)} == {"finetune"}
    assert "1 of this sweep's jobs succeeded:" in found.stderr
    assert "1 of this sweep's jobs failed:" in found.stderr
    assert "objective=distill" in found.stderr
    assert "Traceback" not in found.stderr
    assert {path.name for path in tmp_path.iterdir()} <= {"outputs", ".submitit"}


def test_optuna_goes_on_past_a_failed_trial(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("hydra_plugins.hydra_optuna_sweeper", reason="needs the extra optuna")
    words = [
        "search=optuna",
        "hydra.sweeper.n_trials=2",
        "hydra.sweeper.sampler.seed=2",
        "student.num_layers=choice(0,1)",
    ]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["dsbs.train", "-m", *TASK, *SMALL, *words])
    GlobalHydra.instance().clear()
    with pytest.raises(SystemExit) as ended:
        train.main()
    said = capfd.readouterr().err
    assert ended.value.code == 1
    assert len(finished(tmp_path)) == 1, said  # of the two trials one has an invalid setting
    assert "student.num_layers=0: expected at least 1." in said
    [best] = re.findall(r"^The best of 2 trials: (.+)   validation [\d.]+%$", said, flags=re.M)
    assert "student.num_layers=1" in best or "num_layers" not in best  # shared words are left out
    assert "Traceback" not in said


@pytest.mark.parametrize(
    "words", [["input=a.csv,b.csv", "output=out.jsonl"], ["output=there/out.jsonl", "input=a.csv,b"]]
)
def test_no_job_overwrites_what_another_wrote(words: list[str]) -> None:
    fault = sweep_fault("predict", ["-m", *words])
    assert fault is not None
    assert "'output=${input}-out.jsonl'" in fault
    assert sweep_fault("predict", words) is None
    assert sweep_fault("predict", ["-m", words[0].replace("output=", "output=${input}-"), "output=null"]) is None


def test_no_job_of_defer_overwrites_the_threshold_of_another() -> None:
    fault = sweep_fault("defer", ["-m", "checkpoint=RUN", "share=0.1,0.2"])
    assert fault is not None
    assert "share=0.1 (defer.html" in fault
    assert sweep_fault("defer", ["-m", "checkpoint=RUN1,RUN2", "share=0.1"]) is None
    assert sweep_fault("defer", ["-m", "checkpoint=RUN", "confidence=margin,logprob", "compare=true"]) is None
    assert sweep_fault("defer", ["checkpoint=RUN", "share=0.1,0.2"]) is None  # reported when the config is composed


@pytest.mark.parametrize("word", ["seed=0,1", "seed=range(3)", "data_fraction=1/8,1"])
def test_a_search_takes_no_luckiest_seed(word: str) -> None:
    fault = sweep_fault("train", ["-m", "search=optuna", word])
    assert fault is not None
    assert word in fault
    assert "luckiest" in fault
    assert "luckiest" not in str(sweep_fault("train", ["-m", "search=optuna", "seed=1", "student.d_model=64,128"]))


def test_a_student_without_a_learning_rate_is_not_searched_for_one() -> None:
    fault = sweep_fault("train", ["-m", "search=optuna_rate", "objective=finetune", "student=logreg"])
    assert fault is not None
    assert "which student=logreg does not have" in fault
    assert "does not have" not in str(sweep_fault("train", ["-m", "search=optuna_rate", "student=minilm"]))


def test_a_launcher_by_its_name_in_hydra_asks_for_a_sweep_too() -> None:
    assert "-m starts" in str(sweep_fault("train", ["hydra/launcher=joblib"]))
    assert sweep_fault("train", ["hydra/launcher=basic"]) is None


def test_a_server_is_no_job_of_a_sweep() -> None:
    assert "Start one command for each server" in str(sweep_fault("serve", ["-m", "checkpoint=RUN", "port=1,2"]))


def test_keys_that_only_the_options_of_a_sweep_have_are_known() -> None:
    register_schemas()
    words = ["objective=finetune", "student=logreg,embedding", "student.C=[1]"]
    with composing() as loader:
        config = loader.load_configuration("train", words, RunMode.MULTIRUN)
        assert list(config.hydra.overrides.task) == words  # what the sweep expands
        jobs = [
            loader.load_sweep_config(config, [words[0], f"student={name}", words[2]])
            for name in ("logreg", "embedding")
        ]
    assert [list(job.student.C) for job in jobs] == [[1.0], [1.0]]
