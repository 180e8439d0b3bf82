"""Kill -9 at any moment loses at most what was in flight."""

import multiprocessing
import os
import random
import signal
import time
from multiprocessing.process import BaseProcess
from pathlib import Path

import pytest
from fault_server import FaultServer, serve
from scripted import ScriptedTeacher, extract_from, job_for, load_annotations

from dsbs.extraction.annotations import load_summary
from dsbs.extraction.engine import run_extraction

SIZE, CONCURRENCY, KILLS = 300, 8, 12
# Forked from a process that has imported all, so that a start costs milliseconds.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["scripted", "openai", "aiohttp", "pyarrow.parquet"])


def start(folder: Path, server: FaultServer, size: int = SIZE) -> BaseProcess:
    process = PROCESSES.Process(target=extract_from, args=(server.url, str(folder), size, {"concurrency": CONCURRENCY}))
    process.start()
    return process


def wait_for(server: FaultServer, requests: int, process: BaseProcess) -> None:
    """Return once so many requests came, or the process ended."""
    while server.requests < requests and process.is_alive():
        time.sleep(0.001)


def test_killed_at_random_moments_the_result_is_that_of_an_undisturbed_run(tmp_path: Path) -> None:
    rng, kills = random.Random(0), 0
    run_extraction(job_for(tmp_path / "undisturbed", ScriptedTeacher(), size=SIZE))
    with serve(FaultServer(latency=0.005)) as server:
        while True:
            process = start(tmp_path / "killed", server)
            if kills < KILLS:
                wait_for(server, server.requests + rng.randint(1, SIZE // KILLS), process)
                time.sleep(rng.random() * 0.01)
            else:
                process.join(60)
            finished = not process.is_alive()
            process.kill()
            process.join()
            if finished:
                break
            kills += 1
    assert process.exitcode == 0
    assert kills == KILLS
    killed = load_annotations(tmp_path / "killed", "train")
    assert killed == load_annotations(tmp_path / "undisturbed", "train")
    summary = load_summary(tmp_path / "killed")
    assert summary is not None
    assert summary["splits"]["train"]["teacher_accuracy"] == 1.0
    assert summary["splits"]["train"]["completion_tokens"] == 10 * SIZE
    assert server.requests - SIZE <= CONCURRENCY * KILLS
    assert max(server.asked.values()) <= 1 + KILLS


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["ctrl-c", "closed terminal"])
def test_ctrl_c_finishes_what_is_in_flight_and_says_how_to_go_on(tmp_path: Path, number: int) -> None:
    with serve(FaultServer(latency=0.2)) as server:
        process = start(tmp_path, server)
        wait_for(server, 20, process)
        os.kill(process.pid or 0, number)
        process.join(30)
        asked = server.requests
        assert process.exitcode == 1
        assert "Interrupted" in (tmp_path / "error").read_text()
        assert sum(server.answered.values()) == asked == len(load_annotations(tmp_path, "train"))
        again = start(tmp_path, server, size=60)
        again.join(60)
        assert again.exitcode == 0
        assert server.requests == max(60, asked)


def test_a_second_ctrl_c_stops_now_and_keeps_what_came(tmp_path: Path) -> None:
    server = FaultServer(script=lambda number, question: "hang" if number >= 20 else None)
    with serve(server):
        process = start(tmp_path, server)
        wait_for(server, 20 + CONCURRENCY, process)
        os.kill(process.pid or 0, signal.SIGINT)
        time.sleep(0.3)
        assert process.is_alive()
        os.kill(process.pid or 0, signal.SIGINT)
        process.join(30)
    assert len(load_annotations(tmp_path, "train")) == 20
