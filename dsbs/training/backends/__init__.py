"""Backends: who fits a student. A new one is a module with ``fit`` and a line in this registry."""

import contextlib
import io
import sys
from collections.abc import Iterator

from dsbs.core.errors import ConfigError
from dsbs.core.registry import Registry
from dsbs.training.backends.base import Backend, Fitted

# What a student's `backend` says -> module, imported when such a student is trained.
BACKENDS: Registry[Backend] = Registry(
    "dsbs.backends",
    {"huggingface": "dsbs.training.backends.huggingface", "sklearn": "dsbs.training.backends.sklearn"},
)

__all__ = ["BACKENDS", "Backend", "Fitted", "load_backend"]


# Packages that `transformers` imports with its Trainer if they are installed: over two seconds of CPU. Code that needs
# one of them (LoRA peft, the hub datasets) imports it.
UNWANTED = {"huggingface": ("peft", "datasets", "pandas", "scipy", "sklearn")}


def load_backend(name: str) -> Backend:
    """Import a backend; what is printed on import, such as transformers' hint on W&B, is suppressed."""
    with contextlib.redirect_stdout(io.StringIO()):
        try:
            with hidden(*UNWANTED.get(name, ())):
                return BACKENDS[name]
        except (ImportError, ConfigError):  # transformers has found one of them before, and counts on it
            return BACKENDS[name]


@contextlib.contextmanager
def hidden(*packages: str) -> Iterator[None]:
    """Make packages that are not imported yet look as if they were not installed, within the context."""
    hidden: list[str] = [name for name in packages if name not in sys.modules]
    sys.modules.update(dict.fromkeys(hidden))  # type: ignore[arg-type]  # None: an import fails
    try:
        yield
    finally:
        for name in hidden:
            del sys.modules[name]
