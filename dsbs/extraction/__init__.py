"""The extraction engine: asks a teacher for rationales, keeps every answer, and can always be resumed."""

from dsbs.extraction.engine import Progress, Watch, estimate_extraction, extract, run_extraction
from dsbs.extraction.job import Job
from dsbs.extraction.settings import Budget, ExtractionSettings

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
