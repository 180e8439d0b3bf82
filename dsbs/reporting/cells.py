"""Cells: the runs that differ in their seed alone."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsbs.reporting.reading import FinishedRun, LeftOut
from dsbs.reporting.stats import Estimate, estimate_accuracy
from dsbs.training.settings import NO_MATTER

# The teacher that answers from the built-in task's own rules; whoever reads a number of its must know.
STAND_IN = "handbook"

# Settings that make no variant: places, speed, what is written down, and what a cell is named by anyway.
NO_VARIANT = (
    "seed",
    "data_fraction",
    "labels",
    "output_dir",
    "tracking",
    "resume",
    "sweep",
    "rationales",
    "concurrency",
    "workers",
    "task.path",
    "task.name",
    "student.name",
    "objective.name",
    "teacher.name",
    "teacher.api_key_env",
    "teacher.base_url",
    *(f"training.{key}" for key in NO_MATTER),
)
# What the teacher and its prompt were is nothing to a run that used neither.
TEACHERS_OWN = ("teacher", "prompt", "gate")


@dataclass
class Cell:
    """Runs that differ in their seed alone, one for each seed.

    Attributes:
        student: the student's name.
        objective: the objective's name.
        labels: ``gold`` or ``teacher``.
        teacher: the teacher's name, or None where none was used.
        variant: what else differs from other cells: setting -> value.
        data_fraction: share of the training data.
        runs: by seed.
    """

    student: str
    objective: str
    labels: str
    teacher: str | None
    variant: dict[str, Any]
    data_fraction: float
    runs: list[FinishedRun] = field(default_factory=list)

    @property
    def id(self) -> str:
        """The name by which comparisons refer to the cell."""
        parts = [self.student, self.objective, self.labels, self.teacher, f"{self.data_fraction:g}", self.variant_text]
        return "/".join(part for part in parts if part)

    @property
    def line(self) -> tuple[str, ...]:
        """What the cells of one line over the data fractions have in common."""
        return self.student, self.objective, self.labels, self.teacher or "", self.variant_text

    @property
    def variant_text(self) -> str:
        """The variant in words: ``alpha=0.2, max_steps=500``; empty where there is just one."""
        return ", ".join(f"{key}={_show(value)}" for key, value in self.variant.items())

    @property
    def seeds(self) -> list[int]:
        """The seeds, in order."""
        return [run.seed for run in self.runs]

    @property
    def per_seed(self) -> list[float]:
        """The test accuracy of each seed."""
        return [run.accuracy for run in self.runs]

    @property
    def estimate(self) -> Estimate:
        """Mean test accuracy and its interval."""
        return estimate_accuracy(self.per_seed, min(int(run.metrics["test"]["examples"]) for run in self.runs))

    @property
    def unconverged(self) -> list[int]:
        """The seeds whose best checkpoint is the last: perhaps not converged."""
        return [run.seed for run in self.runs if run.ends_at_its_best]

    @property
    def fault(self) -> str | None:
        """Why the cell cannot be compared with another one, or None."""
        for run in self.runs:
            if run.answers is None:
                return f"seed {run.seed}: {run.fault}"
        if len({run.answers.test_set for run in self.runs if run.answers}) > 1:
            return "its seeds were tested on different test sets"
        return None

    @property
    def test_set(self) -> str | None:
        """The hash of the test set, or None where there is no single one."""
        return self.runs[0].answers.test_set if self.runs[0].answers and not self.fault else None

    @property
    def majority(self) -> float | None:
        """The accuracy of who always gives the most frequent answer, or None where the answers are not known."""
        return self.runs[0].answers.majority if self.runs[0].answers else None

    def correct(self) -> NDArray[np.bool_]:
        """Return whether each answer is right, (seeds, examples)."""
        return np.stack([run.answers.correct for run in self.runs if run.answers])

    def mean(self, key: str) -> float | None:
        """Return the mean of a metric over the runs, or None where a run lacks it."""
        values = [run.metrics.get(key) for run in self.runs]
        return float(np.mean(values)) if all(isinstance(value, int | float) for value in values) else None  # type: ignore[arg-type]


def group_runs(runs: Iterable[FinishedRun]) -> tuple[list[Cell], list[LeftOut]]:
    """Return the cells of one task's runs, and the runs that repeat a seed of a cell.

    Of several runs with one seed (from other versions of the code or the data, else they would share a folder), the
    newest counts.
    """
    families: dict[tuple[Any, ...], list[FinishedRun]] = defaultdict(list)
    for run in runs:
        names = (run.metrics["student"], run.metrics["objective"], run.metrics["labels"], run.metrics.get("teacher"))
        families[names].append(run)
    cells: list[Cell] = []
    repeats: list[LeftOut] = []
    for (student, objective, labels, teacher), members in families.items():
        keys = find_variant_keys(members)
        by_cell: dict[tuple[Any, ...], list[FinishedRun]] = defaultdict(list)
        for run in members:
            by_cell[(run.data_fraction, *(_freeze(run.config.get(key)) for key in keys))].append(run)
        for (fraction, *_), group in by_cell.items():
            kept, repeated = _newest_per_seed(group)
            variant = {name: kept[0].config.get(key) for name, key in zip(shorten(keys), keys, strict=True)}
            cells.append(Cell(student, objective, labels, teacher, variant, fraction, kept))
            repeats += repeated
    return sorted(cells, key=lambda cell: (*cell.line, cell.data_fraction)), repeats


def find_variant_keys(runs: Sequence[FinishedRun]) -> list[str]:
    """Return the settings in which runs of one student, objective, labels and teacher differ at an equal fraction.

    A setting that differs between fractions alone (fewer steps on less data) makes no variant: the cells of one line
    differ in it, and comparisons say so.
    """
    ignored = NO_VARIANT + (TEACHERS_OWN if runs[0].metrics.get("teacher") is None else ())
    values: dict[tuple[str, float], set[Any]] = defaultdict(set)
    every_key = {key for run in runs for key in run.config}
    for key in every_key:
        if any(key == name or key.startswith(f"{name}.") for name in ignored):
            continue
        for run in runs:
            values[key, run.data_fraction].add(_freeze(run.config.get(key)))
    return sorted({key for (key, _), seen in values.items() if len(seen) > 1})


def shorten(keys: Sequence[str]) -> list[str]:
    """Return the last part of each dotted key where that is unambiguous, else the whole.

    >>> shorten(["objective.alpha", "teacher.seed", "task.seed"])
    ['alpha', 'teacher.seed', 'task.seed']
    """
    last = [key.rpartition(".")[2] for key in keys]
    return [short if last.count(short) == 1 else key for short, key in zip(last, keys, strict=True)]


def show_fraction(fraction: float) -> str:
    """Return a share as people write it.

    >>> show_fraction(0.125), show_fraction(1.0), show_fraction(0.333333), show_fraction(0.07)
    ('1/8', 'all', '1/3', '7%')
    """
    if fraction == 1:
        return "all"
    simple = Fraction(fraction).limit_denominator(128)
    if simple.numerator == 1 and abs(float(simple) - fraction) < 1e-4:
        return f"1/{simple.denominator}"
    return f"{100 * fraction:g}%"


def _newest_per_seed(runs: Sequence[FinishedRun]) -> tuple[list[FinishedRun], list[LeftOut]]:
    newest: dict[int, FinishedRun] = {}
    order = sorted(runs, key=lambda run: ((run.folder / "metrics.json").stat().st_mtime, str(run.folder)))
    for run in order:
        newest[run.seed] = run
    repeats = [
        LeftOut(run.folder, f"repeats seed {run.seed} of {newest[run.seed].folder}, which is newer and counts")
        for run in order
        if newest[run.seed] is not run
    ]
    return [newest[seed] for seed in sorted(newest)], repeats


def _freeze(value: Any) -> Any:
    return repr(value) if isinstance(value, list | dict) else value


def _show(value: Any) -> str:
    return f"{value:g}" if isinstance(value, float) else str(value)
