"""Conditions: groups of runs that differ only in their seed."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dsbs.data.controls import NO_CONTROL
from dsbs.reporting.reading import FinishedRun, LeftOut
from dsbs.reporting.stats import Estimate, estimate_means, estimate_score
from dsbs.reporting.variants import data_of, differing_settings, find_variant_keys, freeze, shorten, show_value
from dsbs.tasks.base import ACCURACY


@dataclass
class Condition:
    """Runs that differ only in their seed, one per seed.

    Attributes:
        labels: ``gold``, ``teacher`` or ``mixed``.
        teacher: the teacher's name, or None where none was used.
        settings: other settings that vary between conditions -> value.
        runs: sorted by seed.
    """

    student: str
    objective: str
    labels: str
    teacher: str | None
    control: str | None
    settings: dict[str, Any]
    data_fraction: float
    runs: list[FinishedRun] = field(default_factory=list)

    @property
    def id(self) -> str:
        """The identifier that comparisons refer to."""
        parts = [self.student, self.objective, self.labels, self.teacher, self.control, f"{self.data_fraction:g}"]
        return "/".join(part for part in [*parts, self.variant_text] if part)

    @property
    def line(self) -> tuple[str, ...]:
        """The key of the learning curve that the condition is on: everything but the data fraction."""
        return self.student, self.objective, self.labels, self.teacher or "", self.control or "", self.variant_text

    @cached_property
    def variant(self) -> dict[str, Any]:
        """``settings`` by the last part of their names where that is unambiguous: ``alpha`` for ``objective.alpha``."""
        return dict(zip(shorten(list(self.settings)), self.settings.values(), strict=True))

    @cached_property
    def variant_text(self) -> str:
        """The variant as text: ``alpha=0.2, max_steps=500``; empty if no setting varies."""
        return ", ".join(f"{key}={show_value(value)}" for key, value in self.variant.items())

    def agrees_with(self, other: "Condition") -> bool:
        """Return whether the settings that vary on both sides have the same values."""
        return all(self.settings[key] == other.settings[key] for key in self.settings.keys() & other.settings.keys())

    @property
    def kind(self) -> str:
        """The objective's class, by its registered name: ``finetune`` for ``distill``."""
        return str(self.runs[0].config.get("objective.kind", self.objective))

    @property
    def data(self) -> dict[str, Any]:
        """The data that the runs were trained and tested on, as settings of the task and hashes of its files."""
        return data_of(self.runs[0].config)

    @property
    def metric(self) -> str:
        """The task's metric."""
        return self.runs[0].metric

    @property
    def seeds(self) -> list[int]:
        """The seeds, in order."""
        return [run.seed for run in self.runs]

    @property
    def per_seed(self) -> list[float]:
        """The test score of each seed."""
        return [run.score for run in self.runs]

    @cached_property
    def estimate(self) -> Estimate:
        """Mean test score with its 95% interval."""
        if self.fault:
            examples = min(int(run.metrics["test"]["examples"]) for run in self.runs)
            known = [run.answers.scores for run in self.runs if run.answers]
            spread = None if self.metric == ACCURACY else float(np.mean([one.var() / len(one) for one in known]))
            return estimate_means(self.per_seed, examples, spread)
        return estimate_score(self.scores())

    @property
    def other_measures(self) -> dict[str, float]:
        """Additional test scores, means over seeds: ``test_last`` and ``test_generated``, where all seeds have them."""
        found = {}
        for key in ("test_last", "test_generated"):
            measured = [run.metrics.get(key) for run in self.runs]
            values = [one[self.metric] for one in measured if isinstance(one, dict) and self.metric in one]
            if values and len(values) == len(self.runs):
                found[key] = float(np.mean(values))
        return found

    @property
    def unconverged(self) -> list[int]:
        """The seeds whose best checkpoint is the last, which may not have converged."""
        return [run.seed for run in self.runs if run.ends_at_its_best]

    @property
    def fault(self) -> str | None:
        """Why the condition cannot be compared with others, or None."""
        for run in self.runs:
            if run.answers is None:
                return f"seed {run.seed}: {run.fault}"
        if len({run.answers.test_set for run in self.runs if run.answers}) > 1:
            return "its seeds were tested on different test sets"
        return None

    @property
    def test_set(self) -> str | None:
        """The hash of the test set, or None where seeds have different ones or none."""
        return self.runs[0].answers.test_set if self.runs[0].answers and not self.fault else None

    @property
    def majority(self) -> float | None:
        """The accuracy of always giving the most frequent answer, or None where the answers are unknown."""
        return self.runs[0].answers.majority if self.runs[0].answers else None

    def scores(self) -> NDArray[np.float64]:
        """Return the score of each answer [seeds, examples]."""
        return np.stack([run.answers.scores for run in self.runs if run.answers])

    def mean(self, key: str) -> float | None:
        """Return the mean of a metric over the runs, or None where a run lacks it."""
        values = [run.metrics.get(key) for run in self.runs]
        return float(np.mean(values)) if all(isinstance(value, int | float) for value in values) else None  # type: ignore[arg-type]


def group_runs(runs: Sequence[FinishedRun]) -> tuple[list[Condition], list[LeftOut]]:
    """Return the conditions of one task's runs, and the runs that repeat a seed of a condition.

    Of several runs with one seed (made by other versions, or with settings that do not define a condition) the newest
    counts.
    """
    families: dict[tuple[Any, ...], list[FinishedRun]] = defaultdict(list)
    for run in runs:
        names = (run.metrics["student"], run.metrics["objective"], run.metrics["labels"])
        families[(*names, run.metrics.get("teacher"), _find_control(run))].append(run)
    conditions: list[Condition] = []
    repeats: list[LeftOut] = []
    for (student, objective, labels, teacher, control), members in families.items():
        keys = find_variant_keys([run.config for run in members], [run.data_fraction for run in members], bool(teacher))
        groups: dict[tuple[Any, ...], list[FinishedRun]] = defaultdict(list)
        for run in members:
            groups[(run.data_fraction, *(freeze(run.config.get(key)) for key in keys))].append(run)
        for (fraction, *_), group in groups.items():
            kept, repeated = _newest_per_seed(group)
            settings = {key: shortest(key, kept[0].config, members) for key in keys}
            conditions.append(Condition(student, objective, labels, teacher, control, settings, fraction, kept))
            repeats += repeated
    return sorted(conditions, key=lambda condition: (*condition.line, condition.data_fraction)), repeats


def group_lines(conditions: Sequence[Condition]) -> list[list[Condition]]:
    """Return the conditions of each learning curve, by ascending share of the data."""
    lines: dict[tuple[str, ...], list[Condition]] = {}
    for condition in conditions:
        lines.setdefault(condition.line, []).append(condition)
    return [sorted(line, key=lambda condition: condition.data_fraction) for line in lines.values()]


def count_examples(conditions: Iterable[Condition], share: float) -> int | None:
    """Return the number of training examples at a share of the data; None where it differs or is unknown."""
    means = [one.mean("train_examples") for one in conditions if one.data_fraction == share]
    counts = {round(mean) for mean in means if mean is not None}
    return counts.pop() if len(counts) == 1 else None


def _find_control(run: FinishedRun) -> str | None:
    control = run.metrics.get("control")
    return None if control in (None, NO_CONTROL) else str(control)


def shortest(key: str, config: Mapping[str, Any], runs: Sequence[FinishedRun]) -> Any:
    """Return a setting's value; of a filter only its name, where that is unique among the runs."""
    value = config.get(key)
    if key != "learnt.filter":
        return value
    found = {str(run.config.get(key)) for run in runs}
    names = {one.partition(" (")[0] for one in found}
    return str(value).partition(" (")[0] if len(names) == len(found) else value


def _newest_per_seed(runs: Iterable[FinishedRun]) -> tuple[list[FinishedRun], list[LeftOut]]:
    newest: dict[int, FinishedRun] = {}
    order = sorted(runs, key=lambda run: ((run.folder / "metrics.json").stat().st_mtime, str(run.folder)))
    for run in order:
        newest[run.seed] = run
    repeats = [
        LeftOut(run.folder, _describe_repeat(run, newest[run.seed])) for run in order if newest[run.seed] is not run
    ]
    return [newest[seed] for seed in sorted(newest)], repeats


def _describe_repeat(run: FinishedRun, kept: FinishedRun) -> str:
    """Return why a run is left out in favour of another with its seed: the settings that differ."""
    differences = differing_settings([run.config], [kept.config])
    if _digest(run) != _digest(kept):
        differences.append("the examples or annotations it learned from")
    differing = f" They differ in: {'; '.join(differences)}." if differences else ""
    return f"repeats seed {run.seed} of {kept.folder}, which is newer and counts.{differing}"


def _digest(run: FinishedRun) -> Any:
    return (run.manifest.get("settings") or {}).get("train")
