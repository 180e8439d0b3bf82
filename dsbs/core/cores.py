"""How many CPU cores this process may use."""

import contextlib
import os
from pathlib import Path

CGROUP = Path("/sys/fs/cgroup")
THREADS = "OMP_NUM_THREADS"


def count_cores() -> int:
    """Return the number of cores, at least 1: those that this process may run on, within the quota of its container.

    Libraries start a thread for each core of the machine. With a quota (``docker --cpus=2``, a CPU limit of Kubernetes)
    they wait for each other most of the time.
    """
    visible = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = read_quota()
    return visible if quota is None else max(1, min(visible, int(quota)))


def read_quota(folder: Path = CGROUP) -> float | None:
    """Return how many cores' time a container may use, or None without a limit."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = (folder / "cpu.max").read_text().split()
        return None if quota == "max" else int(quota) / int(period)
    with contextlib.suppress(OSError, ValueError, ZeroDivisionError):  # of older systems
        quota, period = ((folder / "cpu" / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
        return int(quota) / int(period) if int(quota) > 0 else None
    return None


def limit_threads() -> None:
    """Let libraries that are loaded from now on start no more threads than there are cores, unless told otherwise."""
    if read_quota() is not None:
        os.environ.setdefault(THREADS, str(count_cores()))
