"""The results of a batch: its files, committed line by line, and failures for requests without a result."""

import asyncio
import logging
import tempfile
from collections.abc import Iterable
from dataclasses import replace
from itertools import chain
from typing import Any, BinaryIO

from dsbs.core.errors import TeacherError
from dsbs.core.records import Completion, Request
from dsbs.core.untrusted import excerpt
from dsbs.extraction.committing import Arrival, Committer
from dsbs.store import Batch, Batches, Failure
from dsbs.teachers.endpoint.adapting import Adaptation
from dsbs.teachers.endpoint.batches import BatchApi, BatchState
from dsbs.teachers.endpoint.bodies import MAX_BODY

logger = logging.getLogger(__name__)

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
        adapted: what the endpoint rejected -> a sentence about what was done.
    """

    def __init__(self, api: BatchApi, records: Batches, committer: Committer, persist: Any) -> None:
        self.api, self.records, self.committer, self.persist = api, records, committer, persist
        self.last_fault = ""
        self.adapted: dict[str, str] = {}
        self._used: int | None = None
        self._again: list[list[Request]] = []
        self._resends = False

    async def collect(
        self, batch: Batch, state: BatchState, used: int | None, *, resend: bool = False
    ) -> list[list[Request]]:
        """Commit the results of a batch, and failures for its other requests. Safe to repeat.

        Args:
            used: changes of ``BatchApi.adapted`` with which it was sent; None: an earlier process sent it.
            resend: whether requests of a batch that expired are to be sent again, if it answered others.

        Returns:
            questions to be sent again: those, and what was rejected, but may be accepted as it is sent from now on;
            they are not in the batch any more.

        Raises:
            TeacherError: where a file cannot be read completely; what could be read is kept.
        """
        self._used, self._again = used, []
        self._resends = resend and state.status == "expired" and state.answered > 0
        try:
            await self.persist(self._read_all, batch, state)
        except TeacherError as error:
            if error.reason != TOO_FEW:  # else that is all there is
                raise
        if self._resends:
            self._again += self.records.lines(batch)
            return self._again
        reason = REASONS.get(state.status, NO_LINE)
        failure = Failure(reason, f"Batch {state.remote} ended as {state.status} without an answer to this request.")
        while rest := self.records.rest(batch, GROUP):
            await self._commit((request, failure) for request in rest)
        return self._again

    async def _read_all(self, batch: Batch, state: BatchState) -> None:
        count = sum([await self._read(batch, file) for file in state.files])
        if count < state.done:
            files = (await self.api.retrieve(state.remote)).files  # some may appear a little later
            count += sum([await self._read(batch, file) for file in files if file not in state.files])
        if count < state.done:
            error = f"The files of batch {batch.remote} hold {count:,} lines; the endpoint says {state.done:,}."
            if state.answered and not count:  # they are paid for, so they are not given up
                error = f"{error} The same command retries. {self.records.explain_abandoning(batch)}"
                raise TeacherError(error, retryable=True, reason="malformed answer")
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
                f"The same command retries. {self.records.explain_abandoning(batch)}",
                retryable=True,
                reason="malformed answer",
            )
        return count

    def _match(self, batch: Batch, answers: Results) -> list[Arrival]:
        """Return the outcomes of pending requests; those to be sent again are taken out of the batch."""
        arrivals: list[Arrival] = []
        rejected: list[list[Request]] = []
        for name, requests in self.records.find(batch, answers.keys()).items():
            answer, places = answers[name], sorted(requests.items())
            if not isinstance(answer, TeacherError):
                done = [(request, answer[place]) for place, request in places if place < len(answer)]
                arrivals += [(request, replace(one, batch=batch.number)) for request, one in done]
                continue
            if self._resends and answer.reason == REASONS["expired"]:
                continue
            found = self.api.adapt(places[0][1], answer, self._used)
            if found is not None and self._used is not None:
                self._note(found, answer)
                rejected.append([request for _, request in places])
                continue
            self.last_fault = f"{answer} Try {found.setting}." if found else str(answer)
            arrivals += [(request, Failure(answer.reason, self.last_fault)) for _, request in places]
        self.records.release(chain(*rejected))
        self._again += rejected
        return arrivals

    def _note(self, found: Adaptation, error: TeacherError) -> None:
        if found.what not in self.adapted:
            self.adapted[found.what] = (
                f"The endpoint rejects {found.what} ({excerpt(error.explanation)!r}): {found.done} for this run, and "
                f"the rejected requests are sent again. To set this yourself: {found.setting}"
            )
            logger.warning(self.adapted[found.what])

    async def _commit(self, arrivals: Iterable[Arrival]) -> None:
        await asyncio.gather(*map(self.committer.commit, arrivals))


def _take_lines(file: BinaryIO) -> list[bytes]:
    """Return the next lines of a file: at most ``GROUP``, and no more than two bodies' worth of bytes.

    A line that is longer than a body may be comes cut, and is broken by that.
    """
    lines: list[bytes] = []
    size = 0
    while len(lines) < GROUP and size <= MAX_BODY and (line := file.readline(MAX_BODY + 1)):
        lines.append(line)
        size += len(line)
        if len(line) > MAX_BODY and not line.endswith(b"\n"):
            while (rest := file.readline(MAX_BODY)) and not rest.endswith(b"\n"):
                pass
    return lines
