"""Portions of the questions to ask, each within the budget."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import chain

from dsbs.core.records import Request
from dsbs.extraction.budget import Reservation, Spending


@dataclass
class Portion:
    """Questions that are sent together.

    Attributes:
        questions: for every question, its missing samples.
        characters: length of all requests.
        cost: the tokens that they may use.
    """

    questions: list[list[Request]] = field(default_factory=list)
    characters: int = 0
    cost: Reservation = field(default_factory=lambda: Reservation(requests=0))


class Feed:
    """A queue of questions.

    Args:
        questions: yields the missing samples of one question at a time; at most one is read ahead.

    Attributes:
        bound: the bound of the budget that ended the last portion, or None.
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
        """Return the next portion; empty where nothing is left, or the budget would be exceeded (``bound``).

        Args:
            fits: called with each question; adds it and returns True, or returns False where it does not fit.
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
        """Put questions back that were handed out but not answered; they come next."""
        self._rest = chain(questions, self._rest)
