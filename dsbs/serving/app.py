"""The HTTP app: ``/predict``, OpenAI's ``/v1/chat/completions`` and ``/v1/models``, health, metrics, and a page."""

import contextlib
import hmac
import json
import logging
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import HTMLResponse, JSONResponse, Response, StreamingResponse
from starlette.routing import Route

from dsbs.core.errors import DsbsError
from dsbs.core.records import Example
from dsbs.inference.predictions import finite, finite_scores
from dsbs.serving.answering import TEACHER, Answered, Answerer, NoAnswer
from dsbs.serving.batcher import Full
from dsbs.serving.chat import Reader, check_form, chunks, completion, count_choices, write_reply
from dsbs.serving.openapi import SCHEMA
from dsbs.serving.settings import ServeConfig

logger = logging.getLogger(__name__)
PAGE = Path(__file__).with_name("page.html")
FLAGS = ("rationale", "scores", "teacher")  # of a request to ``/predict``
OPEN = {"/healthz", "/readyz"}  # for load balancers, without a token


class BadRequest(Exception):
    """An invalid request; the message is one sentence.

    Attributes:
        code: the HTTP status.
    """

    def __init__(self, message: str, code: int = 400) -> None:
        super().__init__(message)
        self.code = code


class App:
    """The routes of a student's server."""

    def __init__(self, answerer: Answerer, config: ServeConfig, token: str | None = None) -> None:
        self.answerer, self.config, self.token = answerer, config, token
        self.reader = Reader(config.chat)
        self.started = int(time.time())
        self.ready = False

    def build(self) -> Starlette:
        """Return the ASGI app."""
        routes = [
            Route("/", self._guarded(self.page), methods=["GET"]),
            Route("/predict", self._guarded(self.predict), methods=["POST"]),
            Route("/v1/chat/completions", self._guarded(self.chat), methods=["POST"]),
            Route("/v1/models", self._guarded(self.models), methods=["GET"]),
            Route("/v1/models/{name:path}", self._guarded(self.model), methods=["GET"]),
            Route("/healthz", self._guarded(self.health), methods=["GET"]),
            Route("/readyz", self._guarded(self.readiness), methods=["GET"]),
            Route("/metrics", self._guarded(self.metrics), methods=["GET"]),
            Route("/openapi.json", self._guarded(self.schema), methods=["GET"]),
        ]
        handlers: dict[Any, Any] = {HTTPException: self._http_error}
        return Starlette(routes=routes, exception_handlers=handlers, lifespan=self._lifespan)

    @contextlib.asynccontextmanager
    async def _lifespan(self, app: Starlette) -> AsyncIterator[None]:
        async with self.answerer.running():
            self.ready = True
            yield
            self.ready = False

    async def predict(self, request: Request) -> Response:
        """Answer ``/predict``: one input or many.

        Raises:
            BadRequest: the body is invalid.
            DataError: an input is.
        """
        body = await self._json(request)
        many = "inputs" in body
        rows = body["inputs"] if many else [body.get("input")]
        if isinstance(body.get("input"), str) and not many:
            rows = [{name: value for name, value in body.items() if name not in FLAGS}]  # it may have choices, too
        if many == ("input" in body) or not isinstance(rows, list):
            raise BadRequest('Expected either {"input": ...} or {"inputs": [...]}.')
        if not rows or len(rows) > self.config.limits.max_inputs:
            raise BadRequest(
                f"inputs: expected from 1 to {self.config.limits.max_inputs} per request (limits.max_inputs)."
            )
        rationale, scores, teacher = (self._flag(body, name) for name in FLAGS)
        if teacher and many:
            raise BadRequest("teacher: expected with input, not with inputs.")
        if teacher and self.answerer.referee is None:
            raise BadRequest("teacher: this server has none (mode=defer teacher=... gives it one).")
        examples = [self.answerer.service.read(row, number) for number, row in enumerate(rows, 1)]
        if rationale:
            self.answerer.service.check_rationale()
        found = await self.answerer.answer(examples, rationale)
        answers = [show_answer(one, rationale, scores) for one in found]
        if teacher:
            answers[0] |= await self._both(examples[0], found[0])
        return JSONResponse({"predictions": answers} if many else answers[0])

    async def _both(self, example: Example, found: Answered) -> dict[str, Any]:
        """Return the answers of both student and teacher, whichever was given."""
        mine = found.student or found.prediction
        student = {"label": mine.label, "confidence": finite(mine.confidence), "rationale": mine.rationale}
        if found.source == TEACHER:
            content: dict[str, Any] = {"label": found.prediction.label, "rationale": found.prediction.rationale}
        elif found.note:  # it was asked just now
            content = {"label": None, "rationale": None, "note": found.note}
        else:
            assert self.answerer.referee is not None
            opinion = await self.answerer.referee.opinion(example)
            if isinstance(opinion, NoAnswer):
                content = {"label": None, "rationale": None, "note": opinion.why}
            else:
                content = {"label": opinion.label, "rationale": opinion.rationale}
        return {"student": student, "teacher": content}

    async def chat(self, request: Request) -> Response:
        """Answer ``/v1/chat/completions``, as a whole or as server-sent events.

        Raises:
            BadRequest: the body is invalid.
            DataError: its messages are.
        """
        body = await self._json(request)
        count, stream = count_choices(body), self._flag(body, "stream")
        check_form(body, self.config.chat)
        example = self.answerer.service.read(self.reader.read(body), 1)
        if self.config.chat.wants_rationale:
            self.answerer.service.check_rationale()
        [found] = await self.answerer.answer([example], self.config.chat.wants_rationale)
        text = write_reply(found.prediction, self.config.chat)
        extra = {key: value for key, value in show_answer(found, False, False).items() if key != "label"}
        usage = count_tokens(example, text, count)
        whole = completion(text, self.answerer.service.student.name, count, usage, extra)
        if not stream:
            return JSONResponse(whole)
        options = body.get("stream_options")
        with_usage = isinstance(options, dict) and options.get("include_usage") is True
        return StreamingResponse(chunks(whole, with_usage), media_type="text/event-stream")

    async def models(self, request: Request) -> Response:
        """Return the list of models, which has the student only."""
        return JSONResponse({"object": "list", "data": [self._describe()]})

    async def model(self, request: Request) -> Response:
        """Return the student by its name; clients check with it that the model exists.

        Raises:
            BadRequest: another model is asked for.
        """
        found, asked = self._describe(), request.path_params["name"]
        if asked != found["id"]:
            raise BadRequest(f"There is no model {asked[:100]}; this server has {found['id']}.", 404)
        return JSONResponse(found)

    def _describe(self) -> dict[str, Any]:
        name = self.answerer.service.student.name
        able = {
            "rationales": self.answerer.service.student.objective.needs_rationales,
            "teacher": self.answerer.referee is not None,
        }
        return {"id": name, "object": "model", "created": self.started, "owned_by": "dsbs", "dsbs": able}

    async def health(self, request: Request) -> Response:
        """Return that the process is alive."""
        return JSONResponse({"status": "ok"})

    async def readiness(self, request: Request) -> Response:
        """Return whether requests are answered; status 503 if not."""
        return JSONResponse({"ready": self.ready}, 200 if self.ready else 503)

    async def metrics(self, request: Request) -> Response:
        """Return the metrics in Prometheus' format."""
        self.answerer.metrics.waiting.set(len(self.answerer.batcher.waiting))
        return Response(self.answerer.metrics.show(), media_type="text/plain; version=0.0.4")

    async def schema(self, request: Request) -> Response:
        """Return the OpenAPI schema."""
        return JSONResponse(SCHEMA)

    async def page(self, request: Request) -> Response:
        """Return the page to try the student on."""
        return HTMLResponse(PAGE.read_text(encoding="utf-8"), headers={"Content-Security-Policy": CSP})

    async def _json(self, request: Request) -> dict[str, Any]:
        """Return the body of a request.

        Raises:
            BadRequest: it is too large, or not a JSON object.
        """
        most, size, parts = self.config.limits.max_request_bytes, 0, []
        async for part in request.stream():
            size += len(part)
            if size > most:
                raise BadRequest(f"The request is larger than {most:,} bytes (limits.max_request_bytes).", 413)
            parts.append(part)
        try:
            body = json.loads(b"".join(parts).decode("utf-8-sig"), parse_constant=_no_constant)
            json.dumps(body, ensure_ascii=False).encode("utf-8")  # half surrogates cannot be answered
        except (ValueError, RecursionError):
            raise BadRequest("The body is not valid JSON in UTF-8.") from None
        if not isinstance(body, dict):
            raise BadRequest("The body is not a JSON object.")
        return body

    def _flag(self, body: dict[str, Any], name: str) -> bool:
        value = body.get(name)
        if value is not None and not isinstance(value, bool):
            raise BadRequest(f"{name}: expected true or false.")
        return bool(value)

    def _guarded(self, route: Callable[[Request], Awaitable[Response]]) -> Callable[[Request], Awaitable[Response]]:
        """Return the route with token check, metrics, and errors as responses of one sentence."""

        async def guarded(request: Request) -> Response:
            started, path = time.perf_counter(), request.url.path.removesuffix(request.path_params.get("name", ""))
            response = await self._respond(request, route)
            seconds = time.perf_counter() - started
            self.answerer.metrics.requests.labels(path, str(response.status_code)).inc()
            self.answerer.metrics.seconds.labels(path).observe(seconds)
            if self.config.log_requests:
                logger.info("%s %s %d %.1f ms", request.method, path, response.status_code, 1000 * seconds)
            return response

        return guarded

    async def _respond(self, request: Request, route: Callable[[Request], Awaitable[Response]]) -> Response:
        chat = request.url.path.startswith("/v1/")
        try:
            refusal = None if request.url.path in OPEN else refuse(request, self.token, chat)
            return refusal or await route(request)
        except BadRequest as error:
            return problem(str(error), error.code, chat)
        except DsbsError as error:
            return problem(str(error).splitlines()[0], 400, chat)
        except Full as error:
            return problem("Too many requests are queued.", 503, chat, {"Retry-After": str(error.retry_after)})
        except ClientDisconnect:
            return Response(status_code=499)
        except Exception:
            logger.exception("A request failed")
            return problem("The student failed on this input; the server's log says why.", 500, chat)

    async def _http_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        message = {404: explain_missing(request.url.path), 405: "Method not allowed."}
        text = message.get(error.status_code, str(error.detail))
        return problem(text, error.status_code, request.url.path.startswith("/v1/"), dict(error.headers or {}))


CSP = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; img-src data:"


def explain_missing(path: str) -> str:
    """Return the message for an address without a route.

    >>> explain_missing("/chat/completions")
    'Not found: the base_url of a client ends in /v1 here.'
    >>> explain_missing("/v1/responses")
    "Not found: of OpenAI's API this server has /v1/chat/completions and /v1/models."
    """
    if path.startswith("/v1"):
        return "Not found: of OpenAI's API this server has /v1/chat/completions and /v1/models."
    routes = ("/completions", "/models", "/responses")
    return "Not found: the base_url of a client ends in /v1 here." if path.endswith(routes) else "Not found."


def problem(message: str, code: int, chat: bool, headers: dict[str, str] | None = None) -> Response:
    """Return an error response, in OpenAI's format for chat clients."""
    kind = "invalid_request_error" if code < 500 else "server_error"
    body: Any = {"message": message, "type": kind, "param": None, "code": None} if chat else message
    return JSONResponse({"error": body}, code, headers)


def refuse(request: Request, token: str | None, chat: bool) -> Response | None:
    """Return the error response to a request without the right token; None if it has it, or ``token`` is None."""
    scheme, _, given = request.headers.get("authorization", "").partition(" ")
    if token is None or (scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), token.encode())):
        return None
    return problem("The token is missing or wrong (Authorization: Bearer ...).", 401, chat)


def show_answer(found: Answered, rationale: bool, scores: bool) -> dict[str, Any]:
    """Return an answer in the format of ``/predict``, with rationale or scores if wanted."""
    one = found.prediction
    answer: dict[str, Any] = {"label": one.label, "confidence": finite(one.confidence), "source": found.source}
    if found.note:
        answer["note"] = found.note
    if one.truncated:
        answer["truncated"] = True
    if rationale:
        answer["rationale"] = one.rationale
    if scores:
        answer["scores"] = finite_scores(one.scores)
    return answer


def count_tokens(example: Example, text: str, count: int) -> tuple[int, int]:
    """Return estimates of tokens read, and written ``count`` times, of four characters; for information only."""
    return max(1, round(len(example.input) / 4)), count * max(1, round(len(text) / 4))


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")
