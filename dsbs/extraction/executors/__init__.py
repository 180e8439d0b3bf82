"""Executors: how requests reach a teacher.

A new one is a module with a function like ``open_local``, a line here, and an option in ``conf/executor/``.
"""

from collections.abc import Callable
from contextlib import AbstractAsyncContextManager

from dsbs.core.errors import ConfigError
from dsbs.core.registry import Registry
from dsbs.extraction.executors.base import Executor, Parts
from dsbs.extraction.settings import ExtractionSettings

Open = Callable[[Parts], AbstractAsyncContextManager[Executor]]
EXECUTORS: Registry[Open] = Registry(
    "dsbs.executors",
    {
        "local": "dsbs.extraction.executors.local:open_local",
        "batch": "dsbs.extraction.executors.batch:open_batch",
        "ray": "dsbs.extraction.executors.ray_driver:open_ray_executor",
    },
)


def open_executor(parts: Parts) -> AbstractAsyncContextManager[Executor]:
    """Return a context manager that yields the executor that the settings name.

    Raises:
        ConfigError: where there is none of that name.
    """
    name = parts.job.settings.executor
    if name not in EXECUTORS:
        raise ConfigError(f"executor={name}: expected one of {', '.join(EXECUTORS)}.")
    return EXECUTORS[name](parts)


def asks_in_batches(settings: ExtractionSettings) -> bool:
    """Return whether the executor uses an endpoint's batch API; see ``base.in_batches``."""
    return bool(getattr(EXECUTORS.get(settings.executor), "batches", False))


__all__ = ["EXECUTORS", "Executor", "Parts", "asks_in_batches", "open_executor"]
