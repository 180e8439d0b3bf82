"""Backends: who fits a student. A new one is a module with ``fit`` and a line in this registry."""

import importlib
from typing import cast

from dsbs.training.backends.base import Backend, Fitted

# What a student's `backend` says -> module, imported when such a student is trained.
BACKENDS: dict[str, str] = {
    "huggingface": "dsbs.training.backends.huggingface",
    "sklearn": "dsbs.training.backends.sklearn",
}

__all__ = ["BACKENDS", "Backend", "Fitted", "load_backend"]


def load_backend(name: str) -> Backend:
    """Import a backend."""
    return cast(Backend, importlib.import_module(BACKENDS[name]))
