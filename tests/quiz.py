"""Tasks that are only scored: with closed answers, and with a metric of their own."""

from dataclasses import dataclass

from dsbs.tasks.answers import ClosedAnswers, FreeAnswers
from dsbs.tasks.base import Answers, Task

CLOSED, FREE = ClosedAnswers(("yes", "no")), FreeAnswers()


@dataclass
class Quiz(Task):
    """A task that is only scored."""

    kind_of_answers: Answers = CLOSED

    @property
    def answers(self) -> Answers:
        return self.kind_of_answers


@dataclass
class Overlap(Quiz):
    """A task whose score is the share of the gold answer's words that an answer has."""

    kind_of_answers: Answers = FREE

    @property
    def metric(self) -> str:
        return "overlap"

    def score(self, prediction: str | None, gold: str) -> float:
        words = set(gold.split())
        return len(words & set((prediction or "").split())) / len(words)
