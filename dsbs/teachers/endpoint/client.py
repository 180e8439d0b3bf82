"""Requests to an OpenAI-compatible endpoint, adapted to what it supports."""

import json
import logging
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import urljoin

import orjson

from dsbs.core.errors import TeacherError
from dsbs.core.records import Completion, Request
from dsbs.core.untrusted import excerpt
from dsbs.teachers.endpoint.adapting import Adaptation, find_adaptation
from dsbs.teachers.endpoint.batches import Body
from dsbs.teachers.endpoint.faults import explain_status
from dsbs.teachers.endpoint.headers import ServerLimits, read_limits
from dsbs.teachers.endpoint.http import Connection, Reply
from dsbs.teachers.endpoint.responses import read_completions

logger = logging.getLogger(__name__)

REFUSED = {"HTTP 400", "HTTP 422", "HTTP 501", "error 400", "error in answer"}
# Some servers fail over ``n`` with a status that says nothing.
_SAMPLES = re.compile(r"\bn\b|choices?\b|samples", re.I)
UNCLEAR = {"HTTP 404", "HTTP 500"}


class Endpoint:
    """An ``Ask`` that sends requests to one endpoint.

    Args:
        path: of the API, such as ``/chat/completions``.

    Attributes:
        notes: sentences about adaptations to it, for the user.
        one_at_a_time: whether it ignores or rejects ``n``.
    """

    def __init__(self, connection: Connection, path: str, body: Body) -> None:
        self.connection, self.path, self.body = connection, path, body
        self.limits = ServerLimits()
        self.notes: list[str] = []
        self.one_at_a_time = False
        self._adapted: list[Adaptation] = []
        self._told_logprobs = False

    async def __call__(self, request: Request) -> Completion:
        """Return the endpoint's answer to one request.

        Raises:
            TeacherError: for everything that can go wrong, saying what to do.
        """
        return (await self._ask(self.body(request)))[0]

    async def several(self, requests: Sequence[Request]) -> list[Completion]:
        """Return several samples of one question with one HTTP request, where the endpoint supports ``n``.

        Returns:
            as many completions as came, at least one: an endpoint without ``n`` returns one, and is asked for one at
            a time from then on.
        """
        if self.one_at_a_time:
            return [await self(requests[0])]
        try:
            completions = await self._ask(self.body(requests[0]) | {"n": len(requests)})
        except TeacherError as error:
            unclear = error.reason in UNCLEAR and _SAMPLES.search(error.explanation)
            if error.reason not in REFUSED and not unclear:
                raise
            completions = [await self(requests[0])]
        if len(completions) == 1 and not self.one_at_a_time:
            self.one_at_a_time = True
            self._note("The endpoint returns one completion per request: samples are requested one at a time.")
        return completions[: len(requests)]

    async def _ask(self, body: dict[str, Any]) -> list[Completion]:
        """Send a request; where the endpoint says what it does not know, leave that out from then on."""
        while True:
            used, sent = len(self._adapted), body
            for adaptation in self._adapted:
                if adaptation.concerns(sent):
                    sent = adaptation.change(sent)
            try:
                return await self._send(sent)
            except TeacherError as error:
                if used < len(self._adapted):
                    continue  # somebody else has found out meanwhile
                found = find_adaptation(sent, error.reason, error.explanation, self._adapted)
                if found is None:
                    raise
                self._adapted.append(found)
                self._note(
                    f"The endpoint rejects {found.what} ({excerpt(error.explanation)!r}): {found.done} for this run."
                    + f" To set this yourself: {found.setting}" * bool(found.setting)
                )

    def _note(self, note: str) -> None:
        logger.warning(note)
        self.notes.append(note)

    async def _send(self, body: dict[str, Any]) -> list[Completion]:
        where, key, path = self.connection.where, self.connection.key, self.path
        reply = await self.connection.post(path, encode(body))
        if slashed := find_moved(reply, where.base_url, path):
            self.path = slashed
            reply = await self.connection.post(slashed, encode(body))
        if not reply.ok:
            raise explain_status(reply.status, reply.content, reply.headers, where, key)
        self.limits = read_limits(reply.headers)
        completions = read_completions(reply.content, key, where)
        if "logprobs" in body and not self._told_logprobs and not any(one.logprobs for one in completions):
            self._told_logprobs = True
            self._note("The endpoint returns no log-probabilities (teacher.top_logprobs); the texts are kept without.")
        return completions


def find_moved(reply: Reply, base_url: str, path: str) -> str | None:
    """Return the path to which a redirect leads that adds or drops a slash at the end and nothing else; or None.

    It is asked with POST again, also after 301 and 302.
    """
    if reply.status not in (301, 302, 307, 308):
        return None
    base = base_url.rstrip("/")
    location = urljoin(base + path, str(reply.headers.get("Location") or ""))
    same = location != base + path and location.rstrip("/") == (base + path).rstrip("/")
    return location.removeprefix(base) if same else None


def encode(body: dict[str, Any]) -> bytes:
    """Return a body as JSON bytes."""
    try:
        return orjson.dumps(body)
    except TypeError:  # half surrogates, integers beyond 64 bits
        return json.dumps(body).encode()
