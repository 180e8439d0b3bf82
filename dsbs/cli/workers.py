"""Jobs of a sweep in parallel processes (``launcher=joblib``); one that is killed loses its own job alone.

joblib itself gives up all jobs when one process is killed.
"""

import os
import pickle
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing import connection, get_context, parent_process
from pathlib import Path
from typing import Any

from dsbs.core.cores import count_cores
from dsbs.core.parents import end_with

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
PATIENCE = 60.0  # seconds that a job may take to save its state when all is stopped


@dataclass
class Killed:
    """The result of a job whose process was killed.

    Attributes:
        exit_code: of the process; negative: the signal that ended it.
    """

    exit_code: int | None

    def __str__(self) -> str:
        number = -(self.exit_code or 0)
        how = f"by {signal.Signals(number).name}" if number > 0 else f"(exit code {self.exit_code})"
        memory = ", probably by the kernel, out of memory" if number == signal.SIGKILL else ""
        return f"its process was killed {how}{memory}; the same command resumes from its last checkpoint"


class _Worker:
    """A process that does one job after another, so that only its first one waits for imports."""

    def __init__(self, context: Any, function: bytes) -> None:
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=_work, args=(other, function))
        self.process.start()
        other.close()
        self.job: int | None = None

    def close(self) -> None:
        """Let the process end after the job it is doing."""
        with suppress(OSError):
            self.pipe.send(None)


def _work(pipe: connection.Connection, function: bytes) -> None:
    """Do the jobs that come through the pipe, one after another, until None comes or its other end is closed."""
    parent = parent_process()
    assert parent is not None
    end_with(lambda: connection.wait([parent.sentinel]))
    try:
        # What is unpickled here and below comes from a process that this one started.
        call = pickle.loads(function)  # noqa: S301
        while (arguments := pipe.recv()) is not None:
            pipe.send_bytes(_pickle(call(*pickle.loads(arguments))))  # noqa: S301
    except (EOFError, KeyboardInterrupt):
        sys.exit(1)


def _pickle(value: Any) -> bytes:
    """Pickle what plain pickle cannot, too: functions within functions."""
    try:
        import cloudpickle
    except ImportError:  # an older joblib brings its own
        from joblib.externals import cloudpickle
    packed: bytes = cloudpickle.dumps(value)
    return packed


def run_jobs(
    function: Callable[..., Any], jobs: Sequence[tuple[Any, ...]], at_once: int, context: Any = None
) -> list[Any]:
    """Call a function for each job, in other processes; return the results in order, ``Killed`` for a killed one.

    Args:
        context: of ``multiprocessing``; by default ``spawn``.

    Raises:
        BaseException: whatever stopped this process; then the others are stopped as well, within ``PATIENCE``.
    """
    context = context or get_context("spawn")
    packed = _pickle(function)
    found: list[Any] = [None] * len(jobs)
    waiting = list(reversed(range(len(jobs))))
    workers: list[_Worker] = []
    try:
        while waiting or any(worker.job is not None for worker in workers):
            idle = [worker for worker in workers if worker.job is None]
            while waiting and (idle or len(workers) < at_once):
                worker = idle.pop() if idle else _Worker(context, packed)
                if worker not in workers:
                    workers.append(worker)
                worker.job = waiting.pop()
                worker.pipe.send(_pickle(jobs[worker.job]))
            ready = connection.wait([worker.pipe for worker in workers if worker.job is not None])
            for worker in [worker for worker in workers if worker.pipe in ready]:
                position = worker.job
                assert position is not None
                try:
                    found[position] = pickle.loads(worker.pipe.recv_bytes())  # noqa: S301
                    worker.job = None
                except (EOFError, ConnectionError):
                    worker.process.join()
                    found[position] = Killed(worker.process.exitcode)
                    workers.remove(worker)
    except BaseException:
        for worker in workers:
            worker.process.terminate()
        raise
    finally:
        for worker in workers:
            worker.close()
        for worker in workers:
            worker.process.join(PATIENCE)
            worker.process.kill()
    return found


def launch(launcher: Any, job_overrides: Sequence[Sequence[str]], initial_job_idx: int) -> list[Any]:
    """Run the jobs of a sweep in place of ``JoblibLauncher.launch``; a job that was killed is noted as failed.

    Returns:
        Hydra's ``JobReturn`` of each job.
    """
    from hydra.core.singleton import Singleton
    from hydra.core.utils import JobReturn, JobStatus, setup_globals
    from hydra_plugins.hydra_joblib_launcher._core import execute_job
    from joblib import effective_n_jobs

    from dsbs.cli.sweeps import JobResult, write_result

    setup_globals()
    folder = Path(str(launcher.config.hydra.sweep.dir))
    folder.mkdir(parents=True, exist_ok=True)
    at_once = min(effective_n_jobs(launcher.joblib["n_jobs"]), len(job_overrides))
    parts = (launcher.hydra_context, launcher.config, launcher.task_function, Singleton.get_state())
    jobs = [(initial_job_idx + position, overrides, *parts) for position, overrides in enumerate(job_overrides)]
    share = str(max(1, count_cores() // at_once))
    unset = [name for name in THREADS if name not in os.environ]
    os.environ.update(dict.fromkeys(unset, share))
    try:
        found = run_jobs(execute_job, jobs, at_once)
    finally:
        for name in unset:
            del os.environ[name]
    for position, (result, overrides) in enumerate(zip(found, job_overrides, strict=True)):
        if isinstance(result, Killed):
            write_result(folder, initial_job_idx + position, JobResult(list(overrides), str(result)))
            found[position] = JobReturn(overrides=overrides, status=JobStatus.COMPLETED, _return_value=None)
    return found


def install() -> None:
    """Replace ``JoblibLauncher.launch`` by ``launch``."""
    from hydra_plugins.hydra_joblib_launcher.joblib_launcher import JoblibLauncher

    JoblibLauncher.launch = launch
