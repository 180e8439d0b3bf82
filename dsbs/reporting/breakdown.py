"""Breakdowns of a condition's answers: per class, confusions, calibration."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np

from dsbs.reporting.conditions import Condition
from dsbs.reporting.reliability import expected_calibration_error, reliability

MAX_CLASSES, MAX_SQUARE = 100, 20  # in a table of scores; in a table of confusions
OTHER, NONE = "(another answer)", "(no answer)"


def find_classes(condition: Condition) -> list[str] | None:
    """Return the gold answers, sorted, if they are few enough to be classes; None for free answers."""
    answers = condition.runs[0].answers
    if answers is None:
        return None
    counts = Counter(answers.golds)
    few = len(counts) <= MAX_CLASSES and len(answers.golds) >= 2 * len(counts)
    return sorted(counts) if few and len(counts) > 1 else None


def count_confusion(condition: Condition, classes: Sequence[str]) -> dict[str, Any]:
    """Return the confusion matrix, summed over seeds.

    Returns:
        ``columns``: the answers; ``rows``: for each gold class, in the order of ``classes``, the count of each answer.
    """
    counts: Counter[tuple[str, str]] = Counter()
    for run in condition.runs:
        if answers := run.answers:
            counts.update(
                # A right answer may be written otherwise than the gold one: 7.0 for 7.
                (gold, gold if right else NONE if label is None else label if label in classes else OTHER)
                for gold, label, right in zip(answers.golds, answers.labels, answers.correct.tolist(), strict=True)
            )
    columns = [*classes, *(extra for extra in (OTHER, NONE) if any(label == extra for _, label in counts))]
    return {"columns": columns, "rows": [[counts[gold, label] for label in columns] for gold in classes]}


def score_classes(condition: Condition, classes: Sequence[str]) -> list[dict[str, Any]]:
    """Return precision, recall and F1 of each class over all seeds; the precision is None of classes never answered."""
    confusion = count_confusion(condition, classes)
    table = np.array(confusion["rows"], dtype=float)
    known = sum(run.answers is not None for run in condition.runs)
    rows = []
    for index, name in enumerate(classes):
        right, answered, there = table[index, index], table[:, index].sum(), table[index].sum()
        precision = right / answered if answered else None
        rows.append(
            {
                "class": name,
                "examples": int(there) // known,
                "precision": precision,
                "recall": right / there,
                "f1": 2 * right / (answered + there),
            }
        )
    return rows


def calibrate(condition: Condition) -> dict[str, Any] | None:
    """Return the calibration of a condition over all seeds; None where no confidences are known.

    Returns:
        ``bins``: of equally many answers: mean ``confidence``, ``accuracy``, number of ``answers``;
        ``ece``: expected calibration error, the mean of |confidence - accuracy| over answers; ``brier``: mean squared
        difference between confidence and correctness (1 or 0).
    """
    pairs = [
        (confidence, right)
        for run in condition.runs
        if run.answers
        for confidence, right in zip(run.answers.confidences, run.answers.correct.tolist(), strict=True)
        if confidence is not None and np.isfinite(confidence)
    ]
    if not pairs:
        return None
    sure, right = np.array(pairs, dtype=float).T
    bins = [asdict(part) for part in reliability(sure, right)]
    error = expected_calibration_error(sure, right)
    return {"bins": bins, "ece": error, "brier": float(((sure - right) ** 2).mean())}
