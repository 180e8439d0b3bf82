"""The recording proxy: the LLM's own bytes, nothing lost that an application got whole, no secrets in the store."""

import gzip
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import Route
from starlette.testclient import TestClient

from dsbs.core.errors import DataError, RunError
from dsbs.core.records import Annotation
from dsbs.extraction.annotations import write_annotations
from dsbs.serving.proxy import Proxy, read_exchange
from dsbs.serving.settings import Chat, Recording, ServeConfig
from dsbs.serving.traffic import Exchange, TrafficStore, open_traffic
from dsbs.teachers.endpoint.address import Address
from dsbs.traffic import TrafficConfig, summarise

KEY = "sk-planted-0123456789"
EVENTS = [
    'data: {"model": "llm", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "ref"}}]}\n\n',
    'data: {"model": "llm", "choices": [{"index": 0, "delta": {"content": "und"}, "finish_reason": "stop"}]}\n\n',
    "data: [DONE]\n\n",
]


def whole(text: str = "refund") -> dict[str, Any]:
    return {"model": "llm", "choices": [{"index": 0, "message": {"content": text}, "finish_reason": "stop"}]}


async def llm(request: Request) -> Response:
    """Answer as an LLM does; the headers that came are in a header of the answer."""
    body = await request.json()
    if body["messages"] == "bad":
        return JSONResponse({"error": {"message": "no messages"}}, 400, {"x-request-id": "7"})
    if body.get("stream"):

        async def events() -> AsyncIterator[str]:
            for event in EVENTS:
                yield event

        return StreamingResponse(events(), media_type="text/event-stream")
    told = {"x-authorization": request.headers.get("authorization", "none")}
    return JSONResponse(whole(f"refund {body['messages'][-1]['content'][:20]}"), headers=told)


async def listed(request: Request) -> Response:
    return JSONResponse({"data": [], "query": str(request.url.query)})


def proxy(folder: Path, token: str | None = None, key: str | None = None, **record: Any) -> TestClient:
    upstream = Starlette(
        routes=[Route("/v1/chat/completions", llm, methods=["POST"]), Route("/v1/models", listed, methods=["GET"])]
    )
    config = ServeConfig(mode="record", record=Recording(**record))
    store = TrafficStore(folder / "traffic.sqlite", config.record.redact)
    transport = httpx.ASGITransport(upstream)
    return TestClient(Proxy(Address("http://llm/v1", "", None, 1.0), store, config, token, key, transport).build())


def before(folder: Path, answers: Any) -> TestClient:
    """Return a proxy before an LLM that answers a request of httpx."""
    store = TrafficStore(folder / "traffic.sqlite")
    config, transport = ServeConfig(mode="record"), httpx.MockTransport(answers)
    return TestClient(Proxy(Address("http://llm/v1", "", None, 1.0), store, config, transport=transport).build())


def ask(text: str, **more: Any) -> dict[str, Any]:
    return {"model": "any", "messages": [{"role": "user", "content": text}], **more}


def recorded(folder: Path) -> list[Any]:
    with open_traffic(folder / "traffic.sqlite") as store:
        return list(store.exchanges())


def test_answers_pass_and_are_recorded_without_secrets(tmp_path: Path) -> None:
    header = {"Authorization": f"Bearer {KEY}"}
    with proxy(tmp_path, redact=[r"\b\d{16}\b"]) as http:
        text = f"card 1234567890123456, key {KEY}"
        reply = http.post("/v1/chat/completions", json=ask(text), headers=header)
        assert reply.headers["x-authorization"] == f"Bearer {KEY}"
        assert reply.json()["choices"][0]["message"]["content"].startswith("refund card")
        assert http.get("/v1/models?limit=2").json()["query"] == "limit=2"
    [exchange] = recorded(tmp_path)
    assert exchange.messages[0]["content"] == "card [redacted], key [redacted]"
    assert exchange.model == "llm"
    for path in tmp_path.iterdir():
        assert KEY.encode() not in path.read_bytes()
        assert b"1234567890123456" not in path.read_bytes()


def test_patterns_see_the_texts_and_not_their_escapes_in_json(tmp_path: Path) -> None:
    patterns = [r"\b\d{16}\b", r'^name: "[^"]*"$', r"\\secret"]
    with proxy(tmp_path, redact=[f"(?m){pattern}" for pattern in patterns]) as http:
        text = 'my card:\n1234567890123456\nname: "Ada"\n\\secret\nit leaks'
        http.post("/v1/chat/completions", json=ask(text, user=7))
        http.post(
            "/v1/chat/completions",
            json={"model": "any", "messages": [{"role": "user", "content": "x", "n": 1234567890123456}]},
        )
    first, second = recorded(tmp_path)
    assert first.messages[0]["content"] == "my card:\n[redacted]\n[redacted]\n[redacted]\nit leaks"
    assert second.messages[0]["n"] == "[redacted]"


def test_a_stream_passes_byte_for_byte_and_is_recorded_as_text(tmp_path: Path) -> None:
    with proxy(tmp_path) as http:
        reply = http.post("/v1/chat/completions", json=ask("a", stream=True))
        assert reply.text == "".join(EVENTS)
    [exchange] = recorded(tmp_path)
    assert (exchange.completion, exchange.finish_reason) == ("refund", "stop")


def test_errors_pass_as_they_are_and_are_not_recorded(tmp_path: Path) -> None:
    with proxy(tmp_path) as http:
        reply = http.post("/v1/chat/completions", json={"messages": "bad"})
        assert reply.status_code == 400
        assert reply.headers["x-request-id"] == "7"
        assert reply.json()["error"]["message"] == "no messages"
    assert recorded(tmp_path) == []


def test_with_a_token_the_llm_gets_its_own_key(tmp_path: Path) -> None:
    with proxy(tmp_path, token="ours-0123456789", key=KEY) as http:
        assert http.post("/v1/chat/completions", json=ask("a")).status_code == 401
        assert http.get("/metrics").status_code == 401
        reply = http.post("/v1/chat/completions", json=ask("a"), headers={"Authorization": "Bearer ours-0123456789"})
        assert reply.headers["x-authorization"] == f"Bearer {KEY}"


def test_keys_in_other_headers_pass_and_are_not_recorded(tmp_path: Path) -> None:
    with proxy(tmp_path) as http:
        http.post("/v1/chat/completions", json=ask(f"key {KEY}"), headers={"Ocp-Apim-Subscription-Key": KEY})
    [exchange] = recorded(tmp_path)
    assert exchange.messages[0]["content"] == "key [redacted]"


def test_a_full_disk_is_told_and_the_application_gets_its_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def full(self: TrafficStore, *parts: Any) -> None:
        raise RunError("traffic.sqlite: cannot be written: disk full.")

    monkeypatch.setattr(TrafficStore, "add", full)
    with proxy(tmp_path) as http:
        assert http.post("/v1/chat/completions", json=ask("a")).status_code == 200
        assert 'dsbs_recorded_total{outcome="not_recorded"} 1.0' in http.get("/metrics").text
    assert "NOT recorded" in caplog.text


@pytest.mark.parametrize("path", ["files/a%00b", "files/what%3F.txt", "files/a%2Fb?x=%FF", "models?a=1&a=2"])
def test_an_address_and_headers_pass_as_they_were_sent(tmp_path: Path, path: str) -> None:
    sent: list[httpx.Request] = []

    def answers(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, headers=back, stream=httpx.ByteStream(b"{}"))

    back = [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2")]
    with before(tmp_path, answers) as http:
        found = http.get(f"/v1/{path}", headers=[(b"x-name", "café".encode())])
    assert found.status_code == 200
    assert [pair for pair in found.headers.raw if pair[0] == b"set-cookie"] == back
    assert sent[0].url.raw_path.decode() == f"/v1/{path}"
    assert (b"x-name", "café".encode()) in sent[0].headers.raw


def test_no_address_leads_out_of_the_llms(tmp_path: Path) -> None:
    with before(tmp_path, lambda request: pytest.fail("it was asked")) as http:
        assert http.get("/v1/%2e%2e/admin").status_code == 400


def test_an_answer_that_is_cut_off_is_told_and_not_recorded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Half(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b'{"choices": '
            yield b"["
            raise httpx.RemoteProtocolError("peer closed connection")

    with before(tmp_path, lambda request: httpx.Response(200, stream=Half())) as http:
        assert http.post("/v1/chat/completions", json=ask("a")).content == b'{"choices": '
    assert "the LLM stopped within an answer (RemoteProtocolError)" in caplog.text
    assert not recorded(tmp_path)


@pytest.mark.parametrize("answer", [b"", b"{", b"[]", b'{"choices": []}', b'{"choices": {}}', b"data: {\n\n", b"\xff"])
def test_what_is_no_completion_is_not_recorded(answer: bytes) -> None:
    assert read_exchange(json.dumps(ask("a")).encode(), answer, 0.0) is None


def test_an_answer_in_parts_is_recorded_as_its_text() -> None:
    choice = {"message": {"content": [{"type": "text", "text": "4."}]}, "finish_reason": "stop"}
    answer = json.dumps({"model": "m", "choices": [choice]}).encode()
    exchange = read_exchange(json.dumps(ask("a")).encode(), answer, 0.0)
    assert exchange is not None
    assert (exchange.completion, exchange.model, exchange.finish_reason) == ("4.", "m", "stop")


def test_traffic_becomes_data_without_repeats_the_latest_as_test(tmp_path: Path) -> None:
    with proxy(tmp_path) as http:
        for number in [0, 1, 2, 2, 0, 3, 4, 5, 6, 7, 8, 9]:
            http.post("/v1/chat/completions", json=ask(f"It leaks {number}."))
    with open_traffic(tmp_path / "traffic.sqlite") as store:
        figures = summarise(store, TrafficConfig(data=str(tmp_path / "data"), test_share=0.2))
    assert figures["requests"] == 12
    assert figures["written"] == {"train": 8, "test": 2}
    rows = [json.loads(line) for line in (tmp_path / "data" / "test.jsonl").read_text().splitlines()]
    assert [row["input"] for row in rows] == ["It leaks 8.", "It leaks 9."]
    assert rows[0]["completion"].startswith("refund It leaks 8.")


def test_an_answer_that_was_cut_off_gives_way_to_a_finished_one(tmp_path: Path) -> None:
    store = TrafficStore(tmp_path / "traffic.sqlite")
    for number, (said, reason) in enumerate(
        [("ref", "length"), ("refund", "stop"), ("repair", "stop"), ("re", "length")]
    ):
        store.add(Exchange(number, 0.1, "llm", ask("It leaks.")["messages"], said, reason))
    summarise(store, TrafficConfig(data=str(tmp_path / "data"), test_share=0.0))
    assert json.loads((tmp_path / "data" / "train.jsonl").read_text())["completion"] == "refund"


def test_signs_of_several_tasks_are_told(tmp_path: Path) -> None:
    store = TrafficStore(tmp_path / "traffic.sqlite")
    for number, system in enumerate(["Classify.", "Translate.", "Classify."]):
        messages = [{"role": "system", "content": system}, *ask(f"It leaks {number}.")["messages"]]
        store.add(Exchange(number, 0.1, "llm", messages, "refund", "stop"))
    [sentence] = summarise(store, TrafficConfig())["mixture"]
    assert sentence.startswith("2 different system prompts")
    turns = [*ask("It leaks.")["messages"], {"role": "assistant", "content": "Where?"}, *ask("Here.")["messages"]]
    store.add(Exchange(9, 0.1, "llm", turns, "refund", "stop"))
    assert summarise(store, TrafficConfig())["mixture"][0].startswith("1 request with earlier messages of the user")


def test_a_template_that_matches_nothing_is_named(tmp_path: Path) -> None:
    store = TrafficStore(tmp_path / "traffic.sqlite")
    store.add(Exchange(0, 0.1, "llm", ask("Classify: it leaks\nLabel:")["messages"], "refund", "stop"))
    config = TrafficConfig(
        data=str(tmp_path / "data"), test_share=0.0, chat=Chat(template=r"Classify: {input}\nLabel:")
    )
    assert summarise(store, config)["written"] == {"train": 1, "test": 0}
    config.chat.template = "Sort: {input}"
    with pytest.raises(DataError, match=r"none with an input and an answer: chat\.template matches"):
        summarise(store, config)


def test_only_bare_answers_are_asked_again_and_get_the_rationale_of_their_own_label(tmp_path: Path) -> None:
    store = TrafficStore(tmp_path / "traffic.sqlite")
    for number, said in enumerate(["refund", "It leaks, which is wear. So the answer is repair.", "Repair.", "refund"]):
        store.add(Exchange(number, 0.1, "llm", ask(f"It leaks {number}.")["messages"], said, "stop"))
    config = TrafficConfig(data=str(tmp_path / "data"), test_share=0.0)
    assert summarise(store, config)["unexplained"] == 3
    rows = [json.loads(line) for line in (tmp_path / "data/unexplained/train.jsonl").read_text().splitlines()]
    assert [row["input"] for row in rows] == ["It leaks 0.", "It leaks 2.", "It leaks 3."]
    labels = ["refund", "repair", "fund"]
    annotations = [Annotation(row["id"], label, "It is worn.") for row, label in zip(rows, labels, strict=True)]
    write_annotations(tmp_path / "why", "train", annotations)
    config.rationales = str(tmp_path / "why")
    assert summarise(store, config)["explained"] == 2
    rows = [json.loads(line) for line in (tmp_path / "data/train.jsonl").read_text().splitlines()]
    assert [row["completion"] for row in rows][2:] == ["It is worn. So the answer is repair.", "refund"]
    config.chat.cue = "Answer:"
    summarise(store, config)
    assert "It is worn. Answer: repair." in (tmp_path / "data/train.jsonl").read_text()
    [fault] = TrafficConfig(rationales="why").faults()
    assert "needs data=FOLDER" in fault


def test_agreement_by_class_has_bounds(tmp_path: Path) -> None:
    store = TrafficStore(tmp_path / "traffic.sqlite")
    for number in range(20):
        store.compare(0.9, number < 5, "refund", "refund" if number % 4 else "repair")
    figures = summarise(store, TrafficConfig())["compared"]
    assert (figures["all"]["requests"], figures["all"]["same"]) == (15, 12)
    assert (figures["deferred"]["requests"], figures["deferred"]["same"]) == (5, 3)
    assert 0.5 < figures["classes"]["refund"]["lower_95"] < 1.0
    assert figures["classes"]["repair"]["same"] == 0


SERVER = """
import sys, uvicorn
from pathlib import Path
from dsbs.serving.proxy import Proxy
from dsbs.serving.settings import ServeConfig
from dsbs.serving.traffic import TrafficStore
from dsbs.teachers.endpoint.address import Address
app = Proxy(Address(sys.argv[1], "", None, 60.0), TrafficStore(Path(sys.argv[2])), ServeConfig(mode="record")).build()
uvicorn.run(app, port=int(sys.argv[3]), log_level="error")
"""


@pytest.fixture
def slow_llm() -> Iterator[str]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            answer = json.dumps(whole(body["messages"][0]["content"])).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer[:20])
            self.wfile.flush()
            self.wfile.write(answer[20:])

        def log_message(self, *parts: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_address[1]}/v1"
    server.shutdown()


def test_after_kill_9_every_answer_that_came_whole_is_in_the_store(slow_llm: str, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    got: list[str] = []

    def load(stop: threading.Event, name: str) -> None:
        with httpx.Client(timeout=5.0) as http:
            for number in range(10_000):
                if stop.is_set():
                    return
                try:
                    reply = http.post(f"http://127.0.0.1:{port}/v1/chat/completions", json=ask(f"{name}-{number}"))
                    if reply.status_code == 200:
                        got.append(reply.json()["choices"][0]["message"]["content"])
                except (httpx.HTTPError, ValueError):
                    time.sleep(0.05)

    for kill in range(int(os.environ.get("DSBS_KILLS", "1"))):
        arguments = [sys.executable, "-c", SERVER, slow_llm, str(tmp_path / "traffic.sqlite"), str(port)]
        process = subprocess.Popen(arguments)
        stop, before = threading.Event(), len(got)
        threads = [threading.Thread(target=load, args=(stop, f"{kill}-{number}")) for number in range(4)]
        for thread in threads:
            thread.start()
        deadline = time.monotonic() + 60
        while len(got) < before + 40 and time.monotonic() < deadline and process.poll() is None:
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.wait()
        stop.set()
        for thread in threads:
            thread.join()
    with sqlite3.connect(tmp_path / "traffic.sqlite") as db:
        kept = {completion for (completion,) in db.execute("SELECT completion FROM traffic")}
    assert len(got) >= 40
    assert set(got) <= kept


def test_compressed_answers_pass_as_they_are_and_are_recorded(tmp_path: Path) -> None:
    answer = {"model": "llm", "choices": [{"message": {"content": "refund"}, "finish_reason": "stop"}]}

    def compress(request: httpx.Request) -> httpx.Response:
        packed = gzip.compress(json.dumps(answer).encode())
        return httpx.Response(200, headers={"content-encoding": "gzip"}, stream=httpx.ByteStream(packed))

    with before(tmp_path, compress) as http:
        assert http.post("/v1/chat/completions", json=ask("a")).json() == answer
    [exchange] = recorded(tmp_path)
    assert exchange.completion == "refund"


def test_what_is_not_recorded_is_told_once_and_counted(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    with before(tmp_path, lambda request: httpx.Response(200, stream=httpx.ByteStream(b"{}"))) as http:
        for _ in range(2):
            http.post("/v1/responses", json={"input": "a"})
        http.get("/v1/models")
        assert 'dsbs_recorded_total{outcome="not_recorded"} 2.0' in http.get("/metrics").text
    assert sum("/v1/responses are forwarded and NOT recorded" in message for message in caplog.messages) == 1


def test_a_base_url_without_v1_is_told(tmp_path: Path) -> None:
    with proxy(tmp_path) as http:
        for path in ("/chat/completions", "/openai/deployments/gpt/chat/completions"):
            reply = http.post(path, json=ask("a"))
            assert reply.status_code == 404
            assert "ends in /v1" in reply.json()["error"]["message"]


def test_an_llm_on_this_machine_is_not_asked_through_a_proxy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")

    class Models(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b'{"data": []}')

        def log_message(self, *args: object) -> None:
            pass

    llm = ThreadingHTTPServer(("127.0.0.1", 0), Models)
    threading.Thread(target=llm.serve_forever, daemon=True).start()
    address = Address(f"http://127.0.0.1:{llm.server_port}/v1", "", None, 1.0)
    with TestClient(Proxy(address, TrafficStore(tmp_path / "t.sqlite"), ServeConfig(mode="record")).build()) as client:
        assert client.get("/v1/models").json() == {"data": []}
    llm.shutdown()
