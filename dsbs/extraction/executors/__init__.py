"""Executors: how questions reach a teacher. A new one is a module with a function like ``open_local``, listed here."""

from contextlib import AbstractAsyncContextManager
from importlib import import_module

from dsbs.extraction.executors.base import Executor, Parts

# Name -> module and function; imported when it is asked for, so that nobody waits for what they do not use.
EXECUTORS = {
    "local": ("dsbs.extraction.executors.local", "open_local"),
    "batch": ("dsbs.extraction.executors.batch", "open_batch"),
    "ray": ("dsbs.extraction.executors.ray_driver", "open_ray_executor"),
}


def open_executor(parts: Parts) -> AbstractAsyncContextManager[Executor]:
    """Open the executor that the settings name."""
    module, function = EXECUTORS[parts.job.settings.executor]
    opened: AbstractAsyncContextManager[Executor] = getattr(import_module(module), function)(parts)
    return opened


__all__ = ["EXECUTORS", "Executor", "Parts", "open_executor"]
