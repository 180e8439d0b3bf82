"""The inside of a Ray actor: it sends its share of requests and keeps the answers in its shard until fetched."""

import asyncio
import contextlib
import os
import traceback
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from filelock import Timeout

from dsbs.core.errors import DsbsError, RunError
from dsbs.core.records import Completion, Request
from dsbs.extraction.budget import Reservation, Spending
from dsbs.extraction.committing import Arrival, Committer
from dsbs.extraction.executors.base import RequestStats
from dsbs.extraction.executors.local import LocalExecutor
from dsbs.extraction.executors.ray_shards import hold_shard, remove_shard
from dsbs.extraction.settings import Budget, ExtractionSettings
from dsbs.store import CompletionStore, Origin, Outcome, Totals
from dsbs.tasks.base import Task
from dsbs.teachers.base import Teacher

# Seconds that an exchange waits for arrivals, and for further ones after the first.
PATIENCE = 0.5
LINGER = 0.01


@dataclass
class WorkerConfig:
    """What an actor gets from the driver.

    Attributes:
        task, teacher: of the extraction; without API keys, which a teacher finds in the actor's environment.
        identity: ``Job.identity``, so that both sides compute the same keys of requests.
        settings: this actor's share of the pace; the budget stays with the driver.
        share: this actor's fraction of the server's rate limits.
        shard: its store.
        home: the driver's working directory, for relative paths; ignored where it does not exist.
        proven: see ``RequestStats``.
    """

    task: Task
    teacher: Teacher
    identity: dict[str, Any]
    settings: ExtractionSettings
    share: float
    shard: Path
    home: Path
    proven: bool = False


@dataclass
class Report:
    """What an actor reports of the time since the last exchange.

    Attributes:
        arrivals: (key of the request, completion or failure); they are in the shard as well.
        retried: attempts that failed and were repeated.
        lost: what may be billed although no answer came.
        at_once, pause: limits of the server; see ``describe_pace``.
        stopped: why the actor stopped by itself, or None.
        error: its error, or None.
        over: whether it has ended.
        notes: sentences about the teacher for the user.
    """

    arrivals: list[tuple[bytes, Outcome]]
    retried: int = 0
    lost: Reservation = field(default_factory=lambda: Reservation(requests=0))
    at_once: int | None = None
    pause: float = 0.0
    stopped: str | None = None
    error: Exception | None = None
    over: bool = False
    notes: list[str] = field(default_factory=list)


class Worker:
    """The inside of an actor, independent of Ray; it runs in one event loop."""

    def __init__(self, config: WorkerConfig) -> None:
        self.config = config
        self.stats = RequestStats(proven=config.proven)
        self.spending = Spending(Budget(), None, Totals(), config.teacher.most_written)
        self.executor: LocalExecutor | None = None
        self._error: Exception | None = None
        self._origin: Origin | None = None
        self._arrivals: list[tuple[bytes, Outcome]] = []
        self._queue: asyncio.Queue[list[Request] | None] = asyncio.Queue()
        self._news = asyncio.Event()
        self._stopping = False
        self._running: asyncio.Task[None] | None = None

    async def exchange(self, questions: list[list[Request]], stop: bool = False, proven: bool = False) -> Report:
        """Accept questions and return what has arrived: at the first arrival, or after ``PATIENCE`` seconds.

        Args:
            questions: for every question, its missing samples.
            stop: send no new requests; those in flight may end.
            proven: whether the server has answered others meanwhile; see ``RequestStats``.
        """
        self.stats.proven |= proven
        for question in questions:
            self._queue.put_nowait(question)
        if questions and self._running is None:
            self._running = asyncio.create_task(self._work(questions[0][0]))
        if stop:
            self._end("stopped by the driver")
        if self._running is not None and not self._running.done():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._news.wait(), PATIENCE)
                await asyncio.sleep(LINGER)
        elif not stop:
            await asyncio.sleep(PATIENCE)
        return self._report()

    async def close(self) -> None:
        """End, and delete the shard; the driver calls it when it has all that is in it."""
        self._end("closed")
        if self._running is not None:
            await self._running
            with contextlib.suppress(OSError, Timeout), hold_shard(self.config.shard):
                remove_shard(self.config.shard)

    def _end(self, why: str) -> None:
        self._stopping = True
        self._queue.put_nowait(None)
        if self.executor is not None:
            self.executor.stop(why)

    def _report(self) -> Report:
        over = self._running.done() if self._running is not None else self._stopping
        report, error = Report(self._arrivals, self.stats.retried, over=over), self._error
        report.lost, self.spending.lost = self.spending.lost, report.lost
        self._arrivals, self.stats.retried = [], 0
        self._news.clear()
        if (executor := self.executor) is not None:
            report.at_once, report.pause, report.notes = executor.at_once, executor.pause.asked, executor.notes
            report.stopped, error = executor.stopped, error or executor.error
            if executor.stopped and not self._stopping:
                self._queue.put_nowait(None)  # it waits for a question that it will not ask
        report.stopped = report.stopped or ("error" if self._error else None)
        report.error = error and _portable(error)
        return report

    async def _work(self, request: Request) -> None:
        config = self.config
        try:
            with contextlib.suppress(OSError):
                os.chdir(config.home)
            with self._open_shard() as store:
                self._origin = store.origin(config.identity, request, by_id=config.teacher.by_id)
                async with (
                    config.teacher.connect(config.task) as ask,
                    Committer(store, self._origin, self._notice) as committer,
                ):
                    self.executor = LocalExecutor(
                        ask, committer, config.settings, self.stats, self.spending, config.share
                    )
                    await self.executor.run(self._questions())
        except Exception as error:  # the driver has to know
            self._error = error
        finally:
            self._news.set()

    @contextlib.contextmanager
    def _open_shard(self) -> Iterator[CompletionStore]:
        shard = self.config.shard
        try:
            shard.parent.mkdir(parents=True, exist_ok=True)
            held = contextlib.ExitStack()
            held.enter_context(hold_shard(shard))
        except OSError as error:
            raise RunError(
                f"{shard.parent} cannot be created ({error.strerror}): every actor keeps answers there until they are "
                "handed over. Choose an output_dir that is writable on every node."
            ) from error
        with held, CompletionStore(shard) as store:
            yield store

    async def _questions(self) -> AsyncIterator[list[Request]]:
        while (question := await self._queue.get()) is not None and not self._stopping:
            yield question

    def _notice(self, arrival: Arrival) -> None:
        assert self._origin is not None
        request, outcome = arrival
        self._arrivals.append((self._origin.key(request), outcome))
        if isinstance(outcome, Completion):
            self.stats.answered += 1
            self.spending.count(request, outcome)
        self._news.set()


def _portable(error: Exception) -> Exception:
    """Return an error that can be pickled; of an unexpected one it has the traceback as text."""
    if isinstance(error, DsbsError):
        return error
    return RuntimeError("in an actor:\n" + "".join(traceback.format_exception(error)))
