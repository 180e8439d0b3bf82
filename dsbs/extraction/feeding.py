"""Hands out what is to be asked in portions, each no larger than the budget bears."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

from dsbs.core.records import Request
from dsbs.extraction.budget import Reservation, Spending


@dataclass
class Portion:
    """Questions that are asked together.

    Attributes:
        questions: the missing samples of one question, for every question.
        characters: length of all that is sent.
        cost: what it may come to.
    """

    questions: list[list[Request]] = field(default_factory=list)
    characters: int = 0
    cost: Reservation = field(default_factory=lambda: Reservation(requests=0))


class Feed:
    """Questions that wait for their turn.

    Args:
        questions: the missing samples of one question at a time; no more than one is taken ahead.
        spending: what may be spent.
    """

    def __init__(self, questions: Iterable[list[Request]], spending: Spending) -> None:
        self._rest: Iterator[list[Request]] = iter(questions)
        self._next: list[Request] | None = None
        self.spending = spending
        self.bound: str | None = None

    @property
    def exhausted(self) -> bool:
        """Whether nothing is left."""
        if self._next is None:
            self._next = next(self._rest, None)
        return self._next is None

    def take(self, most: int, fits: Callable[[list[Request]], bool]) -> Portion:
        """Return the next portion; it is empty where nothing is left, or ``bound`` would be passed.

        Args:
            most: questions.
            fits: tells whether one more goes in; where it does, it is in.
        """
        portion, self.bound = Portion(), None
        while len(portion.questions) < most and not self.exhausted:
            assert self._next is not None
            characters = self.spending.characters(self._next[0])
            cost = portion.cost + self.spending.estimate(characters, len(self._next))
            self.bound = self.spending.exceeded(cost)
            if self.bound or not fits(self._next):
                break
            portion.questions.append(self._next)
            portion.characters += characters
            portion.cost = cost
            self._next = None
        return portion

    def give_back(self, questions: Iterable[list[Request]]) -> None:
        """Take questions in again that were handed out and not asked."""
        self._rest = chain(questions, self._rest)
