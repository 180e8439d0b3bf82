"""A server on loopback that speaks OpenAI's files and batches, faults included. Real HTTP, no model."""

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from fault_server import FaultServer, _error

# What may go wrong with a call, each of them by its name: upload, create, list, retrieve, content, delete.
Trouble = Callable[[str, int], str | None]


@dataclass
class BatchServer(FaultServer):
    """A server whose batches end after so many looks at them.

    ``script`` says what becomes of each line: None is answered, an HTTP status goes to the file of errors; so do
    ``expired`` and ``malformed`` (an answer that is none); ``missing`` goes nowhere, ``twice`` is delivered twice,
    ``broken`` is cut in the middle.

    Attributes:
        looks: how often a batch says that it is under way before it ends.
        ends: the status with which the batches end, in their order; the last one goes for all that follow.
        trouble: gets the name of a call and how many of that name came before; returns an HTTP status, ``drop``
            (before anything was done), ``lost`` (all was done, the answer is lost), ``hang`` (it never comes),
            ``cut`` (half of a file), or None.
        most_lines: lines of a batch that are too many.
        most_pending: batches at one time; what is sent beyond them is rejected a little later.
        metadata: whether batches keep what they are told to remember.
        page: batches of a page of the list.
        files: what was uploaded or written, by id.
        batches: what was made, by id.
        calls: how often each call came.
    """

    looks: int = 1
    ends: tuple[str, ...] = ("completed",)
    trouble: Trouble = lambda name, number: None
    most_lines: int = 50_000
    most_pending: int = 10**6
    metadata: bool = True
    page: int = 2
    files: dict[str, bytes] = field(default_factory=dict)
    batches: dict[str, dict[str, Any]] = field(default_factory=dict)
    calls: Counter[str] = field(default_factory=Counter)

    def routes(self) -> list[web.RouteDef]:
        return [
            *super().routes(),
            web.post("/v1/files", self._guarded("upload", self._upload)),
            web.get("/v1/files/{id}/content", self._guarded("content", self._content)),
            web.delete("/v1/files/{id}", self._guarded("delete", self._delete)),
            web.post("/v1/batches", self._guarded("create", self._create)),
            web.get("/v1/batches", self._guarded("list", self._list)),
            web.get("/v1/batches/{id}", self._guarded("retrieve", self._retrieve)),
        ]

    def _guarded(self, name: str, act: Callable[[web.Request], Any]) -> Callable[[web.Request], Any]:
        async def answer(request: web.Request) -> web.StreamResponse:
            number, self.calls[name] = self.calls[name], self.calls[name] + 1
            sent = request.headers.get("Authorization", "")
            if self.key is not None and sent != f"Bearer {self.key}":
                return _error(401, f"Incorrect API key provided: {sent}", "invalid_api_key")
            fault = self.trouble(name, number)
            if fault is not None and fault.isdigit():
                return _error(int(fault), f"Fault {fault}, sent with {sent}", "server_error")
            response: web.Response = await act(request) if fault != "drop" else web.Response()
            if fault == "hang":
                await asyncio.sleep(3600)
            if fault in ("drop", "lost"):
                assert request.transport is not None
                request.transport.abort()
            if fault == "cut":
                assert isinstance(response.body, bytes)
                return web.Response(body=response.body[: len(response.body) // 2])
            return response

        return answer

    async def _upload(self, request: web.Request) -> web.Response:
        form = await request.post()
        assert form["purpose"] == "batch"
        field = form["file"]
        assert isinstance(field, web.FileField)
        return web.json_response({"id": self._keep(field.file.read()), "object": "file"})

    def _keep(self, content: bytes) -> str:
        name = f"file-{len(self.files)}"
        self.files[name] = content
        return name

    async def _content(self, request: web.Request) -> web.Response:
        content = self.files.get(request.match_info["id"])
        return _error(404, "No such File object", "not_found") if content is None else web.Response(body=content)

    async def _delete(self, request: web.Request) -> web.Response:
        self.files.pop(request.match_info["id"])
        return web.json_response({"deleted": True})

    async def _create(self, request: web.Request) -> web.Response:
        body = await request.json()
        assert body["completion_window"] == "24h"
        lines = [json.loads(line) for line in self.files[body["input_file_id"]].splitlines()]
        assert {line["url"] for line in lines} == {body["endpoint"]}
        number = len(self.batches)
        batch = {
            "id": f"batch_{number}", "object": "batch", "status": "validating", "created_at": 2_000_000_000 + number,
            "input_file_id": body["input_file_id"], "metadata": body["metadata"] if self.metadata else None,
            "request_counts": {"total": len(lines), "completed": 0, "failed": 0}, "looks": 0, "lines": lines,
            "output_file_id": None, "error_file_id": "",  # both are sent for no file
            "end": self.ends[min(number, len(self.ends) - 1)] if len(lines) <= self.most_lines else "failed",
        }  # fmt: skip
        pending = [other for other in self.batches.values() if other["status"] in ("validating", "in_progress")]
        if len(pending) >= self.most_pending:
            batch |= {"end": "failed", "looks": self.looks}
        self.batches[batch["id"]] = batch
        return web.json_response(_public(batch))

    async def _list(self, request: web.Request) -> web.Response:
        batches = list(self.batches.values())[::-1]
        after = request.query.get("after")
        start = next((place + 1 for place, batch in enumerate(batches) if batch["id"] == after), 0)
        page = batches[start : start + self.page]
        return web.json_response(
            {"object": "list", "data": list(map(_public, page)), "has_more": start + self.page < len(batches)}
        )

    async def _retrieve(self, request: web.Request) -> web.Response:
        batch = self.batches.get(request.match_info["id"])
        if batch is None:
            return _error(404, "No such Batch", "not_found")
        if batch["status"] in ("validating", "in_progress"):
            batch["looks"] += 1
            batch["status"] = "in_progress"
            if batch["looks"] > self.looks:
                self._finish(batch)
        return web.json_response(_public(batch))

    def _finish(self, batch: dict[str, Any]) -> None:
        batch["status"] = batch["end"]
        if batch["end"] == "failed":
            message = "Enqueued token limit reached for m."
            batch["errors"] = {"data": [{"code": "token_limit_exceeded", "message": message, "line": None}]}
            return
        results: list[bytes] = []
        errors: list[bytes] = []
        for line in batch["lines"][::-1]:  # in no order that could be relied on
            self._answer(line, results, errors)
        for name, lines in (("output_file_id", results), ("error_file_id", errors)):
            if lines:
                batch[name] = self._keep(b"\n".join(lines) + b"\n")
        batch["request_counts"] |= {"completed": len(results), "failed": len(errors)}

    def _answer(self, line: dict[str, Any], results: list[bytes], errors: list[bytes]) -> None:
        body = line["body"]
        question = body["messages"][-1]["content"]
        number, self._number = self._number, self._number + 1
        fault = self.script(number, question)
        self.asked[question] += 1
        refused = self.refuses(body)
        result = {"id": f"r{number}", "custom_id": line["custom_id"], "error": None}
        if fault == "missing":
            return
        if fault == "expired":
            error = {"code": "batch_expired", "message": "Not executed before the completion window expired."}
            errors.append(_dump(result | {"response": None, "error": error}))
        elif refused is not None:
            errors.append(_dump(result | {"response": {"status_code": 400, "body": {"error": {"message": refused}}}}))
        elif (fault is not None and fault.isdigit()) or (self.knows_n is False and body.get("n", 1) > 1):
            error = {"error": {"message": f"Fault {fault}", "code": "invalid"}}
            errors.append(_dump(result | {"response": {"status_code": int(fault or 400), "body": error}}))
        elif fault == "malformed":
            results.append(_dump(result | {"response": {"status_code": 200, "body": {"choices": []}}}))
        else:
            self.answered[question] += 1
            whole = _dump(result | {"response": {"status_code": 200, "body": self._completion(body, question)}})
            results += {"twice": [whole, whole], "broken": [whole[: len(whole) // 2]]}.get(fault or "", [whole])


def _dump(value: dict[str, Any]) -> bytes:
    # As it is, without escapes: a separator of lines within a text must not be taken for the end of a line.
    return json.dumps(value, ensure_ascii=False).encode()


def _public(batch: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in batch.items() if key not in ("looks", "lines", "end")}
