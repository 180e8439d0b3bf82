"""Dynamic batching of concurrent requests, with a bounded queue."""

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from dsbs.core.records import Example, Prediction
from dsbs.serving.settings import Limits

Answer = Callable[[Sequence[Example], bool], list[Prediction]]


class Full(Exception):
    """The queue is full, or a request timed out in it.

    Attributes:
        retry_after: seconds until a retry makes sense.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__("overloaded")
        self.retry_after = retry_after


@dataclass(eq=False)
class _Waiting:
    example: Example
    rationale: bool
    done: asyncio.Future[Prediction]
    since: float = field(default_factory=time.monotonic)


class Batcher:
    """Collects requests and answers them in batches, in one thread.

    Args:
        answer: (examples, whether with rationales) -> answers; called in the thread.
        observe: called with the size of every batch.
    """

    def __init__(self, answer: Answer, limits: Limits, observe: Callable[[int], None] = lambda size: None) -> None:
        self.answer, self.limits, self.observe = answer, limits, observe
        self.waiting: list[_Waiting] = []
        self.seconds_per_batch = 0.05  # a running mean, for Retry-After
        self._wake = asyncio.Event()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="student")
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Start answering; must be called in the event loop."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Answer the queued requests, then stop."""
        while self.waiting:
            await asyncio.sleep(0.01)
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        self._thread.shutdown(wait=True)

    async def ask(self, examples: Sequence[Example], rationale: bool = False) -> list[Prediction]:
        """Return the answers to examples, in their order.

        Raises:
            Full: the queue has no room for them, or they took longer than ``limits.timeout_s``.
        """
        if self.waiting and len(self.waiting) + len(examples) > self.limits.queue:
            raise Full(self.retry_after())
        loop = asyncio.get_running_loop()
        mine = [_Waiting(example, rationale, loop.create_future()) for example in examples]
        self.waiting += mine
        self._wake.set()
        futures = [one.done for one in mine]
        try:
            async with asyncio.timeout(self.limits.timeout_s):
                return list(await asyncio.gather(*futures))
        except TimeoutError:
            raise Full(self.retry_after()) from None
        finally:
            for future in futures:
                future.cancel()

    def retry_after(self) -> int:
        """Return in how many seconds the queue is expected to be empty, at least 1."""
        batches = len(self.waiting) / self.limits.max_batch
        return max(1, round(batches * self.seconds_per_batch))

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await self._wake.wait()
            self._wake.clear()
            if self.limits.max_wait_ms and len(self.waiting) < self.limits.max_batch:
                await asyncio.sleep(self.limits.max_wait_ms / 1000)
            while batch := self._take():
                started = time.monotonic()
                found = await loop.run_in_executor(self._thread, self._answer, batch)
                for one, answer in zip(batch, found, strict=True):
                    if one.done.done():
                        continue
                    if isinstance(answer, Exception):
                        one.done.set_exception(answer)
                    else:
                        one.done.set_result(answer)
                self.seconds_per_batch += 0.2 * (time.monotonic() - started - self.seconds_per_batch)

    def _take(self) -> list[_Waiting]:
        """Return the next batch of requests that were not cancelled, all with rationales or all without."""
        self.waiting = [one for one in self.waiting if not one.done.done()]
        if not self.waiting:
            return []
        rationale = self.waiting[0].rationale
        batch = [one for one in self.waiting if one.rationale is rationale][: self.limits.max_batch]
        taken = set(map(id, batch))
        self.waiting = [one for one in self.waiting if id(one) not in taken]
        self.observe(len(batch))
        return batch

    def _answer(self, batch: list[_Waiting]) -> list[Prediction | Exception]:
        """Return an answer, or why there is none, for each of a batch; where it fails, each is answered alone."""
        try:
            return list(self.answer([one.example for one in batch], batch[0].rationale))
        except Exception as error:
            if len(batch) == 1:
                return [error]
        return [self._answer([one])[0] for one in batch]
