"""Who does the asking: this process, an endpoint's batch API, or actors on many machines."""

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Protocol

from dsbs.extraction.asking import Asker, Tally
from dsbs.extraction.batching import Batcher
from dsbs.extraction.committing import Committer
from dsbs.extraction.job import Job
from dsbs.extraction.spending import Spending
from dsbs.extraction.spreading import open_spreader
from dsbs.records import Request
from dsbs.store import Batches, CompletionStore, Origin


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


@asynccontextmanager
async def open_executor(parts: Parts) -> AsyncIterator[Executor]:
    """Open the executor that the settings name."""
    job, settings = parts.job, parts.job.settings
    if settings.executor == "batch":
        # A connection of its own for the books: the committer writes in another thread meanwhile.
        async with job.teacher.connect_batches() as api:
            with CompletionStore(job.store_path) as store:
                books = Batches(store, parts.origin)
                yield Batcher(
                    api, books, parts.committer, settings, parts.tally, parts.spending, parts.under_way, parts.waiting
                )
    elif settings.executor == "ray":
        async with open_spreader(job, parts.origin, parts.committer, parts.tally, parts.spending, parts.waiting) as one:
            yield one
    else:
        async with job.teacher.connect(job.task) as ask:
            yield Asker(ask, parts.committer, settings, parts.tally, parts.spending)
