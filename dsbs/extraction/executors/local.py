"""``executor=local``: concurrent requests from this process, which ends early when there is no hope."""

import asyncio
import logging
import time
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager

from dsbs.core.errors import TeacherError
from dsbs.core.records import Completion, Request
from dsbs.core.units import show_duration
from dsbs.extraction.budget import Reservation, Spending
from dsbs.extraction.committing import Arrival, Committer
from dsbs.extraction.executors.base import HOPELESS_ATTEMPTS, Executor, Parts, RequestStats, describe_pace
from dsbs.extraction.executors.pacing import Concurrency, Pause, RateLimit
from dsbs.extraction.retrying import BUSY, Retrying
from dsbs.extraction.settings import ExtractionSettings
from dsbs.store import Failure
from dsbs.teachers.base import Ask, AskSeveral
from dsbs.teachers.endpoint.faults import TOO_MANY_FILES
from dsbs.teachers.endpoint.headers import ServerLimits

logger = logging.getLogger(__name__)

# Requests in a row that may fail after their last attempt.
HOPELESS_REQUESTS = 20
# Rejections in a row after which a server that has never answered is given up, and after which a warning is logged.
# The pauses between five are longer than a minute, after which a limit per minute is over.
HOPELESS_REJECTIONS, TOLD_REJECTION = 5, 3
TIMEOUT = "timeout"
OVERLOAD = BUSY | {TIMEOUT, TOO_MANY_FILES}


class LocalExecutor(Executor):
    """The executor of concurrent requests.

    Args:
        share: fraction of the server's rate limits to use, where other actors use the rest.
    """

    @classmethod
    @asynccontextmanager
    async def open(cls, parts: Parts) -> AsyncIterator["LocalExecutor"]:
        """Yield a ``LocalExecutor`` with the connected teacher."""
        async with parts.job.teacher.connect(parts.job.task) as ask:
            yield cls(ask, parts.committer, parts.job.settings, parts.stats, parts.spending)

    def __init__(
        self,
        ask: Ask,
        committer: Committer,
        settings: ExtractionSettings,
        stats: RequestStats,
        spending: Spending,
        share: float = 1.0,
    ) -> None:
        super().__init__(settings, stats)
        self.ask, self.committer, self.spending, self.share = ask, committer, spending, share
        self.several: AskSeveral | None = getattr(ask, "several", None)
        self.answers = 0
        self.persist = Retrying(settings, self._worth_retrying, self._sleep, lambda: self.answers)
        self.concurrency = Concurrency(settings.concurrency)
        self.pause = Pause()
        self.requests_allowed = RateLimit(settings.requests_per_minute)
        self.tokens_allowed = RateLimit(settings.tokens_per_minute)

    async def run(self, questions: Iterable[list[Request]] | AsyncIterable[list[Request]]) -> None:
        """Send all requests; see ``Executor.run``. Asynchronous questions must end when it has ``stopped``."""
        room = asyncio.Semaphore(self.settings.concurrency)
        try:
            try:
                async for samples in _in_turn(questions):
                    await self._start_all(samples, room)
                    if self.stopped:
                        break
            except Exception as error:  # the data cannot be read any more; what is in flight is paid for
                self.stop("error", error)
            while self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            self.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)
            self.stats.notes |= dict.fromkeys(self.notes)
        if self.error:
            raise self.error

    @property
    def notes(self) -> list[str]:
        """Sentences about the teacher for the user, such as adaptations to its endpoint."""
        return list(getattr(self.ask, "notes", ()))

    async def _start_all(self, samples: list[Request], room: asyncio.Semaphore) -> None:
        for together in [samples] if self.several else [[sample] for sample in samples]:
            await room.acquire()
            cost = self._cost(together)
            if self.stopped or not await self._affordable(cost):
                return
            self._start(together, cost, room)

    def _start(self, together: list[Request], cost: Reservation, room: asyncio.Semaphore) -> None:
        self.spending.reserve(cost)

        def done(task: asyncio.Task[None]) -> None:
            self._tasks.discard(task)
            self.spending.reserve(cost, sign=-1)
            room.release()

        task = asyncio.create_task(self._answer(together))
        self._tasks.add(task)
        task.add_done_callback(done)

    async def _affordable(self, cost: Reservation) -> bool:
        """Wait for requests in flight while they may free enough of the budget; else stop."""
        while bound := self.spending.exceeded(cost):
            if not self._tasks:
                self.stop(f"{bound} is reached")
                return False
            await asyncio.wait(self._tasks, return_when=asyncio.FIRST_COMPLETED)
            if self.stopped:
                return False
        return True

    def describe(self) -> list[str]:
        return describe_pace(self.at_once, self.pause.asked)

    @property
    def at_once(self) -> int | None:
        """Maximum concurrent requests, if it was lowered because the server was overloaded; else None."""
        return int(self.concurrency.limit) if self.concurrency.overloads else None

    async def _answer(self, together: list[Request]) -> None:
        try:
            while together:
                try:
                    completions = await self.persist(self._attempt, together)
                except TeacherError as error:
                    await self._note_failure(together, error)
                    return
                pairs = list(zip(together, completions, strict=False))
                await self._commit(pairs)
                self.stats.failed_in_a_row = 0
                together = together[len(pairs) :]
        except Exception as error:  # a full disk, or a fault of ours: it must end the run, not hide in a task
            self.stop("error", error)

    async def _commit(self, arrivals: Sequence[Arrival]) -> None:
        if len(arrivals) == 1:
            await self.committer.commit(arrivals[0])
        else:
            await asyncio.gather(*map(self.committer.commit, arrivals))

    async def _note_failure(self, together: list[Request], error: TeacherError) -> None:
        if error.fatal:  # not the example's fault
            self.stop("fatal", error)
            return
        if self.stopped and error.retryable:
            return  # it was not tried to the end: the next run asks it as if it were new
        failure = Failure(error.reason, str(error))
        await self._commit([(request, failure) for request in together])
        self.stats.failed_in_a_row += 1
        known = self.stats.answered or self.stats.proven
        hopeless = self.stats.failed_in_a_row >= (HOPELESS_REQUESTS if known else HOPELESS_ATTEMPTS)
        if hopeless and (error.retryable or not known or error.reason == "HTTP 403"):  # blocked, not one prompt's fault
            self.stop("hopeless", error)

    async def _attempt(self, together: list[Request]) -> Sequence[Completion]:
        """Send a request once, when its turn has come."""
        tokens = self._expected_tokens(together)
        await self.requests_allowed.take(1, self._stop_event)
        await self.tokens_allowed.take(tokens, self._stop_event)
        async with self.concurrency:
            await self.pause.wait(self._stop_event)
            if self.stopped:
                raise TeacherError("not asked: the extraction is stopping", retryable=True)
            started = time.monotonic()
            try:
                if self.several and len(together) > 1:
                    completions = await self.several(together)
                else:
                    completions = [await self.ask(together[0])]
            except TeacherError as error:
                if error.reason == TIMEOUT:
                    if not self.spending.lost.requests:
                        logger.warning("%s It is repeated, and may be billed each time: if answers take longer, raise "
                                       "teacher.timeout.", error)  # fmt: skip
                    self.spending.lose(self._cost(together))
                self._note_trouble(error, started)
                raise
        self.answers += 1
        self.concurrency.answered()
        self.pause.rejections = 0
        self._heed(getattr(self.ask, "limits", None))
        self.tokens_allowed.correct(tokens, sum(map(used_tokens, completions)) or tokens)
        return completions

    def _heed(self, limits: ServerLimits | None) -> None:
        if limits:
            self.requests_allowed.adopt((limits.requests_per_minute or 0.0) * self.share)
            self.tokens_allowed.adopt((limits.tokens_per_minute or 0.0) * self.share)
            if limits.wait:
                self.pause.ask(limits.wait)

    def _note_trouble(self, error: TeacherError, started: float) -> None:
        counts = error.reason in OVERLOAD and self.concurrency.overloaded(started)
        if error.reason in BUSY:
            if error.retry_after:
                self.pause.ask(error.retry_after)
            elif counts and error.retryable:
                self._hold(error)
        elif not (self.stats.answered or self.stopped or (self.stats.proven and not error.retryable)):
            self.stats.failed_attempts_before_answer += 1
            if self.stats.failed_attempts_before_answer >= HOPELESS_ATTEMPTS:
                self.stop("hopeless", error)

    def _hold(self, error: TeacherError) -> None:
        """Pause because the server rejects requests and does not say for how long; stop where it always does."""
        seconds = self.pause.hold(self.settings.backoff, self.settings.max_backoff)
        known = self.stats.answered or self.stats.proven
        if self.pause.rejections >= (HOPELESS_ATTEMPTS if known else HOPELESS_REJECTIONS):
            self.stop("hopeless", error)
        elif self.pause.rejections == TOLD_REJECTION:
            logger.warning("%s. All requests pause for %s, and longer if that does not help.", str(error).rstrip("."),
                           show_duration(seconds))  # fmt: skip

    def _cost(self, together: list[Request]) -> Reservation:
        # An endpoint that gives one sample at a time reads, and bills, the prompt for each of them.
        return self.spending.estimate(len(together) * self.spending.characters(together[0]), len(together))

    def _expected_tokens(self, together: list[Request]) -> float:
        if self.tokens_allowed.per_minute is None:
            return 0.0
        cost = self.spending.estimate(self.spending.characters(together[0]), len(together))
        return cost.prompt_tokens + (self.spending.mean_written * len(together) or cost.completion_tokens)


async def _in_turn(questions: Iterable[list[Request]] | AsyncIterable[list[Request]]) -> AsyncIterator[list[Request]]:
    if isinstance(questions, AsyncIterable):
        async for samples in questions:
            yield samples
    else:
        for samples in questions:
            yield samples


def used_tokens(completion: Completion) -> int:
    """Return prompt and completion tokens of a completion together, unknown ones as 0."""
    return (completion.prompt_tokens or 0) + (completion.completion_tokens or 0)
