"""``executor=batch``: uploads files of requests, waits and collects, over several processes if need be.

A batch is saved in the store before it is sent, with a token that is sent along. A process that finds a batch there
without the endpoint's id looks for its token at the endpoint: either it was created, or its requests are free again.
"""

import asyncio
import contextlib
import logging
import tempfile
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import BinaryIO, ClassVar

from dsbs.core.errors import ConfigError, TeacherError
from dsbs.core.records import Request
from dsbs.extraction.budget import Reservation
from dsbs.extraction.executors.base import HOPELESS_ATTEMPTS, Executor, Parts, Portion, QuestionQueue
from dsbs.extraction.executors.batch_results import NO_LINE, Collector
from dsbs.store import Batch, Batches, CompletionStore, line_name
from dsbs.teachers.endpoint.batches import BatchApi, BatchState

logger = logging.getLogger(__name__)

MEGABYTE = 1_000_000
# Seconds without an answer after which polling ends: by then all batches have.
MAX_UNREACHABLE = 24 * 3600.0
MALFORMED = "malformed answer"
# Endpoints without `n` reject the line or give one answer; then the samples are requested one by one.
ONE_BY_ONE = {"HTTP 400", "HTTP 422", NO_LINE}


@dataclass
class Sent:
    """A batch at the endpoint.

    Attributes:
        state: its state there.
        cost: the reserved tokens.
        used: changes of ``BatchApi.adapted`` with which it was sent; None: an earlier process sent it.
    """

    batch: Batch
    state: BatchState
    cost: Reservation
    used: int | None = None


class BatchExecutor(Executor):
    """The executor of batches.

    Args:
        parts: of the extraction; from ``under_way``, requests in a saved batch are removed.
    """

    batches: ClassVar[bool] = True

    @classmethod
    @asynccontextmanager
    async def open(cls, parts: Parts) -> AsyncIterator["BatchExecutor"]:
        """Yield a ``BatchExecutor`` on the teacher's batch API.

        Its records have a connection of their own, since the committer writes in another thread.
        """
        job = parts.job
        async with job.teacher.connect_batches() as api:
            with CompletionStore(job.store_path) as store:
                yield cls(api, Batches(store, parts.origin), parts)

    def __init__(self, api: BatchApi, records: Batches, parts: Parts) -> None:
        super().__init__(parts.job.settings, parts.stats)
        self.api, self.records, self.parts, self.spending = api, records, parts, parts.spending
        self.sent: dict[int, Sent] = {}
        self.at_once = self.settings.batch.at_once
        self._queue = QuestionQueue([], self.spending)
        self._tried: set[int] = set()
        self._unreachable: float | None = None
        self.collector = Collector(api, records, parts.committer, self.persist)

    async def run(self, questions: Iterable[list[Request]]) -> None:
        """Send and collect batches; return when all have ended, without ``batch.wait`` after one poll, or when stopped.

        Raises:
            TeacherError: where no request can succeed; batches at the endpoint continue there.
            ConfigError: where a pending batch was sent to another endpoint.
        """
        task = asyncio.create_task(self._work(questions))
        self._tasks.add(task)
        await asyncio.wait({task})
        if not task.cancelled() and (error := task.exception() or self.error):
            if self.stopped and not self.error and isinstance(error, TeacherError) and error.retryable:
                return  # it was not tried to the end
            raise error

    def describe(self) -> list[str]:
        if not self.sent:
            return []
        states = [sent.state for sent in self.sent.values()]
        total = sum(sent.batch.requests for sent in self.sent.values())
        done = sum(state.done for state in states)
        which = states[0].remote if len(states) == 1 else f"{len(states)} batches"
        return [f"{which} at the endpoint ({', '.join(dict.fromkeys(state.status for state in states))}): "
                f"{done:,} of {total:,} done there"]  # fmt: skip

    async def _work(self, questions: Iterable[list[Request]]) -> None:
        await self._recover()
        self._queue = queue = QuestionQueue(self._split(questions), self.spending)
        while not self.stopped:
            await self._send(queue)
            if queue.exhausted:
                self.parts.all_sent()
            await self._poll()
            if (not self.sent and queue.exhausted) or not self.settings.batch.wait:
                break
            if self.sent:
                await self._sleep(self.settings.batch.poll)
        self.stats.notes |= dict.fromkeys(self.collector.adapted.values())

    def _split(self, questions: Iterable[list[Request]]) -> Iterator[list[Request]]:
        for together in questions:
            failures = self.records.store.failures(map(self.records.origin.key, together)) if len(together) > 1 else {}
            if any(failure.reason in ONE_BY_ONE for failure in failures.values()):
                yield from ([request] for request in together)
            else:
                yield together

    async def _recover(self) -> None:
        """Resume the batches of earlier processes."""
        for batch in self.records.open():
            if batch.address != self.api.address:
                raise ConfigError(
                    f"Batch {batch.remote or batch.token} was sent to {batch.address}, not to {self.api.address}. Type "
                    f"teacher.base_url={batch.address}. {self.records.explain_abandoning(batch)}"
                )
            if batch.remote is None:
                found = batch.file and await self.persist(self.api.find, batch.file, batch.token, batch.created)
                if not found:
                    self.records.end(batch)
                    if batch.file:
                        with contextlib.suppress(TeacherError):
                            await self.api.forget(batch.file)
                    continue
                batch = self.records.note_remote(batch, found.remote)
            cost = self.spending.estimate(batch.characters, batch.requests)
            self._expect(batch, BatchState(batch.remote or "", "sent before"), cost)

    async def _send(self, queue: QuestionQueue) -> None:
        """Send as many batches as ``batch.at_once`` and the budget allow."""
        most = self.settings.batch.megabytes * MEGABYTE
        most_lines = min(self.settings.batch.requests, self.api.most_lines(self.settings.samples))
        while not self.stopped and len(self.sent) < self.at_once:
            with tempfile.TemporaryFile() as file:

                def fits(together: list[Request], file: BinaryIO = file) -> bool:
                    line = self.api.line(line_name(self.records.origin, together), together)
                    if file.tell() and file.tell() + len(line) > most:
                        return False
                    file.write(line)
                    return True

                portion = queue.take(most_lines, fits)
                if portion.questions:
                    await self._send_one(portion, file)
                    continue
            if queue.bound and not self.sent:
                self.stop(f"{queue.bound} is reached")
            return

    async def _send_one(self, portion: Portion, file: BinaryIO) -> None:
        used = len(self.api.adapted)
        batch = self.records.plan(self.api.address, portion.questions, portion.characters)
        for together in portion.questions:
            self.parts.under_way.difference_update(map(self.records.origin.key, together))
        try:
            batch = self.records.note_file(batch, await self.persist(self.api.upload, file, batch.token))
            state = await self.persist(self._create, batch)
        except TeacherError as error:
            if not error.retryable:  # it was refused, so there is nothing to look for
                self.records.end(batch)
            raise
        self._expect(self.records.note_remote(batch, state.remote), state, portion.cost, used)

    async def _create(self, batch: Batch) -> BatchState:
        assert batch.file is not None
        if batch.number in self._tried:  # the answer may have been lost on its way: look before it is made twice
            found = await self.api.find(batch.file, batch.token, batch.created)
            if found is not None:
                return found
        self._tried.add(batch.number)
        return await self.api.create(batch.file, batch.token)

    def _expect(self, batch: Batch, state: BatchState, cost: Reservation, used: int | None = None) -> None:
        self.spending.reserve(cost)
        self.sent[batch.number] = Sent(batch, state, cost, used)

    async def _poll(self) -> None:
        """Poll the batches, and collect those that have ended."""
        for sent in list(self.sent.values()):
            if self.stopped:
                return
            assert sent.batch.remote is not None
            try:
                sent.state = await self.persist(self.api.retrieve, sent.batch.remote)
                if sent.state.over:
                    await self._collect(sent)
            except TeacherError as error:
                if self._wait_for_endpoint(error):
                    return
                if error.reason != "HTTP 404":
                    raise
                raise TeacherError(
                    f"{error} The store expects batch {sent.batch.remote}, {sent.batch.requests:,} requests. Was it "
                    f"sent with another key? {self.records.explain_abandoning(sent.batch)}",
                    fatal=True,
                ) from None
        self._unreachable = None

    def _wait_for_endpoint(self, error: TeacherError) -> bool:
        """Return whether to wait for the next poll, as the endpoint cannot be reached: the batches go on there."""
        if not error.retryable or error.fatal or error.reason == MALFORMED or not self.settings.batch.wait:
            return False
        now = time.monotonic()
        if self._unreachable is None:
            self._unreachable = now
            logger.warning("%s The batches go on at the endpoint; polling continues.", error)
        return now - self._unreachable < MAX_UNREACHABLE and not self.stopped

    async def _collect(self, sent: Sent) -> None:
        """Commit the results of a batch that has ended, and close it."""
        state, answered, failed = sent.state, self.stats.answered, self.stats.failed
        if state.status == "failed":
            waits = state.crowded and sent.used is not None and len(self.sent) > 1
            lines = self.records.lines(sent.batch) if waits else []
            self._close(sent)
            if waits:
                self.at_once = len(self.sent)
                self._send_again(lines)
                logger.warning("%s (%s). %d batches are pending; it is sent again when one of them has ended.",
                               state.remote, state.explanation, self.at_once)  # fmt: skip
                return
            raise TeacherError(
                f"Batch {state.remote} was rejected: {state.explanation or 'no explanation'}. None of its requests was "
                "processed or billed; the next run sends it again. If it is too large, lower batch.requests or "
                "batch.at_once.",
                fatal=True,
            )
        # What another process sent may be sent again by that one.
        resend = self.settings.batch.wait and sent.used is not None
        again = await self.collector.collect(sent.batch, state, sent.used, resend=resend)
        if state.status == "expired" and again:
            logger.warning("Batch %s expired; %d of its questions are sent again.", state.remote, len(again))
        self._close(sent)
        self._send_again(again)
        answered, failed = self.stats.answered - answered, self.stats.failed - failed
        # With several samples the endpoint may only not know `n`: the next run asks one by one.
        sure = self.settings.samples == 1 and state.status == "completed" and not self.stats.proven
        if sure and not answered and failed >= HOPELESS_ATTEMPTS:
            error = f"None of the {failed:,} requests of batch {state.remote} was answered; the last of them: "
            self.stop("hopeless", TeacherError(error + self.collector.last_fault))

    def _send_again(self, questions: list[list[Request]]) -> None:
        self.parts.under_way.update(self.records.origin.key(request) for together in questions for request in together)
        self._queue.give_back(questions)

    def _close(self, sent: Sent) -> None:
        self.records.end(sent.batch)
        self.spending.reserve(sent.cost, sign=-1)
        del self.sent[sent.batch.number]
