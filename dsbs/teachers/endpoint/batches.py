"""The batch API of OpenAI-compatible endpoints: a file of requests is uploaded, results come within 24 hours."""

import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, BinaryIO
from urllib.parse import quote

from dsbs.core.errors import TeacherError
from dsbs.core.records import Completion, Request
from dsbs.core.untrusted import Fields, excerpt, load_json
from dsbs.teachers.endpoint.adapting import Adaptation, find_adaptation
from dsbs.teachers.endpoint.bodies import MAX_FILE
from dsbs.teachers.endpoint.faults import explain_code, explain_status, malformed
from dsbs.teachers.endpoint.http import Connection, Reply
from dsbs.teachers.endpoint.responses import read_answer
from dsbs.teachers.endpoint.words import read_parsed_error, scrub

OVER = ("completed", "failed", "expired", "cancelled")
METADATA = "dsbs"
PAGE = 100
MAX_PAGES = 1000
MAX_ID = 1000  # gateways put whole descriptions into theirs
IDENTIFIER = re.compile(rf"[A-Za-z0-9_-][A-Za-z0-9_.:=-]{{0,{MAX_ID - 1}}}")
REASON = 40
# Clocks differ: only a batch created this long before ours was saved cannot be ours.
SKEW_SECONDS = 86_400.0
NO_BATCHES = {"HTTP 404", "HTTP 405", "HTTP 501"}
# The limit on the tokens of all pending batches.
CROWDED = re.compile(r"token_limit_exceeded|enqueued.{0,20}limit", re.I)
Body = Callable[[Request], dict[str, Any]]


@dataclass(frozen=True)
class BatchState:
    """The state of a batch at the endpoint.

    Attributes:
        remote: the endpoint's id of the batch.
        status: as the endpoint names it; one of ``OVER`` when it has ended.
        answered, failed: lines that are finished.
        files: ids of the files with results and with errors, where they exist.
        explanation: the endpoint's errors about the batch as a whole; empty without.
        crowded: whether it was rejected because of what else is pending, so that it may be sent again later.
    """

    remote: str
    status: str
    answered: int = 0
    failed: int = 0
    files: tuple[str, ...] = ()
    explanation: str = ""
    crowded: bool = False

    @property
    def done(self) -> int:
        """Lines that are finished."""
        return self.answered + self.failed

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.status in OVER


class BatchApi:
    """The files and batches of one endpoint. Methods that call it raise ``TeacherError``.

    Args:
        path: of the API, such as ``/chat/completions``.
        answer_bytes: how large an answer may become; 0: small.

    Attributes:
        adapted: what was changed in requests, because the endpoint rejected them.
    """

    def __init__(self, connection: Connection, path: str, body: Body, answer_bytes: int = 0) -> None:
        self.connection, self.body, self.answer_bytes = connection, body, answer_bytes
        self.endpoint = f"/v1{path}"
        self.adapted: list[Adaptation] = []

    @property
    def address(self) -> str:
        """The base URL of the endpoint."""
        return self.connection.where.base_url

    def most_lines(self, samples: int) -> int:
        """Return how many lines of so many samples a batch may have, so that its file of results can be downloaded."""
        return max(1, MAX_FILE // max(1, self.answer_bytes * samples))

    def line(self, name: str, together: Sequence[Request]) -> bytes:
        """Return one line of a batch's file.

        Args:
            name: of the line, which comes back with its result.
            together: the samples of one question, which become one request (``n``).
        """
        body = self._adapt(together[0], self.adapted) | ({"n": len(together)} if len(together) > 1 else {})
        line = {"custom_id": name, "method": "POST", "url": self.endpoint, "body": body}
        return json.dumps(line).encode() + b"\n"

    def adapt(self, request: Request, error: TeacherError, used: int | None) -> Adaptation | None:
        """Return how to change a rejected request so that it may be accepted, or None; later lines are changed so.

        Args:
            used: how many changes of ``adapted`` it had when it was sent. None: unknown; then nothing is changed.
        """
        before = self.adapted[: used or 0]
        found = find_adaptation(self._adapt(request, before), error.reason, error.explanation, before)
        if found is None or not found.setting:  # a batch cannot be streamed
            return None
        if used is not None and found not in self.adapted:
            self.adapted.append(found)
        return found

    def _adapt(self, request: Request, adaptations: Sequence[Adaptation]) -> dict[str, Any]:
        body = self.body(request)
        for adaptation in adaptations:
            body = adaptation.change(body) if adaptation.concerns(body) else body
        return body

    async def upload(self, content: BinaryIO, token: str) -> str:
        """Upload a batch's file and return the endpoint's id of it.

        Args:
            token: our name for the batch; a part of the file's name.
        """
        fields = {"purpose": "batch"}
        return _identifier(self._read(await self.connection.upload("/files", f"dsbs-{token}.jsonl", content, fields)))

    async def create(self, file: str, token: str) -> BatchState:
        """Start a batch and return its state.

        Args:
            token: our name for the batch; sent as metadata.
        """
        order = {"completion_window": "24h", "endpoint": self.endpoint, "input_file_id": file,
                 "metadata": {METADATA: token}}  # fmt: skip
        return self._read_state(self._read(await self.connection.post("/batches", json.dumps(order).encode())))

    async def find(self, file: str, token: str, since: float) -> BatchState | None:
        """Return a batch that may have been created although the reply was lost, or None.

        Args:
            since: Unix time when it was saved; it was not created before.
        """
        after: dict[str, str] = {}
        for _ in range(MAX_PAGES):
            page = await self._send("GET", "/batches", params={"limit": str(PAGE), **after})
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
        """Return the state of a batch by its id."""
        return self._read_state(await self._send("GET", f"/batches/{_quoted(remote)}"))

    async def download(self, file: str, target: BinaryIO) -> None:
        """Download a file into ``target``, replacing its content, and rewind that."""
        target.seek(0)
        target.truncate()

        reply = await self.connection.download(f"/files/{_quoted(file)}/content", target)
        if reply.status != 200:
            raise self._explain(reply)
        target.seek(0)

    async def forget(self, file: str) -> None:
        """Delete a file at the endpoint."""
        await self._send("DELETE", f"/files/{_quoted(file)}")

    def read_line(self, line: bytes) -> tuple[str, list[Completion] | TeacherError]:
        """Return the name and the result of a line of a file of results: completions, or the error.

        Raises:
            ValueError: where the line is broken.
        """
        parts = Fields(load_json(line))
        name, response, error = parts.text("custom_id"), parts.inside("response"), parts.inside("error")
        if name is None:
            raise ValueError("a line without custom_id")
        if response and response.count("status_code") == 200:
            try:
                return name, read_answer(response.raw("body"), self.connection.key)
            except TeacherError as fault:
                return name, fault
        if response:
            explanation, code = read_parsed_error(response.raw("body"), self.connection.key)
            status = response.count("status_code", limit=999) or 0
            return name, explain_code(status, explanation, code, self.connection.where)
        reason = excerpt(error.text("code") or "no completion", REASON).replace("_", " ")
        explanation = scrub(error.raw("message") or parts.raw("error") or "no explanation", self.connection.key)
        return name, TeacherError(f"{reason}: {explanation}", reason=reason, explanation=explanation)

    def _read_state(self, answer: Fields) -> BatchState:
        counts = answer.inside("request_counts")
        answered, failed = (counts.count(name) or 0 for name in ("completed", "failed"))
        faults = list(islice(answer.inside("errors").each("data"), 3))
        explanation = "; ".join(
            (f"line {line}: " if (line := fault.count("line")) is not None else "") + excerpt(fault.raw("message"))
            for fault in faults
        )
        status = (answer.text("status") or "").lower()
        if not status:
            raise malformed("a batch without a status")
        files = [_identifier(answer, name) for name in ("output_file_id", "error_file_id") if answer.raw(name)]
        crowded = any(CROWDED.search(f"{fault.text('code')} {fault.text('message')}") for fault in faults)
        told = scrub(explanation, self.connection.key)
        return BatchState(_identifier(answer), status, answered, failed, tuple(files), told, crowded)

    async def _send(self, method: str, route: str, **parts: Any) -> Fields:
        return self._read(await self.connection.send(method, route, **parts))

    def _read(self, reply: Reply) -> Fields:
        if not reply.ok:
            raise self._explain(reply)
        try:
            answer = Fields(load_json(reply.content))
        except ValueError:
            answer = Fields(None)
        if not answer or answer.raw("error"):
            raise malformed(reply.content, self.connection.key)
        return answer

    def _explain(self, reply: Reply) -> TeacherError:
        where, key = self.connection.where, self.connection.key
        explained = explain_status(reply.status, reply.content, reply.headers, where, key)
        if explained.reason not in NO_BATCHES:
            return explained
        return TeacherError(
            f"{explained.reason}: {self.address} does not know this file or batch, or has no batch API.",
            fatal=True,
            reason=explained.reason,
        )


def _quoted(id: str) -> str:
    """Return an id as one part of a path: an untrusted store may hold any."""
    return quote(id, safe="")


def _identifier(answer: Fields, name: str = "id") -> str:
    """Return an id; it goes into addresses and to the store, so it may hold no more than ids do."""
    value = answer.text(name, limit=MAX_ID + 1)
    if value is None or not IDENTIFIER.fullmatch(value):
        raise malformed(f"{name}: {excerpt(answer.raw(name))}")
    return value
