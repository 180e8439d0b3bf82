"""Who does the asking: this process, an endpoint's batch API, or actors on many machines."""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeVar

from dsbs.core.records import Request
from dsbs.extraction.budget import Spending
from dsbs.extraction.committing import Committer
from dsbs.extraction.job import Job
from dsbs.extraction.pacing import format_seconds
from dsbs.store import Failure, Origin

_Function = TypeVar("_Function", bound=Callable[..., Any])
# Attempts that may fail before the first answer came; a wrong URL or a server that is down shows by then.
HOPELESS_ATTEMPTS = 10


@dataclass
class Tally:
    """What happened so far in this process; ``by_split`` counts requests that ended, answered or failed.

    ``failures`` holds the first failure of each reason.
    ``notes`` are what people should know of it, each once, in the order in which it was found out.
    """

    by_split: Counter[str] = field(default_factory=Counter)
    answered: int = 0
    failed: int = 0
    retried: int = 0
    failed_attempts_before_answer: int = 0
    failed_in_a_row: int = 0
    failures: dict[str, Failure] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)


class Executor(Protocol):
    """Asks, and commits what comes back.

    Attributes:
        stopped: why it stopped before the end, or None.
        steady: whether answers come one by one, so that a speed can be told.
    """

    stopped: str | None
    steady: bool

    async def run(self, questions: Iterable[list[Request]]) -> None:
        """Ask everything; return when all of it has ended, or ``stop`` was called.

        Args:
            questions: the missing samples of one question at a time.
        """

    def stop(self, why: str, error: Exception | None = None) -> None:
        """Ask nothing new; what is under way may end."""

    def cancel(self) -> None:
        """Give up what is under way, too."""

    def tell(self) -> list[str]:
        """Return what people may want to know of how it goes."""


@dataclass
class Parts:
    """What every executor works with.

    Attributes:
        job: what is asked.
        origin: whom the completions come from.
        committer: where they go.
        tally, spending: counted up as things happen.
        waiting: called now and then while nothing arrives.
        under_way: keys of requests that are being asked.
    """

    job: Job
    origin: Origin
    committer: Committer
    tally: Tally
    spending: Spending
    waiting: Callable[[], None]
    under_way: set[bytes] = field(default_factory=set)


def in_batches(open: _Function) -> _Function:
    """Mark an executor that asks through an endpoint's batch API: at its price, within a day, and perhaps over several
    runs, of which a later one collects what an earlier one has handed in.
    """
    open.batches = True  # type: ignore[attr-defined]
    return open


def tell_pace(at_once: int | None, pause: float) -> list[str]:
    """Return how a server holds us back, in words: the number of requests that it bears, seconds that it asks to wait.

    >>> tell_pace(8, 0.0), tell_pace(None, 30.0), tell_pace(None, 86400.0)
    (['8 concurrent'], ['the server asks to wait 30 s'], ['the server asks to wait 24 h'])
    """
    told = [] if at_once is None else [f"{at_once} concurrent"]
    return told + [f"the server asks to wait {format_seconds(pause)}"] * (pause > 1)
