"""An endpoint's batch API as OpenAI made it: a file of requests goes up, files of results come down, within a day."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from dsbs.core.errors import TeacherError
from dsbs.core.records import Completion, Request
from dsbs.teachers.responses import Where, explain_error, malformed, read_answer, scrub

if TYPE_CHECKING:
    from openai import AsyncOpenAI

OVER = ("completed", "failed", "expired", "cancelled")
METADATA = "dsbs"
PAGE = 100
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
        return _text(answer, "id")

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
        while True:
            page = await self._send(self.client.batches.with_raw_response.list(limit=PAGE, **after))
            batches = page.get("data")
            if not isinstance(batches, list):
                raise malformed(json.dumps(page).encode())
            for batch in batches:
                if batch.get("input_file_id") == file or (batch.get("metadata") or {}).get(METADATA) == token:
                    return self._read_state(batch)
            if not batches or not page.get("has_more") or batches[-1].get("created_at", 0) < since - SKEW_SECONDS:
                return None
            after = {"after": _text(batches[-1], "id")}

    async def retrieve(self, remote: str) -> BatchState:
        """Ask how far a batch is."""
        return self._read_state(await self._send(self.client.batches.with_raw_response.retrieve(remote)))

    async def download(self, file: str, target: BinaryIO) -> None:
        """Load a file of results, whole."""
        target.seek(0)
        target.truncate()

        async def load() -> None:
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
        parts = json.loads(line)
        if not isinstance(parts, dict) or not isinstance(parts.get("custom_id"), str):
            raise ValueError("a line without custom_id")
        name, response, error = parts["custom_id"], parts.get("response"), parts.get("error")
        if isinstance(response, dict) and response.get("status_code") == 200:
            try:
                return name, read_answer(response.get("body"))
            except TeacherError as fault:
                return name, fault
        if isinstance(response, dict):
            body = response.get("body")
            error = body.get("error", body) if isinstance(body, dict) else body
            reason = f"HTTP {response.get('status_code')}"
        else:
            reason = str(_get(error, "code") or "no completion").replace("_", " ")
        said = " ".join(str(_get(error, "message") or error or "no explanation").split())
        return name, TeacherError(f"{reason}: {scrub(said, self.client.api_key)}", reason=reason)

    def _read_state(self, answer: dict[str, Any]) -> BatchState:
        counts = answer.get("request_counts") or {}
        number = {name: value if isinstance(value := counts.get(name), int) else 0 for name in
                  ("total", "completed", "failed")}  # fmt: skip
        faults = (answer.get("errors") or {}).get("data") or []
        said = "; ".join(f"line {_get(fault, 'line')}: {_get(fault, 'message')}" for fault in faults[:3])
        return BatchState(
            _text(answer, "id"),
            _text(answer, "status"),
            number["completed"] + number["failed"],
            number["total"],
            tuple(filter(None, (answer.get("output_file_id"), answer.get("error_file_id")))),
            scrub(said.replace("line None: ", ""), self.client.api_key),
        )

    async def _send(self, call: Awaitable[Any], patience: int = 1) -> dict[str, Any]:
        response = await self._guard(call, patience)
        try:
            answer = json.loads(response.content)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, dict) or answer.get("error"):
            raise malformed(response.content)
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


def _text(answer: dict[str, Any], name: str) -> str:
    value = answer.get(name)
    if not isinstance(value, str):
        raise malformed(json.dumps(answer).encode())
    return value


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None
