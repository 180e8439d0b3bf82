"""Executors: how requests reach a teacher.

A new one is a class that extends ``Executor``, a line here, and an option in ``conf/executor/``.
"""

from contextlib import AbstractAsyncContextManager

from dsbs.core.errors import ConfigError
from dsbs.core.registry import Registry
from dsbs.extraction.executors.base import Executor, Parts
from dsbs.extraction.settings import ExtractionSettings

EXECUTORS: Registry[type[Executor]] = Registry(
    "dsbs.executors",
    {
        "local": "dsbs.extraction.executors.local:LocalExecutor",
        "batch": "dsbs.extraction.executors.batch:BatchExecutor",
        "ray": "dsbs.extraction.executors.ray_driver:RayExecutor",
    },
    Executor,
)


def open_executor(parts: Parts) -> AbstractAsyncContextManager[Executor]:
    """Return a context manager that yields the executor that the settings name.

    Raises:
        ConfigError: where there is none of that name.
    """
    name = parts.job.settings.executor
    if name not in EXECUTORS:
        raise ConfigError(f"executor={name}: expected one of {', '.join(EXECUTORS)}.")
    return EXECUTORS[name].open(parts)


def asks_in_batches(settings: ExtractionSettings) -> bool:
    """Return whether the executor uses an endpoint's batch API; False for an unknown one."""
    return settings.executor in EXECUTORS and EXECUTORS[settings.executor].batches


__all__ = ["EXECUTORS", "Executor", "Parts", "asks_in_batches", "open_executor"]
