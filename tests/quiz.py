"""Small tasks: two that are only scored, and one that whoever knows the right word answers."""

from collections.abc import Iterator
from dataclasses import dataclass

from dsbs.core.records import Example
from dsbs.tasks.answers import ClosedAnswers, FreeAnswers
from dsbs.tasks.base import Answers, Task

COLOURS = ("red", "green", "blue")
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


@dataclass
class Colours(Task):
    """Whoever reads the right word knows the colour."""

    kind: str = "colours"
    name: str = "colours"
    taught: tuple[str, ...] = COLOURS
    choices: tuple[str, ...] = COLOURS

    @property
    def answers(self) -> Answers:
        return ClosedAnswers(COLOURS)

    def splits(self) -> tuple[str, ...]:
        return ("train", "validation", "test")

    def examples(self, split: str) -> Iterator[Example]:
        known = self.taught if split == "train" else self.choices
        for number in range(30 if split == "train" else 12):
            colour = known[number % len(known)]
            yield Example(f"{split}{number}", f"a {colour}ish thing, number {number}", colour, self.choices)

    def identity(self) -> dict[str, object]:
        return {"kind": self.kind, "taught": self.taught, "choices": self.choices}
