"""A run with other settings than the one that was stopped says so, and how that one is resumed."""

import json
from pathlib import Path
from typing import Any

import pytest

from dsbs.training.run_folder import Run
from dsbs.training.stopped import describe_stop


def settings(**changes: Any) -> dict[str, Any]:
    return {"data_fraction": 1.0, "training": {"max_steps": 200, "bf16": False}, "train": "ab12"} | changes


def stop(folder: Path, steps: int = 100) -> Path:
    (folder / f"checkpoints/checkpoint-{steps}").mkdir(parents=True)
    manifest = {"settings": settings(), "command": "python -m dsbs.train training.max_steps=200"}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


@pytest.mark.parametrize(
    ("place", "changes", "told"),
    [
        ("1.0/0-new", {"training": {"max_steps": 400, "bf16": True}}, "max_steps=200 (here 400), training.bf16=False"),
        ("0.5/0-new", {"data_fraction": 0.5, "train": "cd34"}, "data_fraction=1.0 (here 0.5)."),
        ("1.0/0-new", {"train": "cd34"}, "with other train data."),
        ("1.0/0-new", {"control": {"name": "random_text"}}, "control.name=unset (here random_text)"),
    ],
)
def test_what_differs_is_told(tmp_path: Path, place: str, changes: dict[str, Any], told: str) -> None:
    stop(tmp_path / "1.0/0-old")
    said = str(describe_stop(Run(tmp_path / place, settings(**changes))))
    assert told in said
    assert "stopped at step 100" in said
    assert said.endswith("what resumes it is: python -m dsbs.train training.max_steps=200")


def test_nothing_is_told_of_finished_or_running_runs_other_seeds_and_where_the_run_resumes(tmp_path: Path) -> None:
    old = Run(stop(tmp_path / "1.0/0-old"), settings())
    other = settings(training={"max_steps": 400})
    assert describe_stop(Run(tmp_path / "1.0/1-new", other)) is None
    with old.lock():
        assert describe_stop(Run(tmp_path / "1.0/0-new", other)) is None
    assert describe_stop(Run(stop(tmp_path / "1.0/0-new"), other)) is None
    old.finish({})
    assert describe_stop(Run(tmp_path / "1.0/0-third", other)) is not None  # of 0-new
    Run(tmp_path / "1.0/0-new", other).finish({})
    assert describe_stop(Run(tmp_path / "1.0/0-third", other)) is None
