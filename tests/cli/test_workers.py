"""Jobs side by side in processes of this machine."""

import multiprocessing
import os
import signal
import time

import pytest

from dsbs.cli.workers import Killed, run_jobs

pytest.importorskip("joblib", reason="needs the extra joblib")
FORK = multiprocessing.get_context("fork")


def test_a_job_that_is_killed_costs_nobody_else_anything() -> None:
    def work(number: int) -> int:
        if number == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(0.05)
        return 10 * number

    found = run_jobs(work, [(number,) for number in range(6)], at_once=2, context=FORK)
    assert [value for value in found if not isinstance(value, Killed)] == [0, 20, 30, 40, 50]
    assert isinstance(found[1], Killed)
    assert str(found[1]).startswith("its process was killed by SIGKILL, probably by the kernel, out of memory")


def test_a_process_does_one_job_after_another_and_no_more_run_than_were_asked_for() -> None:
    processes = run_jobs(lambda number: os.getpid(), [(number,) for number in range(5)], at_once=2, context=FORK)
    assert len(set(processes)) <= 2
    assert os.getpid() not in processes


def test_what_stops_this_process_stops_the_others() -> None:
    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    def interrupt(number: int) -> None:
        if number == 0:
            time.sleep(0.5)  # until both are there: Python loses a signal in the middle of a fork
            os.kill(os.getppid(), signal.SIGUSR1)
        time.sleep(30)

    before, started = signal.signal(signal.SIGUSR1, stop), time.monotonic()
    try:
        with pytest.raises(KeyboardInterrupt):
            run_jobs(interrupt, [(0,), (1,)], at_once=2, context=FORK)
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert time.monotonic() - started < 15
