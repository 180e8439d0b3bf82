"""An endpoint's batch API as OpenAI made it: a file of requests goes up, files of results come down, within a day."""

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, BinaryIO

from dsbs.core.errors import TeacherError
from dsbs.core.records import Completion, Request
from dsbs.core.untrusted import MOST_NAME, Fields, excerpt, load_json
from dsbs.teachers.bodies import MOST_FILE, most_body
from dsbs.teachers.responses import Where, explain_error, malformed, read_answer, scrub

if TYPE_CHECKING:
    from openai import AsyncOpenAI

OVER = ("completed", "failed", "expired", "cancelled")
METADATA = "dsbs"
PAGE = 100
MOST_PAGES = 1000
IDENTIFIER = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9_.:=-]{0,199}")
REASON = 40
# Clocks differ: a batch that was made so long before ours was written down is none of ours.
SKEW_SECONDS = 86_400.0
# A file of 200 MB takes longer than one request: so many times as long may it take.
FILE_PATIENCE = 10
NO_BATCHES = {"HTTP 404", "HTTP 405", "HTTP 501"}
Body = Callable[[Request], dict[str, Any]]


@dataclass(frozen=True)
class BatchState:
    """How far an endpoint is with a batch.

    Attributes:
        remote: the endpoint's id of the batch.
        status: one of ``OVER``, or that it is under way.
        done: lines that were worked on, those that failed among them.
        total: all lines; 0 where the endpoint has not counted them yet.
        files: ids of the files with results and with errors, as far as there are any.
        said: what the endpoint says was wrong with the batch as a whole.
    """

    remote: str
    status: str
    done: int = 0
    total: int = 0
    files: tuple[str, ...] = ()
    said: str = ""

    @property
    def over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.status in OVER


class BatchApi:
    """The files and batches of one endpoint. Every method raises TeacherError, with what to do.

    Args:
        client: the connection.
        where: what messages have to name.
        path: what the requests are for, such as ``/chat/completions``.
        body: gives the body of a request.
    """

    def __init__(self, client: "AsyncOpenAI", where: Where, path: str, body: Body) -> None:
        self.client, self.where, self.body = client, where, body
        self.endpoint = f"/v1{path}"

    @property
    def address(self) -> str:
        """Where the endpoint is."""
        return self.where.base_url

    def line(self, name: str, together: Sequence[Request]) -> bytes:
        """Return a line of a batch's file.

        Args:
            name: what its result will be found by.
            together: the samples of one question; they are asked for with one request.
        """
        body = self.body(together[0]) | ({"n": len(together)} if len(together) > 1 else {})
        line = {"custom_id": name, "method": "POST", "url": self.endpoint, "body": body}
        return json.dumps(line).encode() + b"\n"

    async def upload(self, content: BinaryIO, token: str) -> str:
        """Upload a batch's file; return the endpoint's id of it."""
        content.seek(0)
        answer = await self._send(
            self.client.files.with_raw_response.create(file=(f"dsbs-{token}.jsonl", content), purpose="batch"),
            patience=FILE_PATIENCE,
        )
        return _identifier(answer)

    async def create(self, file: str, token: str) -> BatchState:
        """Start a batch from an uploaded file."""
        endpoint: Any = self.endpoint
        call = self.client.batches.with_raw_response.create(
            completion_window="24h", endpoint=endpoint, input_file_id=file, metadata={METADATA: token}
        )
        return self._read_state(await self._send(call))

    async def find(self, file: str, token: str, since: float) -> BatchState | None:
        """Look for a batch that may have been made although nobody was told so.

        Args:
            file: the file that it was made from.
            token: its metadata.
            since: Unix time before which it was not made.
        """
        after: Any = {}
        for _ in range(MOST_PAGES):
            page = await self._send(self.client.batches.with_raw_response.list(limit=PAGE, **after))
            batches = list(page.each("data"))
            if not page.has("data"):
                raise malformed(page.raw("object"))
            for batch in batches:
                if batch.text("input_file_id") == file or batch.inside("metadata").text(METADATA) == token:
                    return self._read_state(batch)
            more = bool(batches) and page.raw("has_more") is True
            if not more or (batches[-1].number("created_at") or 0) < since - SKEW_SECONDS:
                return None
            after = {"after": _identifier(batches[-1])}
        raise malformed("a list of batches without an end")

    async def retrieve(self, remote: str) -> BatchState:
        """Ask how far a batch is."""
        return self._read_state(await self._send(self.client.batches.with_raw_response.retrieve(remote)))

    async def download(self, file: str, target: BinaryIO) -> None:
        """Load a file of results, whole."""
        target.seek(0)
        target.truncate()

        async def load() -> None:
            most_body.set(MOST_FILE)
            async with self.client.files.with_streaming_response.content(file) as response:
                async for chunk in response.iter_bytes():
                    target.write(chunk)

        await self._guard(load(), FILE_PATIENCE)
        target.seek(0)

    async def forget(self, file: str) -> None:
        """Delete a file at the endpoint."""
        await self._send(self.client.files.with_raw_response.delete(file))

    def read_line(self, line: bytes) -> tuple[str, list[Completion] | TeacherError]:
        """Return the name of a line of a file of results, and what it says: completions, or why there are none.

        Raises:
            ValueError: where the line is broken.
        """
        parts = Fields(load_json(line))
        name, response, error = parts.text("custom_id"), parts.inside("response"), parts.inside("error")
        if name is None:
            raise ValueError("a line without custom_id")
        if response and response.count("status_code") == 200:
            try:
                return name, read_answer(response.raw("body"), self.client.api_key)
            except TeacherError as fault:
                return name, fault
        if response:
            reason = f"HTTP {response.count('status_code', most=999)}"
            body = response.inside("body")
            error = body.inside("error") or body
            said = error.raw("message") or error.raw("code") or response.raw("body")
        else:
            reason = excerpt(error.text("code") or "no completion", REASON).replace("_", " ")
            said = error.raw("message") or parts.raw("error")
        said = scrub(said or "no explanation", self.client.api_key)
        return name, TeacherError(f"{reason}: {said}", reason=reason)

    def _read_state(self, answer: Fields) -> BatchState:
        counts = answer.inside("request_counts")
        total, done, failed = (counts.count(name) or 0 for name in ("total", "completed", "failed"))
        faults = list(islice(answer.inside("errors").each("data"), 3))
        said = "; ".join(
            (f"line {line}: " if (line := fault.count("line")) is not None else "") + excerpt(fault.raw("message"))
            for fault in faults
        )
        status = answer.text("status")
        if status is None:
            raise malformed("a batch without a status")
        files = [_identifier(answer, name) for name in ("output_file_id", "error_file_id") if name in answer]
        return BatchState(
            _identifier(answer), status, done + failed, total, tuple(files), scrub(said, self.client.api_key)
        )

    async def _send(self, call: Awaitable[Any], patience: int = 1) -> Fields:
        response = await self._guard(call, patience)
        try:
            answer = Fields(load_json(response.content))
        except ValueError:
            answer = Fields(None)
        if not answer or answer.raw("error"):
            raise malformed(response.content, self.client.api_key)
        return answer

    async def _guard(self, call: Awaitable[Any], patience: int) -> Any:
        try:
            async with asyncio.timeout(self.where.timeout * patience):
                return await call
        except Exception as error:
            explained = explain_error(error, self.where, self.client.api_key)
            if explained.reason in NO_BATCHES:
                explained = TeacherError(
                    f"{explained.reason}: {self.address} does not know this file or batch, or has no batch API at all.",
                    fatal=True,
                    reason=explained.reason,
                )
            raise explained from None


def _identifier(answer: Fields, name: str = "id") -> str:
    """Return an id; it goes into addresses and to the store, so it may hold no more than ids do."""
    value = answer.text(name, most=MOST_NAME + 1)
    if value is None or not IDENTIFIER.fullmatch(value):
        raise malformed(f"{name}: {excerpt(answer.raw(name))}")
    return value
