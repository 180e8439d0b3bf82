"""The extraction engine: asks a teacher for rationales, keeps every answer, and can always be resumed."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dsbs.extraction.settings import Budget, ExtractionSettings

if TYPE_CHECKING:
    from dsbs.extraction.engine import Progress, Watch, estimate_extraction, extract, run_extraction
    from dsbs.extraction.job import Job

__all__ = [
    "Budget",
    "ExtractionSettings",
    "Job",
    "Progress",
    "Watch",
    "estimate_extraction",
    "extract",
    "run_extraction",
]


def __getattr__(name: str) -> Any:
    """Import the engine when a part of it is asked for: it takes its time, and help and finished runs do without."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.job" if name == "Job" else f"{__name__}.engine"), name)
