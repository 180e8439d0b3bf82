"""The results of a batch: its files, committed line by line, and failures for requests without a result."""

import asyncio
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any, BinaryIO

from dsbs.core.errors import TeacherError
from dsbs.core.records import Completion
from dsbs.extraction.committing import Arrival, Committer
from dsbs.store import Batch, Batches, Failure
from dsbs.teachers.endpoint.batches import BatchApi, BatchState
from dsbs.teachers.endpoint.bodies import MOST_BODY

GROUP = 500
NO_LINE = "no answer in the batch"
TOO_FEW = "too few lines"
REASONS = {"expired": "batch expired", "cancelled": "batch cancelled"}
Results = dict[str, list[Completion] | TeacherError]


class Collector:
    """Collects batches that have ended.

    Args:
        persist: calls a function with retries.

    Attributes:
        last_fault: the message of the last failed request.
    """

    def __init__(self, api: BatchApi, books: Batches, committer: Committer, persist: Any) -> None:
        self.api, self.books, self.committer, self.persist = api, books, committer, persist
        self.last_fault = ""

    async def collect(self, batch: Batch, state: BatchState) -> None:
        """Commit the results of a batch, and failures for its other requests. Safe to repeat.

        Raises:
            TeacherError: where a file cannot be read completely; what could be read is kept.
        """
        try:
            await self.persist(self._read_all, batch, state)
        except TeacherError as error:
            if error.reason != TOO_FEW:  # else that is all there is
                raise
        reason = REASONS.get(state.status, NO_LINE)
        failure = Failure(reason, f"Batch {state.remote} ended as {state.status} without an answer to this request.")
        while rest := self.books.rest(batch, GROUP):
            await self._commit((request, failure) for request in rest)

    async def _read_all(self, batch: Batch, state: BatchState) -> None:
        count = sum([await self._read(batch, file) for file in state.files])
        if state.status == "completed" and count < state.done:
            error = f"The files of batch {batch.remote} hold {count:,} lines; the endpoint says {state.done:,}."
            raise TeacherError(error, retryable=True, reason=TOO_FEW)

    async def _read(self, batch: Batch, file: str) -> int:
        """Load a file of results and commit it; lines that were committed before are passed over. Return its lines."""
        count = broken = 0
        with tempfile.TemporaryFile() as target:
            await self.api.download(file, target)
            while lines := _take_lines(target):
                answers: Results = {}
                for line in filter(bytes.strip, lines):
                    count += 1
                    try:
                        name, answer = self.api.read_line(line)
                        answers.setdefault(name, answer)
                    except ValueError:
                        broken += 1
                await self._commit(self._match(batch, answers))
        if broken:
            raise TeacherError(
                f"{broken:,} lines of {file}, a result of batch {batch.remote}, cannot be parsed; the others are kept. "
                f"The same command retries. {self.books.explain_abandoning(batch)}",
                retryable=True,
                reason="malformed answer",
            )
        return count

    def _match(self, batch: Batch, answers: Results) -> Iterator[Arrival]:
        for name, requests in self.books.find(batch, answers.keys()).items():
            answer = answers[name]
            for place, request in sorted(requests.items()):
                if isinstance(answer, TeacherError):
                    self.last_fault = str(answer)
                    yield request, Failure(answer.reason, str(answer))
                elif place < len(answer):
                    yield request, replace(answer[place], batch=batch.number)

    async def _commit(self, arrivals: Iterable[Arrival]) -> None:
        await asyncio.gather(*map(self.committer.commit, arrivals))


def _take_lines(file: BinaryIO) -> list[bytes]:
    """Return the next lines of a file: at most ``GROUP``, and no more than two bodies' worth of bytes.

    A line that is longer than a body may be comes cut, and is broken by that.
    """
    lines: list[bytes] = []
    size = 0
    while len(lines) < GROUP and size <= MOST_BODY and (line := file.readline(MOST_BODY + 1)):
        lines.append(line)
        size += len(line)
        if len(line) > MOST_BODY and not line.endswith(b"\n"):
            while (rest := file.readline(MOST_BODY)) and not rest.endswith(b"\n"):
                pass
    return lines
