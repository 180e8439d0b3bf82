"""A process that was started by another one ends when that one is killed."""

import inspect
import multiprocessing
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from dsbs.cli.workers import run_jobs
from dsbs.compare import train_one

FORK = multiprocessing.get_context("fork")


def save_on_sigterm(folder: Path) -> None:
    """Write ``started``, and ``saved`` once the process is asked to end."""

    def save(number: int, frame: Any) -> None:
        (folder / "saved").touch()
        os._exit(143)

    signal.signal(signal.SIGTERM, save)
    (folder / "started").touch()
    time.sleep(60)


def compare(folder: Path) -> None:
    """Train in a subprocess, as ``dsbs.compare`` does."""
    python, script = folder / "python", folder / "script.py"
    script.write_text(
        "import os, signal, time, typing; from pathlib import Path; from dsbs.core.parents import end_with_stdin\n"
        f"{inspect.getsource(save_on_sigterm).replace('Any', 'typing.Any')}\n"
        f"end_with_stdin(); save_on_sigterm(Path({str(folder)!r}))\n"
    )
    python.write_text(f"#!/bin/sh\nexec {sys.executable} {script}\n")
    python.chmod(0o755)
    sys.executable = str(python)
    train_one([], Console())


def sweep(folder: Path) -> None:
    """Work in a process of ``launcher=joblib``."""
    run_jobs(save_on_sigterm, [(folder,)], 1, FORK)


@pytest.mark.parametrize("start", [compare, sweep])
def test_what_it_started_saves_and_ends_when_a_command_is_killed(tmp_path: Path, start: Any) -> None:
    process = FORK.Process(target=start, args=(tmp_path,))
    process.start()
    wait_for(tmp_path / "started")
    assert not (tmp_path / "saved").exists()
    process.kill()
    wait_for(tmp_path / "saved")
    process.join()


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + 20
    while not path.exists():
        assert time.monotonic() < deadline, path
        time.sleep(0.02)
