"""Cores: the quota of a container counts, which libraries do not see."""

import os
from pathlib import Path

import pytest

from dsbs.core import cores


@pytest.mark.parametrize(
    ("files", "quota"),
    [
        ({"cpu.max": "250000 100000\n"}, 2.5),
        ({"cpu.max": "max 100000\n"}, None),
        ({"cpu/cpu.cfs_quota_us": "400000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 4.0),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, None),
        ({"cpu.max": ""}, None),
        ({}, None),
    ],
)
def test_the_quota_of_a_container_is_read(tmp_path: Path, files: dict[str, str], quota: float | None) -> None:
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    assert cores.read_quota(tmp_path) == quota


@pytest.mark.parametrize(("quota", "threads"), [(2.5, "2"), (0.5, "1"), (64.0, "8"), (None, None)])
def test_no_more_threads_than_the_quota_allows(
    monkeypatch: pytest.MonkeyPatch, quota: float | None, threads: str | None
) -> None:
    monkeypatch.setattr(cores, "read_quota", lambda: quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: range(8), raising=False)
    monkeypatch.setenv(cores.THREADS, "3")
    cores.limit_threads()
    assert os.environ[cores.THREADS] == "3"  # the user's own
    monkeypatch.delenv(cores.THREADS)
    cores.limit_threads()
    assert os.environ.get(cores.THREADS) == threads
