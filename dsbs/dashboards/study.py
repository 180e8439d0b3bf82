"""The finished runs of a task, their keys at W&B, and their report."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from dsbs.core.errors import DataError
from dsbs.core.names import path_part
from dsbs.core.run_ids import find_run_id
from dsbs.core.untrusted import read_json_file
from dsbs.data.controls import NO_CONTROL
from dsbs.reporting.reading import MAX_JSON, FinishedRun, read_runs
from dsbs.reporting.writing import JSON
from dsbs.training.tracked import TABLE, curves, describe_run, summarise_run

# Logged with each loss by Hugging Face's Trainer.
BESIDE_LOSS = ("train/learning_rate", "train/tokens_per_second")
NEEDED = ("task", "metric", "settings", "headline", "cells", "comparisons", "labels_saved", "controls", "stand_ins")

Key = tuple[str, str]  # (config, summary or history; name)


@dataclass(frozen=True)
class Study:
    """The runs of one task and their report.

    Attributes:
        document: ``report.json``.
        runs: W&B id -> finished run, for the runs in the report.
    """

    task: str
    folder: Path
    document: dict[str, Any]
    runs: dict[str, FinishedRun]

    @property
    def metric(self) -> str:
        """The task's metric."""
        return str(self.document["metric"])

    @property
    def baseline(self) -> str:
        """The objective that others are compared with."""
        return str(self.document["settings"]["baseline"])

    @property
    def candidates(self) -> list[str]:
        """The objectives that the claim is about."""
        return [str(name) for name in self.document["settings"]["candidates"]]

    @cached_property
    def described(self) -> dict[str, dict[str, Any]]:
        """Run id -> names by which panels group and filter; see ``describe_run``."""
        return {id: describe_run(run.metrics) for id, run in self.runs.items()}

    def ids(self, *objectives: str, controls: bool = False) -> list[str]:
        """Return the ids of the runs of some objectives, with or without a control."""
        return [
            id
            for id, names in self.described.items()
            if names["objective"] in objectives and (names["control"] != NO_CONTROL) == controls
        ]

    def fractions(self, ids: list[str]) -> list[float]:
        """Return the shares of the data of some runs, sorted."""
        return sorted({float(self.described[id]["data_fraction"]) for id in ids})

    @property
    def claimed(self) -> list[float]:
        """The shares to compare at: the claim's, or the smallest without a claim, and all data."""
        known = self.fractions(list(self.runs))
        claimed = [item["candidate"] for item in self.document["comparisons"] if item.get("kind") == "headline"]
        shares = (cell["data_fraction"] for cell in self.document["cells"] if cell["id"] in claimed)
        wanted = next(shares, known[0])
        return [share for share in known if share in (wanted, 1.0)]

    @cached_property
    def keys(self) -> set[Key]:
        """All keys that a panel can name: those that this version records of at least one run."""
        found: set[Key] = set()
        for id, run in self.runs.items():
            found |= {("config", name) for name, value in self.described[id].items() if value is not None}
            found |= {("summary", name) for name in self.summary_of(id)}
            rows = curves(run.metrics.get("history") or [], run.metric)
            logged = {name for row in rows for name in row} | {f"test/{run.metric}", "data_fraction"}
            if "train/loss" in logged:
                logged.update(BESIDE_LOSS)
            found |= {("history", name) for name in logged}
        return found

    def summary_of(self, id: str) -> set[str]:
        """Return the names in a run's W&B summary, as this version records it."""
        run = self.runs[id]
        table = {TABLE} if run.config.get("tracking.predictions", 0) and run.answers is not None else set()
        return set(summarise_run(run.metrics, run.manifest)) | table


def read_studies(runs: Path, output_dir: Path) -> list[Study]:
    """Return the study of each task: the runs under a folder, and their report.

    Raises:
        DataError: there is no finished run, or a task has no report of its runs yet.
    """
    finished, _ = read_runs(runs)
    by_task: dict[str, dict[str, FinishedRun]] = {}
    for run in finished:
        by_task.setdefault(str(run.metrics["task"]), {})[find_run_id(run.folder)] = run
    if not by_task:
        raise DataError(f"runs={runs}: none of the runs is finished.")
    return [_read_study(task, found, runs, output_dir) for task, found in sorted(by_task.items())]


def _read_study(task: str, found: dict[str, FinishedRun], runs: Path, output_dir: Path) -> Study:
    folder = output_dir / "report" / path_part(task, "task")
    command = f"python -m dsbs.report runs={runs}" + f" output_dir={output_dir}" * (str(output_dir) != "outputs")
    if not (folder / JSON).exists():
        raise DataError(
            f"{folder / JSON}: missing; a dashboard shows the verdict of a report. Write it first:\n    {command}"
        )
    document = read_json_file(folder / JSON, MAX_JSON)
    if not isinstance(document, dict) or not all(key in document for key in NEEDED):
        raise DataError(f"{folder / JSON}: not as this version writes it. Write it again:\n    {command}")
    counted = {Path(place).parts[-5:] for cell in document["cells"] for place in cell["folders"]}
    kept = {id: run for id, run in found.items() if run.folder.parts[-5:] in counted}
    if not kept:
        raise DataError(f"{folder / JSON}: it is about other runs than runs={runs}. Write it again:\n    {command}")
    return Study(task, folder, document, kept)
