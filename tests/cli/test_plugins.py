"""A package of others, installed from its folder, adds one of each kind; its runs are like ours."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from tiny import examples
from trained import small_triage

from dsbs.cli.composition import list_options
from dsbs.cli.config import BROKEN
from dsbs.cli.plugins import plugin_conf_dirs
from dsbs.core.records import Annotation
from dsbs.core.registry import _all_entry_points
from dsbs.core.tracking import Tracker
from dsbs.objectives import Finetune
from dsbs.tasks import TASKS
from dsbs.training.recipe import Recipe
from dsbs.training.settings import Training

PLUGIN = Path(__file__).resolve().parents[1] / "plugin"
CHOSEN = ["task=shapes", "teacher=oracle", "student=small", "objective=with_hints"]
QUIET = "tracking.mode=disabled"
SHORT = ["training.max_steps=4", "training.eval_steps=2", "training.per_device_train_batch_size=8"]
Say = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that pip has installed the package into, without the network."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "install", "--quiet", "--no-index", "--no-deps"]
    done = subprocess.run(
        [*pip, "--no-build-isolation", "--no-compile", "--target", str(folder), str(PLUGIN)],
        capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return folder


@pytest.fixture
def say(installed: Path, run_dsbs: Say, monkeypatch: pytest.MonkeyPatch) -> Iterator[Say]:
    """Run a command where the package is installed; see ``run_dsbs``."""
    monkeypatch.syspath_prepend(str(installed))

    def forget() -> None:
        _all_entry_points.cache_clear()
        plugin_conf_dirs.cache_clear()
        BROKEN.clear()

    forget()
    yield run_dsbs
    forget()


def test_a_run_of_a_plugin_is_trained_measured_and_asked_like_any_other(say: Say, tmp_path: Path) -> None:
    words = [*CHOSEN, *SHORT, QUIET]
    code, out, err = say("train", *words)
    assert code == 0, err
    assert "shapes · small · with_hints on 24 examples" in out
    [metrics] = tmp_path.rglob("metrics.json")
    run = metrics.parent
    manifest = json.loads((run / "manifest.json").read_text(encoding="utf-8"))
    assert manifest["command"] == " ".join(["python -m dsbs.train", *words])
    assert manifest["settings"]["objective"]["kind"] == "with_hints"
    code, out, err = say("evaluate", f"checkpoint={run}")
    assert code == 0, err
    assert "shapes on the test split" in out
    (tmp_path / "questions.txt").write_text("which shape has 3 sides?\n", encoding="utf-8")
    code, out, err = say("predict", f"checkpoint={run / 'checkpoint'}", "input=questions.txt")
    assert code == 0, err
    assert json.loads(out)["label"] in ("triangle", "square", "pentagon")
    code, out, err = say("report", QUIET)
    assert code == 0, err


def test_a_student_whose_backend_and_predictor_are_a_plugins_goes_through_all_commands(
    say: Say, tmp_path: Path
) -> None:
    code, out, err = say("train", "task=shapes", "teacher=oracle", "student=tally", "objective=finetune", QUIET)
    assert code == 0, err
    assert "shapes · tally · finetune on 24 examples" in out
    [metrics] = tmp_path.rglob("metrics.json")
    assert json.loads(metrics.read_text(encoding="utf-8"))["test"] == {"accuracy": 1.0, "examples": 24}
    checkpoint = metrics.parent / "checkpoint"
    card = (checkpoint / "README.md").read_text(encoding="utf-8")
    assert "With dsbs: `python -m dsbs.predict" in card
    assert "```python" not in card
    code, out, err = say("evaluate", f"checkpoint={metrics.parent}")
    assert code == 0, err
    assert "100.0%" in out
    (tmp_path / "questions.txt").write_text("which shape has 3 sides?\n", encoding="utf-8")
    code, out, err = say("predict", f"checkpoint={checkpoint}", "input=questions.txt", "scores=true")
    assert code == 0, err
    assert json.loads(out)["label"] == "triangle"
    code, out, err = say("report", QUIET)
    assert code == 0, err
    assert "tally" in (tmp_path / "outputs/report/shapes/report.json").read_text(encoding="utf-8")


def test_a_backend_of_a_plugin_weighs_labels_and_chooses_where_it_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(PLUGIN))
    from dsbs_shapes.tally import Tally, fit

    train, choosing = examples(4)[:2], examples(4)[2:]
    said = [Annotation(one.id, one.label, agreement=share) for one, share in zip(train, (1.0, 0.25), strict=True)]
    data: Any = SimpleNamespace(
        train=list(zip(train, said, strict=True)), choosing=choosing, examples=lambda: [*train, *choosing]
    )
    recipe = Recipe(small_triage(), Finetune(name="f"), Tally(name="t"), Training(), 0, labels_weight="agreement")
    fitted = fit(recipe, data, None, Tracker())
    counts = fitted.predictor.counts
    assert counts.keys() == {one.label for one in train}
    for one, share in zip(train, (1.0, 0.25), strict=True):
        assert one.label
        assert counts[one.label][one.input.split()[0]] == share


def test_a_filter_of_a_plugin_is_asked_for_by_name(say: Say, tmp_path: Path) -> None:
    words = ["extract", "task=shapes", "teacher=oracle"]
    assert say(*words, "filter.checks=[names_no_sides]")[0] == 0
    [summary] = tmp_path.rglob("summary.json")
    found = json.loads(summary.read_text(encoding="utf-8"))
    assert found["filter"] == "none (checks=[names_no_sides])"
    assert found["splits"]["train"]["statuses"] == {"ok": 24}
    code, _, err = say(*words, "filter.checks=[nobodys]")
    assert code == 1
    assert "filter.checks: nobodys: expected one of names_no_sides." in err


def test_its_options_are_listed_and_its_task_gets_a_prompt(say: Say) -> None:
    code, out, err = say("train", "task=shapes", "--help")
    assert code == 0, err
    assert "task.size=24" in out
    assert "examples in each split." in out
    assert "prompt.name=table" in out
    options = list_options("train")
    assert {"shapes", "triage"} <= {*options["task"]}
    assert options["task"][0] == "triage"


def test_what_cannot_be_loaded_is_a_sentence_for_who_asks_for_it_and_a_warning_for_others(say: Say) -> None:
    code, out, err = say("train", "teacher=broken")
    assert code == 1
    assert "Traceback" not in err
    told = (
        "The plugin broken = dsbs_shapes:NoSuchTeacher of the package dsbs-shapes 0.1 (dsbs.teachers) cannot be loaded"
    )
    assert f"dsbs.train: {told}: AttributeError" in err
    code, out, err = say("extract", "task=shapes", "teacher=oracle", "dry_run=true")
    assert code == 0
    assert "Dry run" in out
    assert told in err


def test_what_is_not_installed_is_not_there() -> None:
    assert "shapes" not in TASKS
