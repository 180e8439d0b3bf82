"""The demo's trainings: what their logs say is lines, with the time that is left, and the whole ends in a report."""

import importlib.util
import json
import re
import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest
from fake_runs import share, write_run

ROOT = Path(__file__).parents[1]
LINES = """12:00:01 training: 0 of 3,000
12:00:31 training: 252 of 3,000, loss 1.21, about 327 s left
12:01:01 training: 1,504 of 3,000, loss 0.40, validation 41.2%, about 60 s left
12:01:02 something else
"""
# Stands in for dsbs.train: says what that says, and leaves a run behind, one that was written before.
TRAINER = """
import json, shutil, sys, time
from pathlib import Path
words = dict(word.lstrip("+").split("=", 1) for word in sys.argv[1:])
print("12:00:00 training: 5 of 40, validation 30.0%", flush=True)
time.sleep(0.3)
if words["seed"] == "7":
    sys.exit("dsbs.train: no room left")
place = Path("train/triage/t5_scratch", words["objective"], words["data_fraction"], words["seed"] + "-aaaaaaaa")
run = Path(shutil.copytree("written" / place, words.get("output_dir", "outputs") / place))
metrics = json.loads((run / "metrics.json").read_text())
(run / "metrics.json").write_text(json.dumps(metrics | {"steps": int(words["training.max_steps"])}))
"""


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, in an empty folder, with a trainer that does not train."""
    spec = importlib.util.spec_from_file_location("demo", ROOT / "scripts/demo.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "demo", module)
    spec.loader.exec_module(module)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "trainer.py").write_text(TRAINER)
    for kind, right in ((module.EIGHTH, 90), (module.LABELS, 30), (module.ALL, 90)):
        objective, fraction = (word.partition("=")[2] for word in kind.words[:2])
        write_run(
            tmp_path / "written", share(right), objective=objective, fraction=float(fraction), evaluation_seconds=2.5
        )
    module.COMMAND = [sys.executable, "trainer.py"]
    module.LOGS.mkdir(parents=True)
    return module


def test_what_a_log_says_is_read(demo: ModuleType) -> None:
    log = Path("a.log")
    assert demo.read_progress(log) is None
    log.write_text("12:00:00 tokenising: 100 of 600\n")
    assert demo.read_progress(log) is None
    log.write_text(LINES)
    assert demo.read_progress(log) == (1504, 3000, "loss 0.40, validation 41.2%")


def test_each_run_that_moves_is_told_once_and_then_the_time_that_is_left(demo: ModuleType) -> None:
    runs = [demo.Run(demo.ALL, seed, seconds=300.0) for seed in range(3)]
    runs[0].log.write_text(LINES)
    runs[0].started = 0.0
    lines = list(demo.progress_lines(runs[:2], runs[2:], jobs=2, now=120.0))
    # 1,504 steps took 120 s, so 1,496 take another 119; the second has 180 s left; the third then takes 300.
    assert lines == [
        "fine-tuning on all, seed 0: step 1,504 of 3,000, loss 0.40, validation 41.2%",
        "about 7 minutes left for all",
    ]
    assert list(demo.progress_lines(runs[:2], runs[2:], jobs=2, now=121.0)) == []


def test_as_many_seeds_of_the_reference_as_fit(demo: ModuleType) -> None:
    seconds = {demo.EIGHTH.name: 300.0, demo.LABELS.name: 100.0, demo.ALL.name: 400.0}

    def count(**environment: str) -> tuple[int, int]:
        runs = demo.Settings.read(environment).runs(seconds)
        assert [run.seconds for run in runs] == sorted((run.seconds for run in runs), reverse=True)
        return len(runs), sum(run.kind == demo.ALL for run in runs)

    assert count(MINUTES="14") == (7, 1)
    assert count(MINUTES="17") == (8, 2)
    assert count(MINUTES="1", DEMO="full") == (11, 5)
    assert count(SEEDS="4", ALL_SEEDS="0 1", JOBS="4") == (4, 2)


def test_the_whole_demo(demo: ModuleType, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    for name, value in {"SEEDS": "0 7", "ALL_SEEDS": "0", "STEPS": "20", "PYTHONPATH": str(ROOT)}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(demo, "PROGRESS_SECONDS", 0.1)
    monkeypatch.setattr(demo.train, "__defaults__", (0.1,))
    monkeypatch.setattr(sys, "argv", ["demo.py", "forecast"])
    demo.main()
    said = capfd.readouterr().out
    assert re.match(r"5 trainings, 2 side by side: about \d+ minutes? on this machine", said)
    assert "step-by-step on 1/8: seeds 0, 7, 40 steps" in said
    assert json.loads((demo.LOGS / "measured.json").read_text())["seconds"].keys() == {
        "step-by-step on 1/8", "fine-tuning on 1/8", "fine-tuning on all"
    }  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["demo.py", "train"])
    demo.REPORT += ["tracking.mode=disabled"]
    with pytest.raises(SystemExit) as ended:
        demo.main()
    assert ended.value.code == 1  # two runs failed; the others are compared all the same
    said = capfd.readouterr().out
    assert said.count("FAILED") == 2
    assert "| dsbs.train: no room left" in said
    assert "fine-tuning on all, seed 0: step 5 of 40, validation 30.0%" in said
    assert "left for all" in said
    assert "Equal labels: step_by_step on 1/8" in said
    assert "B  step_by_step" in said  # the curve
    assert "outputs/report/triage/index.html" in said


def test_the_scripts_of_the_demo_are_sound() -> None:
    done = subprocess.run(["bash", "-n", str(ROOT / "scripts/demo.sh")], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
