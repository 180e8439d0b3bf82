"""An OpenAI-compatible server on loopback that answers by script, faults included. Real HTTP, no model."""

import asyncio
import json
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from aiohttp import web

Script = Callable[[int, str], str | None]
Answer = Callable[[str], str]

FAULTS = (
    "429", "429_retry_after", "500", "503", "hang", "drop", "empty", "malformed", "not_json", "truncated",
    "wrong_type", "no_choices", "error_in_200", "slow", "drip",
)  # fmt: skip


def echo(question: str) -> str:
    """Answer every question with a rationale and the length of the question."""
    return f"The question has {len(question)} letters. So the answer is {len(question)}."


@dataclass
class FaultServer:
    """What the server does and what it saw.

    Attributes:
        script: gets the running number of a request and its question; returns one of ``FAULTS``, an HTTP status, or
            None for a sound answer.
        answer: gives the completion of a question.
        latency: seconds before every answer.
        key: the key it wants; None: any.
        key_header: the header in which it wants the key; any but ``Authorization`` as of Azure's API Management.
        model: the one model it knows; None: any.
        knows_n: whether it gives ``n`` answers to one request; False: it refuses, None: it gives one.
        refuses_n_with: the HTTP status with which it refuses ``n``.
        headers: sent with every sound answer.
        refuses: gets the body of a request; returns the endpoint's words where it does not take it (HTTP 400), or None.
        completion: gets the body of a sound answer and returns what is sent in its place.
        asked: how often each question came.
        answered: how often each question got a sound answer.
        most_at_once: most requests that were under way at one time.
    """

    script: Script = lambda number, question: None
    answer: Answer = echo
    latency: float = 0.0
    key: str | None = None
    key_header: str = "Authorization"
    model: str | None = None
    knows_n: bool | None = True
    refuses_n_with: int = 400
    headers: dict[str, str] = field(default_factory=dict)
    refuses: Callable[[dict[str, Any]], str | None] = lambda body: None
    completion: Callable[[dict[str, Any]], Any] = lambda answer: answer
    asked: Counter[str] = field(default_factory=Counter)
    answered: Counter[str] = field(default_factory=Counter)
    bodies: list[dict[str, Any]] = field(default_factory=list)
    keep_bodies: bool = False
    most_at_once: int = 0
    url: str = ""
    _number: int = 0
    _at_once: int = 0

    @property
    def requests(self) -> int:
        """How many requests came."""
        return self._number

    def routes(self) -> list[web.RouteDef]:
        """What it answers to."""
        return [web.post("/v1/chat/completions", self.handle), web.post("/v1/completions", self.handle)]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer one request as the script says."""
        body = await request.json()
        if self.keep_bodies:
            self.bodies.append(body)
        question = body["messages"][-1]["content"] if "messages" in body else body["prompt"].split("Q: ")[-1][:-3]
        number, self._number = self._number, self._number + 1
        self.asked[question] += 1
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            if self.latency:
                await asyncio.sleep(self.latency)
            bearer = "Bearer " if self.key_header == "Authorization" else ""
            if self.key is not None and request.headers.get(self.key_header) != f"{bearer}{self.key}":
                sent = request.headers.get("Authorization", "")
                if not bearer:
                    return _error(401, f"Access denied due to missing subscription key. {sent}", "401")
                return _error(401, f"Incorrect API key provided: {sent}", "invalid_api_key")
            if self.model is not None and body["model"] != self.model:
                return _error(404, f"The model `{body['model']}` does not exist", "model_not_found")
            if self.knows_n is False and body.get("n", 1) > 1:
                return _error(self.refuses_n_with, "Only one completion choice is allowed", "invalid_value")
            if (refused := self.refuses(body)) is not None:
                return _error(400, refused, "invalid_request_error")
            fault = self.script(number, question)
            if fault is not None:
                return await self._misbehave(request, fault, body, question)
            self.answered[question] += 1
            return web.json_response(self.completion(self._completion(body, question)), headers=self.headers)
        finally:
            self._at_once -= 1

    def _completion(self, body: dict[str, Any], question: str) -> dict[str, Any]:
        texts = [self.answer(question) for _ in range(body.get("n") or 1 if self.knows_n else 1)]
        chat = "messages" in body
        choices = [
            {"index": index, "finish_reason": "stop"}
            | ({"message": {"role": "assistant", "content": text}} if chat else {"text": text})
            for index, text in enumerate(texts)
        ]
        usage = {"prompt_tokens": 20, "completion_tokens": 10 * len(texts), "total_tokens": 20 + 10 * len(texts)}
        return {"id": "x", "object": "chat.completion", "model": body["model"], "choices": choices, "usage": usage}

    async def _misbehave(
        self, request: web.Request, fault: str, body: dict[str, Any], question: str
    ) -> web.StreamResponse:
        sound = json.dumps(self._completion(body, question)).encode()
        if fault == "429_retry_after":
            return _error(429, "Slow down", "rate_limit_exceeded", {"Retry-After": "0.05"})
        if fault.isdigit():
            return _error(int(fault), f"Fault {fault}", "server_error")
        if fault == "hang":
            await asyncio.sleep(3600)
        if fault == "drop":
            assert request.transport is not None
            request.transport.abort()
            return web.Response()
        if fault in ("truncated", "drip"):
            return await self._send_badly(request, fault, sound)
        if fault == "slow":
            await asyncio.sleep(0.2)
            self.answered[question] += 1
            return web.Response(body=sound, content_type="application/json")
        return {
            "empty": web.Response(body=b"", content_type="application/json"),
            "malformed": web.Response(body=b'{"choices": [{"mess', content_type="application/json"),
            "not_json": web.Response(body=b"<html>Bad gateway</html>", content_type="application/json"),
            "wrong_type": web.Response(body=b"<html>Please log in</html>", content_type="text/html"),
            "no_choices": web.json_response({"choices": [], "model": body["model"]}),
            "error_in_200": web.json_response({"error": {"message": "upstream failed", "code": 502}}),
        }[fault]

    async def _send_badly(self, request: web.Request, fault: str, sound: bytes) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "application/json", "Content-Length": str(len(sound))})
        await response.prepare(request)
        if fault == "drip":
            for byte in sound:
                await response.write(bytes([byte]))
                await asyncio.sleep(0.05)
        else:
            await response.write(sound[: len(sound) // 2])
        assert request.transport is not None
        request.transport.close()
        return response


def _error(status: int, message: str, code: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response(
        {"error": {"message": message, "code": code, "type": code}}, status=status, headers=headers
    )


AnyServer = TypeVar("AnyServer", bound=FaultServer)


@contextmanager
def serve(server: AnyServer | None = None, port: int = 0) -> Iterator[AnyServer]:
    """Run a server in a thread of its own; ``url`` is its ``base_url``."""
    server = server or FaultServer()  # type: ignore[assignment]
    ready, loop = threading.Event(), asyncio.new_event_loop()

    async def start() -> None:
        app = web.Application(client_max_size=2**26)
        app.add_routes(server.routes())
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", port)
        await site.start()
        server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        ready.set()

    def run() -> None:
        asyncio.set_event_loop(loop)
        loop.run_until_complete(start())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert ready.wait(10), "the server did not start"
    try:
        yield server
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(5)
