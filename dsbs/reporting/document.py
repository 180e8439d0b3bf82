"""``report.json``: every figure of a report, for scripts and the page."""

import time
from typing import Any

from dsbs import __version__
from dsbs.reporting.breakdown import MAX_SQUARE, calibrate, count_confusion, find_classes, score_classes
from dsbs.reporting.comparisons import Comparison, unequal_settings
from dsbs.reporting.conditions import Condition
from dsbs.reporting.control_verdict import describe_controls
from dsbs.reporting.effort import count_labels, measure_effort, measure_student
from dsbs.reporting.notes import all_notes, note_comparison, note_condition
from dsbs.reporting.provenance import trace_runs
from dsbs.reporting.report import Report
from dsbs.reporting.savings import Saving, find_savings
from dsbs.reporting.searches import list_searches
from dsbs.reporting.serving import list_served
from dsbs.reporting.settings import ReportSettings
from dsbs.reporting.sizes import SizeSeries, describe_size_series, find_size_series
from dsbs.reporting.wording import describe_claim, describe_comparison, describe_condition, describe_saving


def to_document(report: Report) -> dict[str, Any]:
    """Return the content of ``report.json``; its keys are described in ``docs/files.md``."""
    known = [teacher for teacher in report.teachers if teacher.accuracy is not None]
    conditions = report.conditions
    runs = [run for condition in conditions for run in condition.runs]
    savings, without = find_savings(conditions, report.settings)
    refused = {(item.candidate.id, item.baseline.id): item.refusal for item in report.comparisons if not item.result}
    for one in without:
        refused.setdefault((one.candidate.id, one.baseline.id), one.reason)
    return {
        "task": report.task,
        "metric": report.metric,
        "made": time.strftime("%Y-%m-%d %H:%M"),
        "settings": {name: getattr(report.settings, name) for name in ReportSettings.__dataclass_fields__},
        "headline": report.headlines,
        "cells": [to_cell(condition, report) for condition in conditions],
        "comparisons": [to_comparison(item, report) for item in report.comparisons if item.result],
        "refused_comparisons": [
            {"baseline": baseline, "candidate": candidate, "reason": reason}
            for (candidate, baseline), reason in refused.items()
        ],
        "labels_saved": [to_saving(saving, report) for saving in savings],
        "sizes": [to_size_series(series, report) for series in find_size_series(conditions, report.teachers)],
        "controls": describe_controls(report.comparisons),
        "classes": [found for condition in conditions if (found := _to_classes(condition))],
        "calibration": [{"cell": condition.id, **bins} for condition in conditions if (bins := calibrate(condition))],
        "learning_curves": [
            {"cell": condition.id, "runs": curves} for condition in conditions if (curves := read_histories(condition))
        ],
        "searches": list_searches(report.searched),
        "teacher": {
            "accuracy": known[0].accuracy if len(known) == 1 else None,
            "all": [vars(teacher) for teacher in report.teachers],
        },
        "serving": list_served(conditions),
        "stand_ins": report.stand_ins,
        "provenance": trace_runs(runs),
        "left_out": [
            {"folder": str(run.folder), "reason": run.reason, "command": run.command} for run in report.left_out
        ],
        "runs": str(report.runs),
        "dsbs": __version__,
    }


def to_cell(condition: Condition, report: Report) -> dict[str, Any]:
    """Return the entry of a condition in ``report.json``."""
    estimate, labels, effort = condition.estimate, count_labels(condition), measure_effort(condition)
    return {
        "id": condition.id,
        "name": describe_condition(condition, report.conditions),
        "line": "/".join(filter(None, condition.line)),
        "student": condition.student,
        "objective": condition.objective,
        "labels": condition.labels,
        "teacher": condition.teacher,
        "control": condition.control,
        "variant": condition.variant_text,
        "variant_settings": condition.settings,
        "data_fraction": condition.data_fraction,
        "seeds": condition.seeds,
        "per_seed": condition.per_seed,
        condition.metric: estimate.mean,
        "ci_low": estimate.low,
        "ci_high": estimate.high,
        "ci_method": estimate.method,
        "train_examples": condition.mean("train_examples"),
        "labels_training": labels.training if labels else None,
        "labels_choosing": labels.choosing if labels else None,
        "labels_total": labels.total if labels else None,
        **effort,
        "steps": [run.metrics["steps"] for run in condition.runs],
        **measure_student(condition),
        "other_measures": condition.other_measures,
        "perhaps_not_converged": condition.unconverged,
        "notes": [vars(note) for note in note_condition(condition)],
        "folders": [str(run.folder) for run in condition.runs],
    }


def to_comparison(comparison: Comparison, report: Report) -> dict[str, Any]:
    """Return the entry of a comparison, which must have a result, in ``report.json``."""
    result, remedy = comparison.result, comparison.remedy
    assert result is not None
    low, high = comparison.interval
    return {
        "kind": comparison.kind,
        "baseline": comparison.baseline.id,
        "candidate": comparison.candidate.id,
        "difference": result.difference,
        "ci_low": result.low,
        "ci_high": result.high,
        "ci_low_adjusted": low,
        "ci_high_adjusted": high,
        "p_value": result.p_value,
        "p_adjusted": comparison.p_adjusted,
        "holds": comparison.holds,
        "claim": comparison.claim,
        "margin": comparison.margin,
        "p_noninferior": comparison.p_noninferior,
        "p_worse_by_margin": comparison.p_beyond,
        "verdict": comparison.verdict,
        "mean_at_least": result.difference > -1e-9,
        "beside_headline": any(comparison is item for item in report.equal_labels),
        "paired_by_seed": result.spread.paired,
        "seeds_to_settle": remedy.seeds if remedy else None,
        "test_examples_to_settle": remedy.test_examples if remedy else None,
        "settings_differ": unequal_settings(comparison),
        "told": describe_comparison(comparison, report.conditions),
        "claim_told": describe_claim(comparison),
        "own_notes": [vars(note) for note in note_comparison(comparison)],
        "notes": all_notes(comparison),
    }


def to_saving(saving: Saving, report: Report) -> dict[str, Any]:
    """Return the entry of labels saved in ``report.json``: shares of the data and labels, with intervals."""
    shares = {"fraction": saving.fraction, "ci_low": saving.low, "ci_high": saving.high}
    return {
        "candidate": [condition.id for condition in saving.candidate],
        "baseline": saving.baseline.id,
        "target": saving.target,
        "reached": saving.reached,
        "at_most": saving.bound,
        "shown": saving.shown,
        **shares,
        "training_labels": {key: saving.training_labels(share) for key, share in shares.items()},
        "all_labels": {key: saving.all_labels(share) for key, share in shares.items()},
        "told": describe_saving(saving, report.conditions),
    }


def to_size_series(series: SizeSeries, report: Report) -> dict[str, Any]:
    """Return the entry of students of growing size in ``report.json``."""
    return {
        "name": series.name,
        "cells": [condition.id for condition in series.students],
        "teacher_accuracy": series.level,
        "smallest_that_reaches": series.reaches.id if series.reaches else None,
        "smallest_that_beats": series.beats.id if series.beats else None,
        "told": describe_size_series(series, report.conditions),
    }


def _to_classes(condition: Condition) -> dict[str, Any] | None:
    classes = find_classes(condition)
    if not classes:
        return None
    confusion = count_confusion(condition, classes) if len(classes) <= MAX_SQUARE else None
    scores = score_classes(condition, classes)
    macro = sum(one["f1"] for one in scores) / len(scores)
    return {"cell": condition.id, "scores": scores, "macro_f1": macro, "confusion": confusion}


def read_histories(condition: Condition) -> list[dict[str, Any]]:
    """Return the logged series of each seed; seeds that logged nothing are left out.

    Returns:
        ``seed``, and ``validation`` and ``loss``: lists of (step, value).
    """
    found = []
    for run in condition.runs:
        history = run.metrics.get("history")
        if not isinstance(history, list):
            continue
        steps = [entry for entry in history if isinstance(entry, dict) and isinstance(entry.get("step"), int)]
        series = {name: _series(steps, name) for name in ("validation", "loss")}
        if any(series.values()):
            found.append({"seed": run.seed, **series})
    return found


def _series(steps: list[dict[str, Any]], name: str) -> list[tuple[int, float]]:
    return [(entry["step"], float(entry[name])) for entry in steps if isinstance(entry.get(name), int | float)]
