"""The report of a task: conditions, comparisons, teachers, and the runs left out."""

from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from dsbs.core.errors import DataError
from dsbs.reporting.comparisons import Comparison, choose_equal, compare_conditions
from dsbs.reporting.conditions import Condition, group_runs
from dsbs.reporting.reading import FinishedRun, LeftOut, read_runs
from dsbs.reporting.settings import ReportSettings
from dsbs.reporting.teachers import TeacherFacts, find_stand_in, find_teachers
from dsbs.reporting.wording import describe_headlines
from dsbs.tasks.tables.naming import name_data, names_nothing


@dataclass(frozen=True)
class Report:
    """The results of a task.

    Attributes:
        conditions: the runs grouped over seeds.
        comparisons: headlines first.
        teachers: of the runs; several of one name where their facts differ.
        left_out: runs that are left out, with the reason.
        searched: runs that were not measured on test (``test=false``).
    """

    task: str
    runs: Path
    conditions: list[Condition]
    comparisons: list[Comparison]
    teachers: list[TeacherFacts]
    left_out: list[LeftOut]
    settings: ReportSettings = field(default_factory=ReportSettings)
    searched: list[FinishedRun] = field(default_factory=list)

    @property
    def headlines(self) -> list[str]:
        """A text for each headline comparison, or one that says what is missing; first, whether data is mixed."""
        return [*self._describe_mixed(), *describe_headlines(self.conditions, self.comparisons, self.settings)]

    def _describe_mixed(self) -> list[str]:
        """Return a sentence where the runs are of several tables under one name."""
        runs = [*self.searched, *(run for condition in self.conditions for run in condition.runs)]
        tasks = [{key: run.config.get(f"task.{key}") for key in ("kind", "name", "path", "hub")} for run in runs]
        names = sorted({name for task in tasks if names_nothing(task) and (name := name_data(task))})
        if len(names) < 2:
            return []
        return [
            f"These runs are of several tables ({', '.join(names)}), whose figures do not compare. A table gets a "
            f"folder and a report of its own with task.name=NAME (here {names[0]}), typed with every command."
        ]

    @property
    def equal_labels(self) -> list[Comparison]:
        """The headline candidates' comparisons on equal labels."""
        return choose_equal(self.comparisons, self.conditions, self.settings)

    @property
    def metric(self) -> str:
        """The task's metric."""
        return self.conditions[0].metric if self.conditions else self.searched[0].metric

    @property
    def stand_ins(self) -> dict[str, str]:
        """Teachers that are not language models: name -> description."""
        runs = [run for condition in self.conditions for run in condition.runs]
        return {str(run.metrics["teacher"]): caveat for run in runs if (caveat := find_stand_in(run))}


def split_by_metric(runs: list[FinishedRun]) -> tuple[list[FinishedRun], list[LeftOut]]:
    """Return a task's runs that are scored by the metric of most of them, and the others, which do not compare."""
    [(metric, _)] = Counter(run.metric for run in runs).most_common(1)
    others = [
        LeftOut(
            run.folder,
            f"scored by {run.metric}, while this report is about {metric}; a task.name of its own gives it a report",
            run.manifest.get("command"),
        )
        for run in runs
        if run.metric != metric
    ]
    return [run for run in runs if run.metric == metric], others


def build_reports(root: Path, settings: ReportSettings | None = None) -> list[Report]:
    """Return a report for each task of the runs under a folder.

    Raises:
        DataError: there is no folder, no run, or no finished run.
    """
    settings = settings or ReportSettings()
    finished, left_out = read_runs(root)
    if not finished:
        listing = "\n".join(f"  {run.folder}: {run.reason}" for run in left_out)
        raise DataError(f"runs={root}: none of {len(left_out)} runs is finished.\n{listing}")
    by_task: dict[str, list[FinishedRun]] = {}
    for run in finished:
        by_task.setdefault(str(run.metrics["task"]), []).append(run)
    reports = []
    for task, of_task in sorted(by_task.items()):
        found, others_scored = split_by_metric(of_task)
        runs = [run for run in found if run.tested]
        searched = [run for run in found if not run.tested]
        conditions, repeats = group_runs(runs)
        # By the layout of the folders; a run that no task claims is listed with each.
        others = [run for run in left_out if task in run.folder.parts or not set(by_task) & set(run.folder.parts)]
        comparisons = compare_conditions(conditions, settings)
        teachers = find_teachers(runs)
        out = [*others, *others_scored, *repeats]
        reports.append(Report(task, root, conditions, comparisons, teachers, out, settings, searched))
    return reports
