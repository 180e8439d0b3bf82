"""``mode=record``: a transparent proxy to an LLM that records complete exchanges.

The answer is streamed through byte for byte; only its last piece waits until the exchange is on disk. So every
exchange that an application received in full is in the store.
"""

import asyncio
import contextlib
import json
import logging
import random
import time
import zlib
from collections.abc import AsyncIterator

import httpx
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from dsbs.core.errors import RunError, TeacherError
from dsbs.core.secrets import find_secrets
from dsbs.core.terminal import log_once
from dsbs.serving.app import explain_missing, problem, refuse
from dsbs.serving.metrics import Metrics
from dsbs.serving.settings import Recording, ServeConfig
from dsbs.serving.traffic import Exchange, TrafficStore
from dsbs.teachers.endpoint.address import Address, leads_here
from dsbs.teachers.endpoint.responses import read_completions

logger = logging.getLogger(__name__)
# Hop-by-hop headers (RFC 9110), and those that the HTTP client sets itself.
HOP = {"connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "proxy-authorization",
       "proxy-authenticate", "host", "content-length", "accept-encoding"}  # fmt: skip
OTHER_APIS = ("/responses", "/completions", "/messages")  # of texts, too, and not recorded
MAX_RECORDED = 16_000_000  # bytes of an answer; larger ones are not recorded


class CutOff(Exception):
    """The LLM stopped within an answer."""


class _Passing(StreamingResponse):
    """An answer on its way; one that is cut off stays without an end, so that the server closes the connection."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with contextlib.suppress(CutOff):
            await super().__call__(scope, receive, send)


class Proxy:
    """Forwards requests and records chat completions.

    Args:
        key: the LLM's API key, sent in place of the client's; None: the client's, if ``token`` is None.
    """

    def __init__(
        self,
        where: Address,
        store: TrafficStore,
        config: ServeConfig,
        token: str | None = None,
        key: str | None = None,
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.where, self.store, self.config, self.token, self.key = where, store, config, token, key
        self.settings: Recording = config.record
        self.metrics = Metrics()
        self.client: httpx.AsyncClient | None = None
        self.transport = transport

    def build(self) -> Starlette:
        """Return the ASGI app."""
        every = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "HEAD"]
        routes = [
            Route("/healthz", self.health, methods=["GET"]),
            Route("/readyz", self.health, methods=["GET"]),
            Route("/metrics", self.show_metrics, methods=["GET"]),
            Route("/v1/{path:path}", self.forward, methods=every),
        ]
        return Starlette(routes=routes, exception_handlers={404: self._missing}, lifespan=self._lifespan)

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        timeout = httpx.Timeout(self.settings.timeout_s, connect=10.0)
        limits = httpx.Limits(max_connections=self.config.limits.queue)
        through = not leads_here(self.where.base_url)  # this machine is not reached by a proxy of the environment
        async with httpx.AsyncClient(
            timeout=timeout, limits=limits, transport=self.transport, trust_env=through
        ) as self.client:
            yield
        self.store.close()

    async def _missing(self, request: Request, error: Exception) -> Response:
        return problem(explain_missing(request.url.path), 404, True)

    async def health(self, request: Request) -> Response:
        """Return that the process is alive."""
        return JSONResponse({"status": "ok"})

    async def show_metrics(self, request: Request) -> Response:
        """Return the metrics in Prometheus' format."""
        if refusal := refuse(request, self.token, chat=False):
            return refusal
        return Response(self.metrics.show(), media_type="text/plain; version=0.0.4")

    async def forward(self, request: Request) -> Response:
        """Forward a request to the LLM and its answer to the client."""
        if refusal := refuse(request, self.token, chat=True):
            return refusal
        if ".." in request.path_params["path"].split("/"):
            return problem("The address leads out of /v1.", 400, True)
        body, most = b"", self.config.limits.max_request_bytes
        try:
            async for part in request.stream():
                body += part
                if len(body) > most:
                    return problem(f"The request is larger than {most:,} bytes (limits.max_request_bytes).", 413, True)
        except ClientDisconnect:
            return Response(status_code=499)
        started = time.time()
        sent = self._request(request, body)
        assert self.client is not None
        try:
            answer = await self.client.send(sent, stream=True)
        except httpx.HTTPError as error:
            logger.warning("the LLM cannot be reached: %s", type(error).__name__)
            return problem(f"The LLM behind this proxy cannot be reached ({type(error).__name__}).", 502, True)
        theirs = [request.headers[name] for name in find_secrets(dict(request.headers))]
        keys = " ".join([*theirs, self.key or "", self.token or ""])
        secrets = [word for word in keys.split() if len(word) > 7]  # not "Bearer"
        path, fine = request.url.path.rstrip("/"), answer.status_code == 200
        recorded = fine and path.endswith("/chat/completions") and random.random() < self.settings.share  # noqa: S311
        if fine and path.endswith(OTHER_APIS) and not path.endswith("/chat/completions"):
            self.metrics.recorded.labels("not_recorded").inc()
            log_once(f"Requests to {path} are forwarded and NOT recorded: only those to /v1/chat/completions are.")
        body = unpack(body, request.headers.get("content-encoding"))
        stream = self._pass(answer, body if recorded else None, started, secrets)
        self.metrics.requests.labels("/v1", str(answer.status_code)).inc()
        passing = _Passing(stream, answer.status_code)
        # As they were sent: a name may be there twice (set-cookie), a value have bytes of any encoding.
        passing.raw_headers = [pair for pair in answer.headers.raw if pair[0].decode("latin-1").lower() not in HOP]
        return passing

    def _request(self, request: Request, body: bytes) -> httpx.Request:
        """Return the request to the LLM: the client's own bytes, and the LLM's key if there is one."""
        headers = [(name, value) for name, value in request.headers.raw if name.decode("latin-1").lower() not in HOP]
        if self.token is not None or self.key is not None:
            own = (b"authorization", self.where.api_key_header.lower().encode())
            headers = [(name, value) for name, value in headers if name.lower() not in own]
            key_header = self.where.key_header(self.key) if self.key else {}
            headers += [(name.encode(), value.encode()) for name, value in key_header.items()]
        # The path as it was sent: decoded, another one may come of it.
        path = request.scope.get("raw_path", request.url.path.encode()).decode("latin-1").partition("/v1/")[2]
        query = request.scope["query_string"].decode("latin-1")
        url = f"{self.where.base_url.rstrip('/')}/{path}" + (f"?{query}" if query else "")
        assert self.client is not None
        # Uncompressed, so that the forwarded bytes can be recorded.
        headers.append((b"accept-encoding", b"identity"))
        return self.client.build_request(request.method, url, headers=headers, content=body)

    async def _pass(
        self, answer: httpx.Response, body: bytes | None, started: float, secrets: list[str]
    ) -> AsyncIterator[bytes]:
        """Yield the answer as it arrives; the last piece once the exchange is on disk."""
        pieces: list[bytes] = []
        size, last = 0, b""
        try:
            async for piece in answer.aiter_raw():
                if last:
                    yield last
                last = piece
                size += len(piece)
                if body is not None and size <= MAX_RECORDED:
                    pieces.append(piece)
            if body is not None:
                whole = b"".join(pieces) if size <= MAX_RECORDED else b""
                await self._record(body, unpack(whole, answer.headers.get("content-encoding")), started, secrets)
            if last:
                yield last
        except httpx.HTTPError as error:
            logger.warning("the LLM stopped within an answer (%s); the application is cut off", type(error).__name__)
            raise CutOff from None
        finally:
            await answer.aclose()

    async def _record(self, body: bytes, answer: bytes, started: float, secrets: list[str]) -> None:
        exchange = read_exchange(body, answer, started)
        if exchange is None:
            self.metrics.recorded.labels("not_recorded").inc()
            logger.warning("an answer is not a readable chat completion; it was forwarded and not recorded")
            return
        try:
            await asyncio.to_thread(self.store.add, exchange, secrets)
            self.metrics.recorded.labels("recorded").inc()
        except RunError as error:
            # The application still gets its answer; the warning says that recording is incomplete.
            self.metrics.recorded.labels("not_recorded").inc()
            logger.error("an answer was forwarded and NOT recorded: %s", error)


def unpack(body: bytes, encoding: str | None) -> bytes:
    """Return a body uncompressed: some gateways compress whatever they were asked for."""
    if encoding in ("gzip", "x-gzip", "deflate"):
        with contextlib.suppress(zlib.error):
            return zlib.decompressobj(wbits=47).decompress(body, MAX_RECORDED)  # of either header
    return body


def read_exchange(body: bytes, answer: bytes, started: float) -> Exchange | None:
    """Return a request with its answer, or None if they are not a chat completion.

    Args:
        answer: JSON or server-sent events.
        started: Unix time in seconds.
    """
    try:
        asked = json.loads(body)
        messages = asked["messages"]
        completion = read_completions(answer)[0]
    except (TeacherError, ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError):
        return None
    if not isinstance(messages, list):
        return None
    return Exchange(
        started, time.time() - started, completion.model, messages, completion.text, completion.finish_reason
    )
