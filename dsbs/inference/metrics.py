"""Scoring of predictions."""

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from dsbs.core.records import Prediction, softmax
from dsbs.tasks.base import ACCURACY, Task

LEAST = -50.0  # of the log-probability of a single answer, so that no mean is infinite


@dataclass
class Score:
    """Counts over predictions.

    Attributes:
        metric: the metric of ``value``; see ``Task.metric``.
        examples: predictions that have a gold answer.
        total: the sum of their scores by the metric.
        correct: those that are right.
        unanswered: those without an answer; they count as wrong.
        without_gold: predictions left out because there is no gold answer.
        confusion: counts of (gold, prediction).
    """

    metric: str = ACCURACY
    examples: int = 0
    total: float = 0.0
    correct: int = 0
    unanswered: int = 0
    without_gold: int = 0
    confusion: Counter[tuple[str, str | None]] = field(default_factory=Counter)

    @property
    def value(self) -> float | None:
        """The mean score by the metric, or None where no example has a gold answer."""
        return self.total / self.examples if self.examples else None

    @property
    def accuracy(self) -> float | None:
        """Share of right answers, or None where no example has a gold answer."""
        return self.correct / self.examples if self.examples else None

    def examples_by_class(self) -> Counter[str]:
        """Return the number of examples of each gold answer."""
        totals: Counter[str] = Counter()
        for (gold, _), count in self.confusion.items():
            totals[gold] += count
        return totals

    def accuracy_by_class(self) -> dict[str, float]:
        """Return the accuracy among the examples of each gold answer; meant for closed answers."""
        return {gold: self.confusion[gold, gold] / count for gold, count in sorted(self.examples_by_class().items())}

    def figures(self) -> dict[str, float | int | None]:
        """Return score and number of examples, as ``metrics.json`` has them for validation and test."""
        return {self.metric: self.value, "examples": self.examples}


def score(task: Task, predictions: Iterable[Prediction]) -> Score:
    """Return the score of predictions by the task's metric, in one pass; those without a gold answer are left out."""
    result = Score(task.metric)
    for prediction in predictions:
        if prediction.gold is None:
            result.without_gold += 1
            continue
        result.examples += 1
        result.total += task.score(prediction.label, prediction.gold)
        result.correct += task.answers.equivalent(prediction.label, prediction.gold)
        result.unanswered += prediction.label is None
        result.confusion[prediction.gold, prediction.label] += 1
    return result


def mean_log_probability(predictions: Sequence[Prediction]) -> float | None:
    """Return the mean log-probability of the gold answer among the closed ones, in nats, each clipped at -50.

    It tells students of equal accuracy apart: on few examples, many are. None where answers are written freely.

    >>> sure, unsure = ({"no": math.log(p), "yes": math.log(1 - p)} for p in (0.9, 0.6))
    >>> [round(mean_log_probability([Prediction.ranked("1", "no", one)]), 3) for one in (sure, unsure)]
    [-0.105, -0.511]
    """
    found = []
    for one in predictions:
        if not one.scores:
            return None
        share = softmax(one.scores).get(one.gold or "")
        found.append(max(math.log(share), LEAST) if share else LEAST)
    return sum(found) / len(found) if found else None


def name_score(metric: str, against: str = "gold") -> str:
    """Return what a score is, in words.

    Args:
        against: whose labels it was measured against: ``gold``, ``teacher`` or ``mixed``.

    >>> name_score("accuracy"), name_score("accuracy", "teacher"), name_score("rouge_l", "teacher")
    ('accuracy', 'agreement with the teacher', 'rouge_l against the teacher')
    """
    if against == "gold":
        return metric
    whose = "the teacher" if against == "teacher" else "gold and the teacher's labels"
    return f"agreement with {whose}" if metric == ACCURACY else f"{metric} against {whose}"


def might_improve(metrics: Mapping[str, Any]) -> bool:
    """Return whether more steps might have helped a run: its best checkpoint is the last, and errs on validation.

    >>> [might_improve({"best_step": 9, "steps": 9, "validation": {"accuracy": right}}) for right in (0.9, 1.0)]
    [True, False]
    """
    validation = metrics.get("validation") or {}
    return metrics["best_step"] >= metrics["steps"] and validation.get(ACCURACY) != 1


def show_score(metric: str, value: float) -> str:
    """Return a score as text: a percentage for accuracy, which is 0% or 100% only where nothing or everything is right.

    >>> show_score("accuracy", 0.51234), show_score("rouge_l", 0.51234)
    ('51.2%', '0.512')
    >>> show_score("accuracy", 0.99985), show_score("accuracy", 1.0)
    ('99.98%', '100.0%')
    """
    if metric != ACCURACY:
        return f"{value:.3f}"
    digits = 1
    while 0 < value < 1 and round(100 * value, digits) in (0, 100) and digits < 6:
        digits += 1
    return f"{100 * value:.{digits}f}%"
