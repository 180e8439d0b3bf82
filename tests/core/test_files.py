"""Files are written whole or not at all, and what the system refuses is a sentence with the place in it."""

import os
import resource
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from dsbs.core.files import atomic_path, explain_refusal, open_atomic, write_text
from dsbs.inference.checkpoint import check_output


@pytest.fixture
def little_room() -> Iterator[None]:
    """Files of this process end after 1 kB, as on a disk that is full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_a_full_disk_keeps_the_old_file_and_is_told_with_its_name(tmp_path: Path, little_room: None) -> None:
    path = tmp_path / "report.json"
    write_text(path, "old")
    with pytest.raises(OSError) as refused:  # noqa: PT011 - what it says is checked below
        write_text(path, "new" * 1000)
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]
    assert path.read_text() == "old"
    assert f"{path}: cannot be written: File too large. Free some space" in str(explain_refusal(refused.value))


@pytest.mark.parametrize("place", ["file/out.json", "file/deeper/out.json"])
def test_a_file_where_a_folder_is_needed_is_named(tmp_path: Path, place: str) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError) as refused:  # noqa: PT011
        write_text(tmp_path / place, "x")
    assert str(explain_refusal(refused.value)).startswith(f"{tmp_path}/file: a file, where a folder is needed.")
    assert explain_refusal(FileNotFoundError(2, "No such file", "x")) is None  # ours, with its traceback


def test_devices_and_pipes_are_written_to_and_stay(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    heard: list[str] = []
    reader = threading.Thread(target=lambda: heard.append((tmp_path / "pipe").read_text()))
    reader.start()
    write_text(tmp_path / "pipe", "told")
    reader.join(10)
    assert heard == ["told"]
    assert (tmp_path / "pipe").is_fifo()


def test_a_folder_is_refused_before_anything_is_written_and_a_link_to_one_stays(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "link").symlink_to("folder")
    for name in ("folder", "link"):
        with pytest.raises(IsADirectoryError), open_atomic(tmp_path / name):
            pytest.fail("it was opened")
    assert (tmp_path / "link").is_symlink()


def test_an_output_that_is_a_link_is_written_where_it_leads(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("answers.jsonl")
    write_text(check_output(str(tmp_path / "link")), "new")
    assert (tmp_path / "answers.jsonl").read_text() == "new"
    assert (tmp_path / "link").is_symlink()


def test_whole_leaves_nothing_after_an_error(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError), atomic_path(tmp_path / "x") as partial:
        partial.write_text("half" * (1 // 0) if partial.write_text("half") else "")
    assert not list(tmp_path.iterdir())
