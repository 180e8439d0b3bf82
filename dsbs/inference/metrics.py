"""How right the answers are: the one place that scores."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field

from dsbs.core.records import Prediction
from dsbs.tasks.base import Answers


def is_correct(answers: Answers, prediction: str | None, gold: str | None) -> bool:
    """Tell whether an answer is right; no answer is wrong.

    >>> from dsbs.tasks.answers import NumberAnswers
    >>> is_correct(NumberAnswers(), "84 / 2", "42.0"), is_correct(NumberAnswers(), None, "42.0")
    (True, False)
    """
    return prediction is not None and answers.equivalent(prediction, gold)


@dataclass
class Score:
    """Counts over predictions.

    Attributes:
        examples: predictions that have a gold answer.
        correct: those that are right.
        unanswered: those without an answer; they count as wrong.
        without_gold: predictions left out because there is no gold answer.
        confusion: how often each (gold, prediction) occurred.
    """

    examples: int = 0
    correct: int = 0
    unanswered: int = 0
    without_gold: int = 0
    confusion: Counter[tuple[str, str | None]] = field(default_factory=Counter)

    @property
    def accuracy(self) -> float | None:
        """Share of right answers, or None where no example has a gold answer."""
        return self.correct / self.examples if self.examples else None

    def accuracy_by_class(self) -> dict[str, float]:
        """Return the accuracy among the examples of each gold answer; meant for closed answers."""
        totals: Counter[str] = Counter()
        right: Counter[str] = Counter()
        for (gold, prediction), count in self.confusion.items():
            totals[gold] += count
            right[gold] += count if prediction == gold else 0
        return {gold: right[gold] / totals[gold] for gold in sorted(totals)}


def score(answers: Answers, predictions: Iterable[Prediction]) -> Score:
    """Count what is right; one pass, as a stream."""
    result = Score()
    for prediction in predictions:
        if prediction.gold is None:
            result.without_gold += 1
            continue
        result.examples += 1
        result.unanswered += prediction.label is None
        result.correct += is_correct(answers, prediction.label, prediction.gold)
        result.confusion[prediction.gold, prediction.label] += 1
    return result
