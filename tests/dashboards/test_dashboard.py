"""``python -m dsbs.dashboard``: offline as a specification that is checked, online against a stand-in of W&B."""

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fake_runs import share, write_run, write_study
from wandb_files import read_recorded
from wandb_server import ENTITY, WandbServer, serving

from dsbs.core.errors import DataError
from dsbs.core.tracking import Tracking
from dsbs.dashboards.building import build_dashboard, build_workspace
from dsbs.dashboards.panels import keep_known, named_keys
from dsbs.dashboards.publishing import Destination, Publisher, find_destination, find_project, save_specification
from dsbs.dashboards.study import Study, read_studies
from dsbs.reporting.report import build_reports
from dsbs.reporting.writing import write_report
from dsbs.training.tracked import summarise_run

KEY = "0123456789abcdef0123456789abcdef01234567"
TRACKED = "tracking: {predictions: 100, report_to: [wandb], project: mine}\n"
# Commands from standard input, one JSON list of words a line; what each said and its exit code go out.
RUNNER = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
from hydra.core.global_hydra import GlobalHydra
from dsbs import dashboard
for line in sys.stdin:
    sys.argv, said, code = ["dsbs.dashboard", *json.loads(line)], io.StringIO(), 0
    GlobalHydra.instance().clear()
    with redirect_stdout(said), redirect_stderr(said):
        try:
            dashboard.main()
        except SystemExit as stop:
            code = stop.code
    print(json.dumps([code, said.getvalue()]), flush=True)
"""
Say = Callable[..., tuple[int, str]]


def write_reported(outputs: Path) -> Path:
    """Write a small study and its report below ``outputs``."""
    runs = write_study(outputs, fractions=(0.125, 1.0), seeds=2)
    for path in runs.rglob("config.yaml"):
        path.write_text(path.read_text() + TRACKED)
    [report] = build_reports(runs)
    write_report(report, outputs / "report" / "triage")
    return runs


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small study and its report."""
    folder = tmp_path_factory.mktemp("study") / "outputs"
    write_reported(folder)
    return folder


@pytest.fixture(scope="module")
def study(outputs: Path) -> Study:
    [study] = read_studies(outputs / "train", outputs)
    return study


@pytest.fixture(scope="module")
def server() -> Iterator[WandbServer]:
    with serving() as server:
        yield server


@pytest.fixture(scope="module")
def say(server: WandbServer, outputs: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Say]:
    """Run the command in a process of its own, as W&B keeps state; W&B is the stand-in."""
    root = Path(__file__).parents[2]
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WANDB_")}
    kept |= {
        "PYTHONPATH": os.pathsep.join([str(root), kept.get("PYTHONPATH", "")]),
        "HOME": str(tmp_path_factory.mktemp("home")),
    }
    kept |= {"WANDB_BASE_URL": server.url, "WANDB_API_KEY": KEY, "COLUMNS": "300"}
    pipe = subprocess.PIPE
    process = subprocess.Popen(
        [sys.executable, "-c", RUNNER], cwd=outputs.parent, env=kept, stdin=pipe, stdout=pipe, stderr=pipe, text=True
    )
    assert process.stdin is not None
    assert process.stdout is not None
    given, answers = process.stdin, process.stdout

    def say(*words: str) -> tuple[int, str]:
        given.write(json.dumps(words) + "\n")
        given.flush()
        answer = answers.readline()
        assert answer, process.stderr.read() if process.stderr else ""
        code, said = json.loads(answer)
        return code, said

    yield say
    given.close()
    process.wait(60)


def test_every_key_that_a_panel_names_exists_in_the_runs(study: Study) -> None:
    dashboard = build_dashboard(study)
    assert list(dashboard.sections) == [
        "Score over the share of the data",
        "Against standard fine-tuning",
        "Controls",
        "Training",
        "Cost",
        "Answers to test examples",
    ]
    assert dashboard.left_out == []
    assert dashboard.keys <= study.keys
    assert {
        ("config", "method"), ("config", "data_fraction"), ("history", "data_fraction"), ("history", "test/accuracy"),
        ("summary", "test/accuracy"), ("summary", "test/accuracy@0.125"), ("summary", "test/accuracy@1"),
        ("history", "train/loss"), ("summary", "predictions"), ("config", "control"),
    } <= dashboard.keys  # fmt: skip


def test_a_panel_that_names_what_no_run_has_is_left_out_and_told(study: Study) -> None:
    import wandb_workspaces.reports.v2 as wr

    kept = wr.BarPlot(title="kept", metrics=["test/accuracy"])
    lacking = wr.ScatterPlot(title="lacking", x=wr.Config("alpha"), y=wr.SummaryMetric("test/f1"))
    assert keep_known([lacking, kept], study) == ([kept], ["lacking: no run has config:alpha, summary:test/f1"])
    with pytest.raises(TypeError, match="RunComparer"):
        named_keys(wr.RunComparer())


def test_the_specification_is_kept_beside_the_report(study: Study, outputs: Path) -> None:
    path = save_specification(build_dashboard(study), Destination("", "mine"), None)
    assert path == outputs / "report" / "triage" / "dashboard.json"
    content = json.loads(path.read_text())
    [run_set] = content["workspace"]["section"]["runSets"]
    [wanted] = run_set["filters"]["filters"]
    assert (wanted["key"], wanted["value"]) == ({"section": "config", "name": "task"}, "triage")
    curve, *_ = content["workspace"]["section"]["panelBankConfig"]["sections"][0]["panels"]
    assert curve["viewType"] == "Run History Line Plot"
    options = {"xAxis": "data_fraction", "metrics": ["test/accuracy"], "groupBy": "method.value", "groupArea": "stddev"}
    assert options.items() <= curve["config"].items()
    grids = [block["metadata"]["runSets"] for block in content["report"]["blocks"] if block["type"] == "panel-grid"]
    assert [run_set["name"] for run_set in grids[0]] == ["step_by_step", "finetune (baseline)"]
    for run_set, objective in zip(grids[0], ("step_by_step", "finetune"), strict=True):
        [wanted] = run_set["filters"]["filters"]
        assert set(wanted["value"]) == set(study.ids(objective))
        assert len(wanted["value"]) == 4
    told = json.dumps(content["report"])
    for text in study.document["headline"]:
        assert json.dumps(text)[1:-1] in told
    assert sorted(content["runs"]) == sorted(study.runs)


def test_the_project_is_that_of_the_runs_unless_another_is_named(study: Study, tmp_path: Path) -> None:
    assert find_project(study, None, None, Tracking()) == (None, "mine")
    assert find_project(study, "me", "other", Tracking()) == ("me", "other")
    assert find_project(study, None, None, Tracking(entity="us")) == ("us", "mine")


def test_runs_without_a_report_name_the_command_that_writes_it(tmp_path: Path) -> None:
    write_run(tmp_path, share(80))
    with pytest.raises(DataError, match=r"python -m dsbs\.report runs="):
        read_studies(tmp_path / "train", tmp_path)
    (tmp_path / "report" / "triage").mkdir(parents=True)
    (tmp_path / "report" / "triage" / "report.json").write_text("{}")
    with pytest.raises(DataError, match="not as this version writes it"):
        read_studies(tmp_path / "train", tmp_path)


def test_a_run_is_told_again_out_of_its_folder(study: Study, tmp_path: Path) -> None:
    [first, second, *_] = study.runs
    publisher, tracking = Publisher(tmp_path), Tracking(mode="offline", predictions=7)
    publisher.upload(study, Destination("me", "mine"), tracking, known={second: set()}, new=[first, second])
    recorded = {run.run_id: run for run in map(read_recorded, tmp_path.glob("wandb/offline-run-*/run-*.wandb"))}
    assert set(recorded) == {first, second}
    run = study.runs[first]
    for name, value in summarise_run(run.metrics, run.manifest).items():
        assert recorded[first].summary[name] == value
    assert recorded[first].summary["predictions"]["nrows"] == 7
    assert len(recorded[first].logged("train/loss")) == len(recorded[first].logged("validation/accuracy")) == 10
    assert recorded[second].logged("train/loss") == []  # W&B has the course of its training


def test_offline_nothing_is_published_and_what_to_type_is_told(
    say: Say, server: WandbServer, outputs: Path, study: Study
) -> None:
    code, said = say("tracking.mode=offline")
    assert code == 0, said
    again = "python -m dsbs.dashboard runs=outputs/train entity=NAME project=mine"
    assert f"{again} upload=true" in said  # these runs were not recorded
    assert "wandb sync" not in said
    recorded = outputs / f"wandb/offline-run-20260101_000000-{[*study.runs][-1]}"
    recorded.mkdir(parents=True)
    code, said = say("tracking.mode=offline")
    recorded.rmdir()
    assert "wandb sync outputs/wandb/offline-run-*" in said
    assert said.rstrip().endswith(again)
    assert server.asked == []
    code, said = say("tracking.mode=offline", "share=true")
    assert code == 1
    assert "wandb login" in said
    code, said = say("runs=nowhere")
    assert (code, said.count("\n")) == (1, 1)


def test_online_workspace_and_report_are_saved_replaced_and_shared(
    say: Say, server: WandbServer, outputs: Path, study: Study
) -> None:
    code, said = say()
    assert code == 1
    assert f"W&B has none of the {len(study.runs)} runs in {ENTITY}/mine" in said
    assert server.views == {}

    some, *others = study.runs
    server.runs = {id: dict.fromkeys(study.summary_of(id), 1) for id in others} | {some: {"test/accuracy": 1}}
    code, said = say()
    assert code == 0, said
    assert f"1 of {len(study.runs)} runs are not at W&B, or lack what panels show" in said
    workspace, report = server.views.values()
    assert (workspace["type"], report["type"]) == ("project-view", "runs")
    assert (workspace["entityName"], workspace["projectName"]) == (ENTITY, "mine")
    run_sets = [block["metadata"]["runSets"] for block in blocks_of(report) if block["type"] == "panel-grid"]
    assert {run_set["project"]["entityName"] for run_set in run_sets[0]} == {ENTITY}
    assert f"{server.url}/{ENTITY}/mine/reports/" in said
    assert "accessToken" not in said
    assert server.tokens == []

    code, said = say("share=true")
    assert code == 0, said
    assert len(server.views) == 2  # replaced
    assert "accessToken=token-0" in said
    kept = (outputs / "report/triage/dashboard.json").read_text()
    assert "token-0" not in kept
    assert find_destination(study, ENTITY, "mine").report == next(iter(list(server.views)[1:]))
    assert find_destination(study, "another", "mine").report is None
    before = find_destination(study, ENTITY, "mine")
    assert say("tracking.mode=offline")[0] == 0
    assert find_destination(study, ENTITY, "mine") == before

    server.refusal = f"no such user for {KEY}"
    code, said = say()
    assert code == 1
    assert said.splitlines()[-1].startswith("dsbs.dashboard: W&B: ")
    assert "Traceback" not in said
    assert KEY not in said
    assert KEY not in kept
    assert any(key for key in server.keys)


def blocks_of(view: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the blocks of a saved report."""
    blocks: list[dict[str, Any]] = json.loads(view["spec"])["blocks"]
    return blocks


def test_the_workspace_colours_runs_by_their_method(study: Study) -> None:
    colours = build_workspace(build_dashboard(study), "", "mine")._to_model().spec.section.custom_run_colors
    methods = {names["method"] for names in study.described.values()}
    assert methods == {"finetune", "step_by_step", "step_by_step (same_label)", "step_by_step (shuffled)"}
    assert len(set(colours.values())) == len(methods)
    assert set(colours) == set(study.runs)
