"""The teachers of runs: model, accuracy, cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsbs.core.errors import DataError
from dsbs.extraction.annotations import load_summary, total_of
from dsbs.reporting.reading import FinishedRun
from dsbs.reporting.schema import clean
from dsbs.teachers import TEACHERS, Teacher


@dataclass(frozen=True)
class TeacherFacts:
    """A teacher's model, accuracy and cost; None where unknown.

    Attributes:
        accuracy: on ``split``; an answer that could not be parsed counts as wrong.
        split: ``test``, which compares with students, or else ``train``.
        model: the model that answered.
        stand_in: what it is if it is not a language model.
        replayed: whether its answers come from files.
        cost_usd: dollars for all splits.
    """

    name: str
    accuracy: float | None = None
    split: str | None = None
    model: str | None = None
    stand_in: str | None = None
    filter: str | None = None
    cost_usd: float | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    replayed: bool = False


def find_teachers(runs: Sequence[FinishedRun]) -> list[TeacherFacts]:
    """Return the distinct teachers of runs; several of one name where their facts differ."""
    found: dict[TeacherFacts, None] = {}
    for run in runs:
        if run.metrics.get("teacher"):
            found[_describe(run, find_summary(run) or {})] = None
    return sorted(found, key=lambda teacher: (teacher.name, teacher.model or "", teacher.accuracy or 0.0))


def find_stand_in(run: FinishedRun) -> str | None:
    """Return what a run's teacher is if it is not a language model, else None."""
    return getattr(_kind_of(run), "stand_in", None)


def _kind_of(run: FinishedRun) -> type[Teacher] | None:
    name = run.metrics.get("teacher")
    return TEACHERS.get(str(run.config.get("teacher.kind", name))) if name else None


def _describe(run: FinishedRun, summary: dict[str, Any]) -> TeacherFacts:
    splits = summary.get("splits", {})
    accuracy, split = None, None
    for split in ("test", "train"):
        accuracy = splits.get(split, {}).get("teacher_accuracy")
        if accuracy is not None:
            break
    return TeacherFacts(
        name=str(run.metrics["teacher"]),
        accuracy=None if accuracy is None else float(accuracy),
        split=None if accuracy is None else split,
        model=summary.get("model") or run.manifest.get("model"),
        stand_in=find_stand_in(run),
        filter=_name(summary.get("filter", summary.get("gate"))),
        cost_usd=total_of(summary, "cost_usd"),
        prompt_tokens=total_of(summary, "prompt_tokens"),
        completion_tokens=total_of(summary, "completion_tokens"),
        replayed=getattr(_kind_of(run), "by_id", False),
    )


def _name(stored: Any) -> str | None:
    stored = stored.get("name") if isinstance(stored, dict) else stored
    return stored if isinstance(stored, str) else None


def find_summary(run: FinishedRun) -> dict[str, Any] | None:
    """Return the summary of a run's extraction; None where it is missing or broken."""
    for folder in annotation_folders(run):
        try:
            if summary := load_summary(folder):
                cleaned: dict[str, Any] = clean(summary, "summary.json")
                return cleaned
        except (DataError, OSError):
            continue
    return None


def annotation_folders(run: FinishedRun) -> list[Path]:
    """Return where a run's annotations may lie.

    The path in its manifest is relative to the run's working directory, which is taken to be any parent of its folder.
    """
    folder = run.manifest.get("rationales")
    if not isinstance(folder, str):
        return []
    return [Path(folder), *(parent / folder for parent in run.folder.resolve().parents)]
