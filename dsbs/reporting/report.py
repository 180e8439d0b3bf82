"""The report of one task: cells, comparisons, the teacher, and everything that did not make it."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from dsbs import __version__
from dsbs.core.errors import DataError
from dsbs.core.files import write_json, write_text
from dsbs.extraction.annotations import load_summary
from dsbs.reporting.cells import Cell, group_runs
from dsbs.reporting.comparisons import HEADLINE, Comparison, compare_cells, explain_no_headline, tell_headline, to_json
from dsbs.reporting.reading import FinishedRun, LeftOut, read_runs

JSON, PAGE, PLOT = "report.json", "index.html", "accuracy_over_fraction.png"


@dataclass(frozen=True)
class TeacherAccuracy:
    """How often a teacher's answers are right.

    Attributes:
        name: the teacher's name.
        accuracy: share of the split's examples; an answer that could not be read is wrong.
        split: ``test``, so that it compares with the students', or else ``train``.
    """

    name: str
    accuracy: float
    split: str


@dataclass(frozen=True)
class Report:
    """What is known about one task.

    Attributes:
        task: its name.
        runs: the folder that was read.
        cells: runs by seed.
        comparisons: headline first.
        teachers: those whose accuracy is known; several with one name where its settings differ.
        left_out: runs that do not count, with the reason.
    """

    task: str
    runs: Path
    cells: list[Cell]
    comparisons: list[Comparison]
    teachers: list[TeacherAccuracy]
    left_out: list[LeftOut]

    @property
    def headlines(self) -> list[str]:
        """The main result in words: one sentence for each headline comparison, or what is missing for it."""
        if not self.cells:
            return ["No run is finished yet."]
        told = [tell_headline(item, self.cells) for item in self.comparisons if item.kind == HEADLINE]
        return told or [explain_no_headline(self.cells)]

    def to_json(self) -> dict[str, Any]:
        """Return what ``report.json`` holds."""
        return {
            "task": self.task,
            "headline": self.headlines,
            "cells": [_cell_to_json(cell) for cell in self.cells],
            "comparisons": [to_json(item) for item in self.comparisons if item.result],
            "refused_comparisons": [
                {"baseline": item.baseline.id, "candidate": item.candidate.id, "reason": item.refusal}
                for item in self.comparisons
                if not item.result
            ],
            "teacher": {
                "accuracy": self.teachers[0].accuracy if len(self.teachers) == 1 else None,
                "all": [vars(teacher) for teacher in self.teachers],
            },
            "left_out": [{"folder": str(run.folder), "reason": run.reason} for run in self.left_out],
            "runs": str(self.runs),
            "dsbs": __version__,
        }


def build_reports(root: Path) -> list[Report]:
    """Read the runs under a folder and return one report for each task among them.

    Raises:
        DataError: where there is no folder, no run, or no finished one.
    """
    finished, left_out = read_runs(root)
    if not finished:
        listing = "\n".join(f"  {run.folder}: {run.reason}" for run in left_out)
        raise DataError(f"runs={root}: none of {len(left_out)} runs is finished.\n{listing}")
    by_task: dict[str, list[FinishedRun]] = {}
    for run in finished:
        by_task.setdefault(str(run.metrics["task"]), []).append(run)
    reports = []
    for task, runs in sorted(by_task.items()):
        cells, repeats = group_runs(runs)
        # By the layout of the folders; a run that no task claims is listed with each.
        others = [run for run in left_out if task in run.folder.parts or not set(by_task) & set(run.folder.parts)]
        reports.append(Report(task, root, cells, compare_cells(cells), find_teachers(runs), [*others, *repeats]))
    return reports


def find_teachers(runs: Sequence[FinishedRun]) -> list[TeacherAccuracy]:
    """Return the accuracy of each teacher that the runs learnt from, where its summary can be found."""
    found: dict[TeacherAccuracy, None] = {}
    for run in runs:
        if run.metrics.get("teacher") and (summary := _load_teacher_summary(run)):
            for split in ("test", "train"):
                accuracy = summary.get("splits", {}).get(split, {}).get("teacher_accuracy")
                if accuracy is not None:
                    teacher = TeacherAccuracy(str(run.metrics["teacher"]), float(accuracy), split)
                    found[teacher] = None
                    break
    return sorted(found, key=lambda teacher: (teacher.name, teacher.accuracy))


def write_report(report: Report, folder: Path) -> list[Path]:
    """Write ``report.json`` (first, whatever becomes of the plot), the plot and the page; return their paths."""
    from dsbs.reporting.figure import draw_accuracy
    from dsbs.reporting.page import build_page

    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / JSON, report.to_json())
    picture = draw_accuracy(report.cells, report.teachers)
    (folder / PLOT).write_bytes(picture)
    write_text(folder / PAGE, build_page(report, picture))
    return [folder / name for name in (JSON, PAGE, PLOT)]


def _load_teacher_summary(run: FinishedRun) -> dict[str, Any] | None:
    place = run.manifest.get("rationales")
    if not isinstance(place, str):
        return None
    # The path is that of the run's working directory, which is also where the folder of the run began.
    candidates = [Path(place), *(parent / place for parent in run.folder.resolve().parents)]
    for candidate in candidates:
        try:
            if summary := load_summary(candidate):
                return summary
        except (DataError, OSError):
            continue
    return None


def _cell_to_json(cell: Cell) -> dict[str, Any]:
    estimate = cell.estimate
    return {
        "id": cell.id,
        "student": cell.student,
        "objective": cell.objective,
        "labels": cell.labels,
        "teacher": cell.teacher,
        "variant": cell.variant_text,
        "data_fraction": cell.data_fraction,
        "seeds": cell.seeds,
        "per_seed": cell.per_seed,
        "accuracy": estimate.mean,
        "ci_low": estimate.low,
        "ci_high": estimate.high,
        "ci_method": estimate.method,
        "train_examples": cell.mean("train_examples"),
        "steps": [run.metrics["steps"] for run in cell.runs],
        "target_tokens": cell.mean("target_tokens"),
        "seconds": cell.mean("seconds"),
        "perhaps_not_converged": cell.unconverged,
        "folders": [str(run.folder) for run in cell.runs],
    }
