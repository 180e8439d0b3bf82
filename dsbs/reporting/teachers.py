"""The teachers that runs learned from: who they are, how right, and what they cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsbs.core.errors import DataError
from dsbs.extraction.annotations import load_summary, total_of
from dsbs.reporting.reading import FinishedRun
from dsbs.reporting.schema import SPLIT, SUMMARY, check, clean
from dsbs.teachers import TEACHERS


@dataclass(frozen=True)
class TeacherFacts:
    """What is known of a teacher.

    Attributes:
        name: the teacher's name.
        accuracy: share of the split's examples that it answers right; one that could not be read is wrong.
        split: ``test``, so that it compares with the students', or else ``train``; None where neither is known.
        model: the model that answered, or None.
        stand_in: what it is where it is no language model, or None.
        filter: the filter that its annotations passed when they were extracted.
        cost_usd: dollars for all splits, or None where no price is known.
        prompt_tokens: tokens read, in all splits.
        completion_tokens: tokens written, in all splits.
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


def find_teachers(runs: Sequence[FinishedRun]) -> list[TeacherFacts]:
    """Return each teacher that the runs learned from; several with one name where what is known of them differs."""
    found: dict[TeacherFacts, None] = {}
    for run in runs:
        if run.metrics.get("teacher"):
            found[_describe(run, find_summary(run) or {})] = None
    return sorted(found, key=lambda teacher: (teacher.name, teacher.model or "", teacher.accuracy or 0.0))


def find_stand_in(run: FinishedRun) -> str | None:
    """Return what a run's teacher is where it is no language model, or None."""
    name = run.metrics.get("teacher")
    kind = TEACHERS.get(str(run.config.get("teacher.kind", name))) if name else None
    return getattr(kind, "stand_in", None)


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
    )


def _name(said: Any) -> str | None:
    said = said.get("name") if isinstance(said, dict) else said
    return said if isinstance(said, str) else None


def find_summary(run: FinishedRun) -> dict[str, Any] | None:
    """Return the summary of the extraction that a run learned from; None where it is not found, or broken."""
    for folder in annotation_folders(run):
        try:
            if summary := load_summary(folder):
                checked: dict[str, Any] = clean(summary, "summary.json")
                check(checked, SUMMARY, "summary.json")
                for name, split in checked["splits"].items():
                    check(split, SPLIT, f"summary.json: splits.{name}")
                return checked
        except (DataError, OSError):
            continue
    return None


def annotation_folders(run: FinishedRun) -> list[Path]:
    """Return where the annotations that a run learned from may lie.

    The path is that of the run's working directory, which is also where the folder of the run began.
    """
    place = run.manifest.get("rationales")
    if not isinstance(place, str):
        return []
    return [Path(place), *(parent / place for parent in run.folder.resolve().parents)]
