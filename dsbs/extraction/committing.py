"""Group commits: one transaction for all that arrived while the last one was written."""

import asyncio
from collections.abc import Callable

from dsbs.core.records import Completion, Request
from dsbs.store import CompletionStore, Failure, Origin, Outcome

Arrival = tuple[Request, Outcome]


class Committer:
    """Writes completions and failures to the store from a thread of its own; an async context manager.

    Args:
        store: nothing else writes through it meanwhile.
        notice: called with every arrival once it is committed.
    """

    def __init__(self, store: CompletionStore, origin: Origin, notice: Callable[[Arrival], None]) -> None:
        self.store, self.origin, self.notice = store, origin, notice
        self._queue: list[tuple[Arrival, asyncio.Future[None]]] = []
        self._wake = asyncio.Event()
        self._closing = False
        self._writing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> "Committer":
        self._writing = asyncio.create_task(self._write())
        return self

    async def __aexit__(self, *_: object) -> None:
        # What has arrived is written even when the extraction is cancelled: it may have been paid for.
        assert self._writing is not None
        self._closing = True
        self._wake.set()
        await self._writing

    async def commit(self, arrival: Arrival) -> None:
        """Write an arrival, and return when it is committed.

        Raises:
            RunError: where it cannot be written.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._queue.append((arrival, done))
        self._wake.set()
        await done
        self.notice(arrival)

    async def _write(self) -> None:
        while self._queue or not self._closing:
            await self._wake.wait()
            self._wake.clear()
            batch, self._queue = self._queue, []
            error: Exception | None = None
            try:
                # In a thread, because a disk may take its time.
                await asyncio.to_thread(self._store, [arrival for arrival, _ in batch])
            except Exception as raised:
                error = raised
            for _, done in batch:
                if done.done():
                    continue
                if error is None:
                    done.set_result(None)
                else:
                    done.set_exception(error)

    def _store(self, arrivals: list[Arrival]) -> None:
        completions = [(request, outcome) for request, outcome in arrivals if isinstance(outcome, Completion)]
        failures = [(request, outcome) for request, outcome in arrivals if isinstance(outcome, Failure)]
        if completions:
            self.store.add(self.origin, completions)
        if failures:
            self.store.fail(self.origin, failures)
