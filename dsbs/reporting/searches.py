"""Hyperparameter searches: runs that were compared on validation and not measured on test."""

import shlex
from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np

from dsbs.reporting.commands import overrides_of, program_of
from dsbs.reporting.conditions import Condition, group_runs
from dsbs.reporting.reading import FinishedRun


def list_searches(runs: Sequence[FinishedRun]) -> list[dict[str, Any]]:
    """Return an entry for each data set, student, objective, labels, control and share of the data with a search.

    Returns:
        ``student``, ``objective``, ``labels``, ``data_fraction``, ``metric``, and ``tried``: for each setting, best
        first, its ``variant``, ``variant_settings``, ``seeds``, ``validation`` (mean over seeds), ``steps``, and the
        ``command`` that measures it on test.
    """
    conditions, _ = group_runs(runs)
    searches: dict[tuple[Any, ...], list[Condition]] = defaultdict(list)
    for condition in conditions:
        labels = (condition.labels, condition.teacher, condition.control)
        data = str(sorted(condition.data.items()))  # scores on different data do not compare
        searches[(condition.student, condition.objective, *labels, condition.data_fraction, data)].append(condition)
    return [
        {
            "student": tried[0].student,
            "objective": tried[0].objective,
            "labels": tried[0].labels,
            "data_fraction": tried[0].data_fraction,
            "metric": tried[0].metric,
            "tried": sorted((_describe(one) for one in tried), key=lambda one: -one["validation"]),
        }
        for tried in searches.values()
    ]


def _describe(condition: Condition) -> dict[str, Any]:
    run = condition.runs[0]
    words = [word for word in overrides_of(run) if word.partition("=")[0] not in ("test", "seed")]
    seeds = ",".join(map(str, condition.seeds))
    sweep = ["-m"] if len(condition.seeds) > 1 else []
    return {
        "variant": condition.variant_text,
        "variant_settings": condition.settings,
        "seeds": condition.seeds,
        "validation": float(np.mean([run.metrics["validation"][run.metric] for run in condition.runs])),
        "steps": condition.mean("steps"),
        "command": shlex.join([*program_of(run), *sweep, *words, f"seed={seeds}", "test=true"]),
    }
