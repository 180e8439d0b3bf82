"""The interface of executors, and what they share."""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from itertools import chain
from typing import Any, ClassVar

from dsbs.core.errors import TeacherError
from dsbs.core.records import Request
from dsbs.core.units import show_duration
from dsbs.extraction.budget import Reservation, Spending
from dsbs.extraction.committing import Committer
from dsbs.extraction.executors.pacing import sleep_unless
from dsbs.extraction.job import Job
from dsbs.extraction.retrying import Retrying
from dsbs.extraction.settings import ExtractionSettings
from dsbs.store import Failure, Origin

# Attempts that may fail before the first answer; by then the URL is wrong or the server down.
HOPELESS_ATTEMPTS = 10


@dataclass
class RequestStats:
    """Counts of this process.

    Attributes:
        by_split: requests that ended, answered or failed, by split.
        proven: whether the teacher is known to answer: earlier runs have answers, or it replays what is there. Then
            requests that it rejects are those examples' fault.
        answered: requests with a completion.
        failed: requests that failed for good.
        retried: attempts that failed and were repeated.
        failed_attempts_before_answer: attempts that failed before the first completion.
        failed_in_a_row: requests that failed since the last completion.
        failures: reason -> its first failure.
        notes: sentences for the user, each once, in order.
    """

    by_split: Counter[str] = field(default_factory=Counter)
    proven: bool = False
    answered: int = 0
    failed: int = 0
    retried: int = 0
    failed_attempts_before_answer: int = 0
    failed_in_a_row: int = 0
    failures: dict[str, Failure] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)


class Executor:
    """The base of executors, which send requests and commit what comes back.

    Attributes:
        stopped: why it stopped before the end, or None.
        error: to be raised by ``run`` then, or None.
        persist: calls a function with retries, until the executor is stopped.
    """

    # Whether it uses an endpoint's batch API: its price applies, results take up to a day, and a later run may collect
    # what an earlier one has sent.
    batches: ClassVar[bool] = False

    @classmethod
    def open(cls, parts: "Parts") -> AbstractAsyncContextManager["Executor"]:
        """Return an async context manager that yields an executor, connected to the teacher."""
        raise NotImplementedError

    def __init__(self, settings: ExtractionSettings, stats: RequestStats) -> None:
        self.settings, self.stats = settings, stats
        self.stopped: str | None = None
        self.error: Exception | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._stop_event = asyncio.Event()
        self.persist: Any = Retrying(settings, self._worth_retrying, self._sleep)

    async def run(self, questions: Iterable[list[Request]]) -> None:
        """Send all requests; return when all have ended, or ``stop`` was called.

        Args:
            questions: yields the missing samples of one question at a time.

        Raises:
            DsbsError: where no request can succeed, or nothing can be written; what was committed before stays.
        """
        raise NotImplementedError

    def stop(self, why: str, error: Exception | None = None) -> None:
        """Send no new requests, and retry none; those in flight may end. The first reason and error count."""
        self.stopped = self.stopped or why
        self.error = self.error or error
        self._stop_event.set()

    def cancel(self) -> None:
        """Cancel the requests in flight."""
        for task in self._tasks:
            task.cancel()

    def describe(self) -> list[str]:
        """Return notes on the current state, a few words each, for the progress line."""
        return []

    def _worth_retrying(self, error: BaseException) -> bool:
        worth = isinstance(error, TeacherError) and error.retryable and not error.fatal and not self.stopped
        self.stats.retried += worth
        return worth

    async def _sleep(self, seconds: float) -> None:
        await sleep_unless(self._stop_event, seconds)


@dataclass
class Parts:
    """What every executor gets.

    Attributes:
        stats, spending: updated by the executor.
        all_sent: called by an executor that knows before its end that it will send nothing more.
        under_way: keys of requests in flight.
    """

    job: Job
    origin: Origin
    committer: Committer
    stats: RequestStats
    spending: Spending
    all_sent: Callable[[], None] = lambda: None
    under_way: set[bytes] = field(default_factory=set)


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


class QuestionQueue:
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

    def take(self, limit: int, fits: Callable[[list[Request]], bool]) -> Portion:
        """Return the next portion; empty where nothing is left, or the budget would be exceeded (``bound``).

        Args:
            fits: called with each question; adds it and returns True, or returns False where it does not fit.
        """
        portion, self.bound = Portion(), None
        while len(portion.questions) < limit and not self.exhausted:
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


def describe_pace(at_once: int | None, pause: float) -> list[str]:
    """Return how a server limits the pace, a few words each.

    Args:
        at_once: maximum concurrent requests, if lowered; else None.
        pause: seconds that the server asks to wait.

    >>> describe_pace(8, 0.0), describe_pace(None, 30.0), describe_pace(None, 86400.0)
    (['8 concurrent'], ['the server asks to wait 30 s'], ['the server asks to wait 24 h'])
    """
    parts = [] if at_once is None else [f"{at_once} concurrent"]
    return parts + [f"the server asks to wait {show_duration(pause)}"] * (pause > 1)
