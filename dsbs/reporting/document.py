"""``report.json``: every figure that a report shows, for scripts."""

from typing import Any

from dsbs import __version__
from dsbs.reporting.comparisons import Comparison, unequal_settings
from dsbs.reporting.conditions import Condition
from dsbs.reporting.notes import all_notes, note_condition
from dsbs.reporting.report import Report
from dsbs.reporting.settings import ReportSettings


def to_document(report: Report) -> dict[str, Any]:
    """Return what ``report.json`` holds; ``docs/files.md`` says what each key means."""
    known = [teacher for teacher in report.teachers if teacher.accuracy is not None]
    return {
        "task": report.task,
        "metric": report.metric,
        "settings": {name: getattr(report.settings, name) for name in ReportSettings.__dataclass_fields__},
        "headline": report.headlines,
        "cells": [describe_condition(condition) for condition in report.conditions],
        "comparisons": [describe_comparison(item) for item in report.comparisons if item.result],
        "refused_comparisons": [
            {"baseline": item.baseline.id, "candidate": item.candidate.id, "reason": item.refusal}
            for item in report.comparisons
            if not item.result
        ],
        "teacher": {
            "accuracy": known[0].accuracy if len(known) == 1 else None,
            "all": [vars(teacher) for teacher in report.teachers],
        },
        "left_out": [{"folder": str(run.folder), "reason": run.reason} for run in report.left_out],
        "runs": str(report.runs),
        "dsbs": __version__,
    }


def describe_condition(condition: Condition) -> dict[str, Any]:
    """Return what ``report.json`` says about a condition."""
    estimate = condition.estimate
    return {
        "id": condition.id,
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
        "steps": [run.metrics["steps"] for run in condition.runs],
        "target_tokens": condition.mean("target_tokens"),
        "seconds": condition.mean("seconds"),
        "perhaps_not_converged": condition.unconverged,
        "notes": note_condition(condition),
        "folders": [str(run.folder) for run in condition.runs],
    }


def describe_comparison(comparison: Comparison) -> dict[str, Any]:
    """Return what ``report.json`` says about a comparison that was made."""
    result, remedy = comparison.result, comparison.remedy
    assert result is not None
    low, high = comparison.interval
    return {
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
        "paired_by_seed": result.spread.paired,
        "seeds_to_settle": remedy.seeds if remedy else None,
        "test_examples_to_settle": remedy.test_examples if remedy else None,
        "kind": comparison.kind,
        "settings_differ": unequal_settings(comparison),
        "notes": all_notes(comparison),
    }
