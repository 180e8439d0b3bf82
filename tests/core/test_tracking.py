"""W&B: never a prompt, never a lost run, nothing outside the folder that was named."""

import http.server
import json
import logging
import os
import pty
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from dsbs.core.run_ids import find_run_id, new_run_id
from dsbs.core.tracking import OtherTrackers, Tracker, Tracking, open_tracker
from dsbs.core.wandb_mode import choose_mode, find_key, set_environment

KEY = "0123456789abcdef0123456789abcdef01234567"
SCRIPT = """
import logging, sys
from pathlib import Path
from dsbs.core.tracking import Tracking, open_tracker

logging.basicConfig(level=logging.INFO, format="%(message)s")
with open_tracker(Tracking(mode=sys.argv[1]), run_id="run-1", name="a run", group="a sweep",
                  config={"training": {"max_steps": 10}}, directory=Path("out")) as tracker:
    tracker.log({"loss": 1.0}, step=10)
    tracker.log({"loss": 0.5}, step=5)
    tracker.summary({"test/accuracy": 0.75})
    tracker.table("predictions", [{"id": "1", "label": "x", "score": None}, {"id": "2", "label": None, "score": -0.5}])
    tracker.lines("curve", [{"f": 0.125, "accuracy": 0.7, "objective": "finetune"}], "f", "accuracy", "objective")
    print("active", tracker.active, "wandb" in sys.modules)
"""


@pytest.fixture(autouse=True)
def _no_wandb_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in list(os.environ):
        if name.startswith("WANDB_") or name == "NETRC":
            monkeypatch.delenv(name)
    (tmp_path / "home").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path / "home"))


def run_script(mode: str, cwd: Path, stdin: Any = subprocess.DEVNULL, **env: str) -> subprocess.CompletedProcess[str]:
    """Track a run in a process of its own, as W&B keeps state for the life of a process."""
    paths = os.pathsep.join([str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")])
    return subprocess.run(
        [sys.executable, "-c", SCRIPT, mode],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": paths, **env},
        stdin=stdin,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )


@pytest.fixture
def refusing_server() -> Iterator[str]:
    """A W&B server that refuses every key."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers.get("content-length", 0)))
            self.send_response(401)
            self.end_headers()
            self.wfile.write(b'{"errors":[{"message":"bad key"}]}')

        def log_message(self, *args: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


def test_without_a_key_a_run_is_recorded_offline_in_the_named_folder_alone(tmp_path: Path) -> None:
    cwd = tmp_path / "cwd"
    cwd.mkdir()
    done = run_script("auto", cwd)
    assert "active True" in done.stdout
    assert [path.name for path in cwd.iterdir()] == ["out"]
    assert [path.name for path in (cwd / "out").iterdir()] == ["wandb"]
    assert list((tmp_path / "home").iterdir()) == []
    (run,) = (cwd / "out" / "wandb").glob("offline-run-*-run-1")
    assert (run / "run-run-1.wandb").stat().st_size > 0
    assert list(run.glob("files/media/table/predictions*.json"))
    assert "no key" not in done.stderr


def test_a_disabled_run_does_not_even_import_wandb(tmp_path: Path) -> None:
    assert "active False False" in run_script("disabled", tmp_path).stdout
    assert "active False False" in run_script("auto", tmp_path, WANDB_MODE="disabled").stdout
    assert not (tmp_path / "out").exists()


def test_online_without_a_key_goes_offline_and_never_asks_even_at_a_terminal(tmp_path: Path) -> None:
    terminal, stdin = pty.openpty()
    try:
        done = run_script("online", tmp_path, stdin=stdin)
    finally:
        os.close(terminal)
        os.close(stdin)
    assert "active True" in done.stdout
    assert "no key found" in done.stderr
    assert list(tmp_path.glob("out/wandb/offline-run-*"))


def test_a_refused_key_costs_one_warning_and_appears_nowhere(tmp_path: Path, refusing_server: str) -> None:
    done = run_script("auto", tmp_path, WANDB_API_KEY=KEY, WANDB_BASE_URL=refusing_server)
    assert "active True" in done.stdout
    assert done.stderr.count("recording offline instead") == 1
    assert list(tmp_path.glob("out/wandb/offline-run-*"))
    assert KEY not in done.stdout + done.stderr
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert written
    assert not [path for path in written if KEY.encode() in path.read_bytes()]


def test_a_failure_of_wandb_is_told_once_and_the_run_goes_on(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def __getattr__(self, name: str) -> Any:
            raise OSError("disk full")

    with caplog.at_level(logging.WARNING), Tracker(Broken()) as tracker:
        for step in range(3):
            tracker.log({"loss": 1.0}, step=step)
    assert [record.getMessage() for record in caplog.records] == [
        "W&B: disk full. The run continues; its record in W&B may be incomplete."
    ]
    tracker.log({"loss": 1.0})  # after the end: nothing happens


def test_a_table_that_cannot_be_made_costs_no_run(caplog: pytest.LogCaptureFixture) -> None:
    def read_broken_file() -> list[dict[str, str]]:
        raise OSError("predictions.parquet is broken")

    with caplog.at_level(logging.WARNING), Tracker(object()) as tracker:
        tracker.table("predictions", read_broken_file)
    assert "predictions.parquet is broken. The run continues" in caplog.text


def test_a_missing_installation_of_wandb_is_a_warning(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", None)
    monkeypatch.setattr("dsbs.core.tracking.set_environment", lambda directory: None)
    with caplog.at_level(logging.WARNING):
        tracker = open_tracker(Tracking(mode="offline"), run_id="a", name="a", config={}, directory=tmp_path)
    assert not tracker.active
    assert "nothing is recorded" in caplog.text


def test_the_mode_follows_setting_then_environment_then_key(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_mode("auto") == "offline"
    monkeypatch.setenv("WANDB_API_KEY", KEY)
    assert choose_mode("auto") == "online"
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert choose_mode("auto") == "offline"
    assert choose_mode("online") == "online"
    assert choose_mode("disabled") == "disabled"


@pytest.mark.parametrize(("mode", "warned"), [("nonsense", True), ("AUTO", False), ("", True), ("dryrun", False)])
def test_a_mode_of_the_environment_that_is_none_is_told_and_ignored(
    mode: str, warned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(os, "environ", {"NETRC": str(tmp_path / "none"), "WANDB_MODE": mode})
    assert choose_mode("auto") == "offline"
    assert ("expected online, offline or disabled" in caplog.text) is warned
    set_environment(tmp_path)
    assert os.environ.get("WANDB_MODE") == ("dryrun" if mode == "dryrun" else None)


def test_a_key_in_netrc_is_found_for_its_own_server_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text(f"default login me password other\nmachine api.wandb.ai login user password {KEY}\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert find_key() == KEY
    monkeypatch.setenv("WANDB_BASE_URL", "https://wandb.example.org")
    assert find_key() is None
    netrc.write_text("machine\n")
    assert find_key() is None


def test_a_resumed_run_keeps_its_id_wherever_the_outputs_lie(tmp_path: Path) -> None:
    folder = tmp_path / "outputs/train/svamp/t5_scratch/finetune/0.125/0-1a2b3c4d"
    folder.mkdir(parents=True)
    (folder / "manifest.json").write_text(json.dumps({"run_id": (kept := new_run_id())}))
    assert (
        find_run_id(folder)
        == find_run_id(
            shutil.copytree(tmp_path / "outputs", tmp_path / "data") / folder.relative_to(tmp_path / "outputs")
        )
        == kept
    )


@pytest.mark.parametrize("manifest", ["{}", "", '{"run_id": "../x"}'])
def test_a_run_of_an_earlier_version_keeps_the_id_of_its_place(tmp_path: Path, manifest: str) -> None:
    run = "svamp/t5_scratch/finetune/0.125/0-1a2b3c4d"
    (tmp_path / run).mkdir(parents=True)
    (tmp_path / run / "manifest.json").write_text(manifest)
    assert find_run_id(tmp_path / run) == find_run_id(Path("outputs/train", run))
    assert find_run_id(Path("outputs/train", run)) != find_run_id(Path("outputs/train", run[:-1]))


def test_switches_of_other_tools_are_applied(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WANDB_API_KEY", f"{KEY}\n")
    assert find_key() == KEY
    monkeypatch.setenv("WANDB_DISABLED", "true")
    assert choose_mode("auto") == "disabled"
    assert choose_mode("online") == "online"
    monkeypatch.setenv("WANDB_MODE", "offline")
    assert choose_mode("auto") == "offline"
    monkeypatch.setenv("WANDB_PROJECT", "theirs")
    assert Tracking().project == "theirs"
    assert Tracking(project="dsbs").project == "dsbs", "typed, or of a run that is there already"


@pytest.mark.parametrize("project", ["team/project", "50%", "", "p" * 129])
def test_a_project_that_wandb_would_refuse_is_a_fault(project: str) -> None:
    assert f"tracking.project={project}: expected" in Tracking(project=project).faults()[0]
    assert Tracking(project=project, mode="disabled").faults() == []


def test_an_unknown_mode_is_a_fault_that_names_the_right_ones() -> None:
    assert Tracking(mode="offline").faults() == []
    assert Tracking(mode="on").faults() == ["tracking.mode=on: expected one of auto, online, offline, disabled."]


def test_an_unknown_tracker_and_one_that_is_not_installed_are_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsbs.core.tracking.importlib.util.find_spec", lambda name: None)
    assert Tracking(report_to=["wandb"]).faults() == []
    assert Tracking(report_to=["wandb", "mlflow", "comet"], predictions=-1).faults() == [
        "tracking.predictions=-1: expected 0 or more.",
        "tracking.report_to=[mlflow] needs the package mlflow: pip install 'dsbs[mlflow]'",
        "tracking.report_to=[comet]: expected any of wandb, mlflow, tensorboard, trackio.",
    ]


def test_without_wandb_among_the_trackers_it_is_not_even_imported(tmp_path: Path) -> None:
    tracking = Tracking(mode="offline", report_to=["tensorboard"], project="mine")
    tracker = open_tracker(tracking, run_id="a", name="one", config={}, directory=tmp_path)
    assert not tracker.active
    assert tracker.others == OtherTrackers(("tensorboard",), tmp_path.resolve(), "mine", "one")
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
