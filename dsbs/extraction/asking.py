"""Asks a teacher many things at once, and gives up early when there is no point in going on."""

import asyncio
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import tenacity

from dsbs.errors import TeacherError
from dsbs.extraction.committing import Committer
from dsbs.extraction.pacing import Allowance, Concurrency, Pause
from dsbs.extraction.settings import ExtractionSettings
from dsbs.records import Completion, Request
from dsbs.store import Failure
from dsbs.teachers.base import Ask

# Attempts that may fail before the first answer came; a wrong URL or a server that is down shows by then.
HOPELESS_ATTEMPTS = 10
# Requests in a row that may end without an answer after their last attempt.
HOPELESS_REQUESTS = 20
CHARACTERS_PER_TOKEN = 4
OVERLOAD = {"HTTP 429", "HTTP 503", "HTTP 529", "timeout"}


@dataclass
class Tally:
    """What happened so far in this process; ``by_split`` counts requests that ended, answered or failed."""

    by_split: Counter[str] = field(default_factory=Counter)
    answered: int = 0
    failed: int = 0
    retried: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    failed_attempts_before_answer: int = 0
    failed_in_a_row: int = 0
    started: float = field(default_factory=time.monotonic)


class Asker:
    """Sends requests and commits what comes back.

    Args:
        ask: the connected teacher.
        committer: where completions and failures go.
        settings: pace and patience.
        tally: counted up as things happen.
    """

    def __init__(self, ask: Ask, committer: Committer, settings: ExtractionSettings, tally: Tally) -> None:
        self.ask, self.committer, self.settings, self.tally = ask, committer, settings, tally
        self.concurrency = Concurrency(settings.concurrency)
        self.pause = Pause()
        self.requests_allowed = Allowance(settings.requests_per_minute)
        self.tokens_allowed = Allowance(settings.tokens_per_minute)
        self.stopped: str | None = None
        self.error: Exception | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        retrying = tenacity.AsyncRetrying(
            retry=tenacity.retry_if_exception(self._worth_retrying),
            stop=tenacity.stop_after_attempt(settings.attempts),
            wait=self._wait_before_retry,
            sleep=self._sleep,
            reraise=True,
        )
        self._persist = retrying.wraps(self._attempt)
        self._stop_event = asyncio.Event()

    async def run(self, requests: Iterator[Request]) -> None:
        """Ask everything; return when all of it is answered, failed, or ``stop`` was called.

        Raises:
            TeacherError: where nothing can succeed; what was committed before stays.
            RunError: where the store cannot be written.
        """
        room = asyncio.Semaphore(self.settings.concurrency)
        try:
            for request in requests:
                await room.acquire()
                if self.stopped:
                    break
                task = asyncio.create_task(self._answer(request))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)
                task.add_done_callback(lambda _: room.release())
            while self._tasks:
                await asyncio.wait(self._tasks)
        finally:
            for task in self._tasks:
                task.cancel()
            if self._tasks:
                await asyncio.wait(self._tasks)
        if self.error:
            raise self.error

    def stop(self, why: str, error: Exception | None = None) -> None:
        """Send no new requests, nor those again that failed; what is under way may end."""
        self.stopped = self.stopped or why
        self.error = self.error or error
        self._stop_event.set()

    def cancel(self) -> None:
        """Give up what is under way, too."""
        for task in self._tasks:
            task.cancel()

    async def _answer(self, request: Request) -> None:
        try:
            try:
                completion = await self._persist(request)
            except TeacherError as error:
                await self._note_failure(request, error)
            else:
                await self.committer.commit((request, completion))
                self.tally.failed_in_a_row = 0
        except Exception as error:  # a full disk, or a fault of ours: it must end the run, not hide in a task
            self.stop("error", error)

    async def _note_failure(self, request: Request, error: TeacherError) -> None:
        if self.stopped and error.retryable:
            return  # it was not tried to the end: the next run asks it as if it were new
        await self.committer.commit((request, Failure(error.reason, str(error))))
        self.tally.failed_in_a_row += 1
        hopeless = self.tally.failed_in_a_row >= (HOPELESS_REQUESTS if self.tally.answered else HOPELESS_ATTEMPTS)
        if error.fatal or (hopeless and (error.retryable or not self.tally.answered)):
            self.stop("hopeless", error)

    async def _attempt(self, request: Request) -> Completion:
        """Send a request once, when its turn has come."""
        estimate = self._estimate_tokens(request)
        await self.requests_allowed.take(1)
        await self.tokens_allowed.take(estimate)
        async with self.concurrency:
            await self.pause.wait()
            started = time.monotonic()
            try:
                completion = await self.ask(request)
            except TeacherError as error:
                self._note_trouble(error, started)
                raise
        self.concurrency.answered()
        self.tokens_allowed.correct(estimate, used_tokens(completion) or estimate)
        return completion

    def _note_trouble(self, error: TeacherError, started: float) -> None:
        if error.reason in OVERLOAD:
            self.concurrency.overloaded(started)
            if error.retry_after:
                self.pause.ask(error.retry_after)
        elif not self.tally.answered:
            self.tally.failed_attempts_before_answer += 1
            if self.tally.failed_attempts_before_answer >= HOPELESS_ATTEMPTS:
                self.stop("hopeless", error)

    def _estimate_tokens(self, request: Request) -> float:
        if self.tokens_allowed.per_minute is None:
            return 0.0
        if self.tally.answered and self.tally.prompt_tokens:
            return (self.tally.prompt_tokens + self.tally.completion_tokens) / self.tally.answered
        return len(request.text()) / CHARACTERS_PER_TOKEN

    def _worth_retrying(self, error: BaseException) -> bool:
        worth = isinstance(error, TeacherError) and error.retryable and not error.fatal and not self.stopped
        self.tally.retried += worth
        return worth

    def _wait_before_retry(self, state: tenacity.RetryCallState) -> float:
        jittered = tenacity.wait_random_exponential(self.settings.backoff, self.settings.max_backoff)(state)
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, TeacherError) and error.retry_after else 0.0
        return max(jittered, asked)

    async def _sleep(self, seconds: float) -> None:
        with suppress(TimeoutError):
            await asyncio.wait_for(self._stop_event.wait(), seconds)


def used_tokens(completion: Completion) -> int:
    """Return the tokens of a completion, read and written, as far as the server told them."""
    return (completion.prompt_tokens or 0) + (completion.completion_tokens or 0)
