"""The folder of a run."""

import multiprocessing
import os
from pathlib import Path
from typing import Any

import pytest

from dsbs.core.errors import RunError
from dsbs.core.run_ids import find_run_id
from dsbs.training.run_folder import Run, name_run

SETTINGS: dict[str, Any] = {
    "task": {"name": "triage"},
    "student": {"name": "tiny"},
    "objective": {"name": "finetune"},
    "data_fraction": 1 / 3,
    "seed": 7,
}


def test_the_folder_names_what_a_reader_looks_for() -> None:
    folder = name_run("out", SETTINGS).folder
    assert folder.parent == Path("out/train/triage/tiny/finetune/0.333333")
    assert folder.name.startswith("7-")


def test_any_setting_gives_another_folder_and_another_output_dir_the_same_name() -> None:
    assert name_run("a", SETTINGS).folder.name == name_run("b", SETTINGS).folder.name
    assert name_run("a", SETTINGS | {"decoding": "rank"}).folder.name != name_run("a", SETTINGS).folder.name


def _hold(folder: str, ready: Any, done: Any) -> None:
    with Run(Path(folder), {}).lock():
        ready.set()
        done.wait(60)


def test_a_second_process_in_a_runs_folder_is_told(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready, done = context.Event(), context.Event()
    process = context.Process(target=_hold, args=(str(tmp_path), ready, done))
    process.start()
    assert ready.wait(60)
    run = Run(tmp_path, {})
    with pytest.raises(RunError, match="another process is already training this run"), run.lock():
        pass
    done.set()
    process.join()
    with run.lock():  # and free again
        pass


def test_a_process_that_was_killed_leaves_the_folder_free(tmp_path: Path) -> None:
    context = multiprocessing.get_context("fork")
    ready = context.Event()
    process = context.Process(target=_hold, args=(str(tmp_path), ready, context.Event()))
    process.start()
    assert ready.wait(60)
    process.kill()
    process.join()
    with Run(tmp_path, {}).lock():
        pass


def test_a_place_that_cannot_be_written_says_which_key_to_set(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(RunError, match=r"cannot be written .*output_dir=FOLDER"),
        Run(tmp_path / "file" / "run", {}).lock(),
    ):
        pass
    if os.getuid():
        (tmp_path / "closed").mkdir(mode=0o500)
        with pytest.raises(RunError, match="cannot be written"), Run(tmp_path / "closed" / "run", {}).lock():
            pass


def test_a_run_is_finished_when_its_metrics_are_there_and_its_checkpoints_stay(tmp_path: Path) -> None:
    run = Run(tmp_path, {})
    (run.checkpoints / "checkpoint-1").mkdir(parents=True)
    assert run.finished_metrics() is None
    run.finish({"steps": 1})
    assert run.finished_metrics() == {"steps": 1}
    assert (run.checkpoints / "checkpoint-1").is_dir()


def test_metrics_that_are_no_numbers_are_never_written(tmp_path: Path) -> None:
    run = Run(tmp_path, {})
    with pytest.raises(ValueError, match="Out of range float"):
        run.finish({"accuracy": float("nan")})
    assert run.finished_metrics() is None
    assert list(tmp_path.iterdir()) == []


def test_a_resumed_training_keeps_its_id_at_wandb_and_a_new_one_gets_another(tmp_path: Path) -> None:
    def start() -> str:
        run.write_manifest("", "python -m dsbs.train", {})
        return find_run_id(tmp_path)

    run = Run(tmp_path, {})
    first = start()
    assert start() == first
    run.manifest_path.unlink()
    assert start() != first
