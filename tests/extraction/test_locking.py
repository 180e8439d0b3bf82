"""Two extractions into one folder: nothing is asked twice."""

import threading
from pathlib import Path

import pytest
from scripted import ScriptedTeacher, job_for

from dsbs.core.errors import RunError
from dsbs.extraction.engine import run_extraction
from dsbs.extraction.locking import hold_store


def test_the_second_says_who_is_at_work_waits_and_asks_for_what_is_missing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    teachers = [ScriptedTeacher(delay=0.05), ScriptedTeacher()]
    threads = [
        threading.Thread(target=run_extraction, args=(job_for(tmp_path, teacher, settings={"concurrency": 2}),))
        for teacher in teachers
    ]
    threads[0].start()
    while not (tmp_path / "completions.sqlite.holder").exists():
        pass
    threads[1].start()
    for thread in threads:
        thread.join()
    assert [teacher.asked for teacher in teachers] == [10, 0]
    assert "another process is extracting into this folder (process " in caplog.text
    assert not (tmp_path / "completions.sqlite.holder").exists()


def test_extractions_into_two_folders_at_the_same_moment_ask_their_common_questions_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    teachers = [ScriptedTeacher(delay=0.05), ScriptedTeacher(delay=0.05)]
    jobs = [
        job_for(tmp_path / "count" / str(size), teacher, size, neighbours=tmp_path, settings={"concurrency": 2})
        for size, teacher in zip((10, 8), teachers, strict=True)
    ]
    threads = [threading.Thread(target=run_extraction, args=(job,)) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(teacher.asked for teacher in teachers) == 10
    assert "another process is asking the same teacher about count (process " in caplog.text
    assert "task.name=NAME" in caplog.text
    assert {path.name for path in (tmp_path / "count").iterdir()} == {"10", "8"}


def test_who_does_not_wait_is_told_who_holds_it(tmp_path: Path) -> None:
    with hold_store(tmp_path / "s.sqlite", wait=False):  # noqa: SIM117
        with (
            pytest.raises(RunError, match=r"\(process \d+ on .*, since 2"),
            hold_store(tmp_path / "s.sqlite", wait=False),
        ):
            pass
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_is_not_used_leaves_no_trace(tmp_path: Path) -> None:
    with hold_store(tmp_path / "a" / "b" / "s.sqlite", wait=True):
        pass
    assert list(tmp_path.iterdir()) == []
