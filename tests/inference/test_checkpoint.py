"""The folder that a user names, from wherever, is the student that is in it."""

from pathlib import Path

import pytest

from dsbs.core.errors import RunError
from dsbs.inference.checkpoint import find_checkpoint


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """The files of a run with an export, by which they are found."""
    files = ["manifest.json", "config.yaml", "metrics.json", "checkpoint/config.json", "exports/skops-none/config.json"]
    for file in files:
        (tmp_path / "run" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "run" / file).write_text("{}")
    return tmp_path / "run"


@pytest.mark.parametrize("place", ["checkpoint", "exports/skops-none"])
def test_a_student_is_found_from_within_its_folder(run: Path, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_checkpoint(str(run)) == run / "checkpoint"
    assert find_checkpoint(str(run / place)) == run / place
    monkeypatch.chdir(run / place)
    assert find_checkpoint(".").resolve() == run / place


def test_the_folder_of_exports_is_none_of_them(run: Path) -> None:
    with pytest.raises(RunError, match=f"the folder of a run's exports: checkpoint={run}/exports/skops-none"):
        find_checkpoint(str(run / "exports"))
