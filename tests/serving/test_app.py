"""The server answers, in its own form and in OpenAI's, and says in one sentence what is wrong with a request."""

import asyncio
import json
import math
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import refereed
from scripted import ScriptedTeacher
from serving_client import Scripted, build, client, student
from starlette.testclient import TestClient

from dsbs.core.errors import ConfigError, DataError, RunError
from dsbs.core.records import Prediction
from dsbs.extraction.settings import Budget
from dsbs.serve import bind, build_app, read_token, run, serve
from dsbs.serving.metrics import Metrics
from dsbs.serving.service import Service
from dsbs.serving.settings import Chat, Deferral, Limits, Recording, ServeConfig
from dsbs.serving.startup import Startup

CHAT = "/v1/chat/completions"


def ask(text: Any, **more: Any) -> dict[str, Any]:
    return {"model": "any", "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": text}], **more}


def test_one_input_or_many() -> None:
    with client() as http:
        one = http.post("/predict", json={"input": "It leaks."}).json()
        assert one == {"label": "refund", "confidence": 0.9, "source": "student"}
        body = {"inputs": ["It leaks.", {"input": "It is late."}], "rationale": True, "scores": True}
        first, second = http.post("/predict", json=body).json()["predictions"]
        assert first["rationale"] == "It says It leaks."
        assert second["rationale"] == "It says It is late."
        assert first["scores"] == {"refund": -0.1, "repair": -2.4}


@pytest.mark.parametrize("inside", [False, True])
def test_an_input_may_have_choices_of_its_own(inside: bool) -> None:
    made = build(Scripted())
    made.answerer.service.student.remembered.own_choices = True
    made.answerer.service.student.remembered.choices_column = "any"
    row = {"input": "It leaks.", "any": ["refund", "repair"]}
    with TestClient(made.build()) as http:
        reply = http.post("/predict", json={"input": row, "scores": True} if inside else row | {"scores": True})
        assert (reply.status_code, reply.json()["label"]) == (200, "refund")
        reply = http.post("/predict", json=row | {"any": ["refund"]} if not inside else {"input": "It leaks."})
        assert reply.status_code == 400
        assert "choices" in reply.json()["error"]


def test_an_input_that_the_student_does_not_read_to_its_end_is_told() -> None:
    with client() as http:
        first, second = http.post("/predict", json={"inputs": ["It leaks.", "an endless text"]}).json()["predictions"]
        assert "truncated" not in first
        assert second == {"label": "refund", "confidence": 0.9, "source": "student", "truncated": True}
        assert http.post(CHAT, json=ask("an endless text")).json()["dsbs"]["truncated"] is True
        assert "dsbs_truncated_total 2.0" in http.get("/metrics").text


def test_chat_replies_with_the_label() -> None:
    with client() as http:
        reply = http.post(CHAT, json=ask("It leaks.", n=2, temperature=0)).json()
        assert reply["object"] == "chat.completion"
        assert reply["model"] == "triage-test"
        assert [choice["message"]["content"] for choice in reply["choices"]] == ["refund", "refund"]
        assert reply["usage"]["total_tokens"] > 0
        [model] = http.get("/v1/models").json()["data"]
        assert model["id"] == "triage-test"


def test_the_model_is_found_by_its_name() -> None:
    with client() as http:
        assert http.get("/v1/models/triage-test").json()["id"] == "triage-test"
        reply = http.get("/v1/models/org/gpt-5")
        assert reply.status_code == 404
        assert reply.json()["error"]["message"] == "There is no model org/gpt-5; this server has triage-test."
        assert 'path="/v1/models/"' in http.get("/metrics").text


def test_what_is_missing_says_what_there_is() -> None:
    with client() as http:
        assert "ends in /v1" in http.post("/chat/completions", json=ask("It leaks.")).json()["error"]
        assert "/v1/chat/completions" in http.post("/v1/responses", json={}).json()["error"]["message"]


def test_a_body_may_begin_with_a_byte_order_mark() -> None:
    with client() as http:
        assert http.post("/predict", content='\ufeff{"input": "It leaks."}'.encode()).json()["label"] == "refund"


def test_a_token_is_found_whatever_the_case_of_its_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOKEN", "abc-123\n")  # as in a secret that was made with echo
    config = ServeConfig(checkpoint="a", token_env="TOKEN")
    assert config.faults() == []
    with client(token=read_token(config)) as http:
        for header, code in (
            ("bearer abc-123", 200),
            ("Bearer  abc-123", 200),
            ("Basic abc-123", 401),
            ("abc-123", 401),
        ):
            assert http.get("/v1/models", headers={"Authorization": header}).status_code == code


def test_chat_streams_one_chunk() -> None:
    with client() as http:
        options = {"include_usage": True}
        lines = http.post(CHAT, json=ask("It leaks.", stream=True, stream_options=options)).text.split("\n\n")
        first, end, usage, done, _ = lines
        assert json.loads(first.removeprefix("data: "))["choices"][0]["delta"]["content"] == "refund"
        assert json.loads(end.removeprefix("data: "))["choices"][0]["finish_reason"] == "stop"
        assert json.loads(usage.removeprefix("data: "))["usage"]["total_tokens"] > 0
        assert done == "data: [DONE]"


@pytest.mark.parametrize(
    ("chat", "text", "reply"),
    [
        (Chat(template="Classify: {input}\nLabel:", reply="json"), "Classify: it leaks\nLabel:", None),
        (
            Chat(template=r"Say: {input}\nA:", reply=r"{rationale}\n{label}"),
            "Say: it leaks\nA:",
            "It says it leaks\nrefund",
        ),
        (Chat(pattern=r"<text>(?P<input>.*)</text>", reply="rationale"), "x <text>it leaks</text>", "It says it leaks"),
        (Chat(pattern=r"text: (.*)", reply="{rationale} => {label}"), "text: it leaks", "It says it leaks => refund"),
    ],
)
def test_the_input_is_taken_out_of_the_message(chat: Chat, text: str, reply: str | None) -> None:
    with client(config=ServeConfig(chat=chat)) as http:
        content = http.post(CHAT, json=ask(text)).json()["choices"][0]["message"]["content"]
        if reply is None:
            assert json.loads(content) == {"label": "refund", "confidence": 0.9}
        else:
            assert content.startswith(reply)
        assert http.post(CHAT, json=ask("something else")).status_code == 400


BAD: list[tuple[str, Any, int]] = [
    ("/predict", b"{", 400),
    ("/predict", b"\xff\xfe", 400),
    ("/predict", b'{"input": "\\ud800"}', 400),
    ("/predict", b"[" * 100_000, 400),
    ("/predict", b'{"input": NaN}', 400),
    ("/predict", [], 400),
    ("/predict", {}, 400),
    ("/predict", {"input": None}, 400),
    ("/predict", {"input": 7}, 400),
    ("/predict", {"input": ""}, 400),
    ("/predict", {"input": " \n"}, 400),
    ("/predict", {"input": ["a"]}, 400),
    ("/predict", {"input": {"text": "a"}}, 400),
    ("/predict", {"input": {"input": {"deep": 1}}}, 400),
    ("/predict", {"input": "a", "inputs": ["b"]}, 400),
    ("/predict", {"inputs": []}, 400),
    ("/predict", {"inputs": "a"}, 400),
    ("/predict", {"inputs": ["a"] * 257}, 400),
    ("/predict", {"inputs": ["a", None]}, 400),
    ("/predict", {"input": "a", "rationale": "yes"}, 400),
    ("/predict", {"input": "a", "scores": 1}, 400),
    ("/predict", {"input": "a" * 1_000_001}, 413),
    (CHAT, {}, 400),
    (CHAT, {"messages": []}, 400),
    (CHAT, {"messages": "hi"}, 400),
    (CHAT, {"messages": [1]}, 400),
    (CHAT, {"messages": [{"role": "system", "content": "x"}]}, 400),
    (CHAT, ask(None), 400),
    (CHAT, ask(7), 400),
    (CHAT, ask([]), 400),
    (CHAT, ask([{"type": "image_url", "image_url": {"url": "x"}}]), 400),
    (CHAT, ask(""), 400),
    (CHAT, ask("a", n=0), 400),
    (CHAT, ask("a", n=17), 400),
    (CHAT, ask("a", n=True), 400),
    (CHAT, ask("a", n="2"), 400),
    (CHAT, ask("a", stream="yes"), 400),
]


@pytest.mark.parametrize(("path", "body", "code"), BAD)
def test_bad_requests_get_one_sentence(path: str, body: Any, code: int) -> None:
    with client() as http:
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        reply = http.post(path, content=content)
        assert reply.status_code == code
        error = reply.json()["error"]
        message = error if path == "/predict" else error["message"]
        assert message.endswith((".", "}.", "drop to drop such rows."))
        assert "\n" not in message
        assert "Traceback" not in reply.text


@pytest.mark.parametrize(
    ("required", "says"),
    [
        ({"response_format": {"type": "json_object"}}, "chat.reply=json"),
        ({"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}}, "chat.reply=json"),
        ({"tools": [], "tool_choice": "required"}, "calls no tools"),
        ({"tools": [], "tool_choice": {"type": "function", "function": {"name": "x"}}}, "calls no tools"),
        ({"logprobs": True}, "dsbs.confidence"),
    ],
)
def test_a_form_that_the_reply_would_not_have_is_refused(required: dict[str, Any], says: str) -> None:
    """Its client would fail on the reply, or read something else in it."""
    with client() as http:
        reply = http.post(CHAT, json=ask("It leaks.", **required))
        assert reply.status_code == 400
        assert says in reply.json()["error"]["message"]
        others = {
            "response_format": {"type": "text"},
            "tools": [],
            "tool_choice": "auto",
            "logprobs": False,
            "stop": "x",
        }
        assert http.post(CHAT, json=ask("It leaks.", **others)).status_code == 200


def test_a_reply_can_be_the_object_that_the_application_expects() -> None:
    config = ServeConfig(chat=Chat(reply='{"answer": "{label}", "why": "{rationale}", "sure": {confidence}}'))
    with client(config=config) as http:
        reply = http.post(CHAT, json=ask('It "leaks"\n.', n=2, response_format={"type": "json_object"})).json()
        content = reply["choices"][0]["message"]["content"]
        assert json.loads(content) == {"answer": "refund", "why": 'It says It "leaks"\n.', "sure": 0.9}
        assert reply["usage"]["completion_tokens"] == 2 * round(len(content) / 4)


def test_other_addresses_and_methods() -> None:
    with client() as http:
        assert http.get("/predict").status_code == 405
        assert http.get("/nothing").status_code == 404
        assert http.post("/v1/embeddings", json={}).json()["error"]["message"].startswith("Not found: ")


def test_a_student_without_rationales_says_so() -> None:
    with client(rationales=False) as http:
        reply = http.post("/predict", json={"input": "a", "rationale": True})
        assert reply.status_code == 400
        assert "writes no rationales" in reply.json()["error"]


def test_a_student_that_fails_answers_500_without_what_it_read(caplog: pytest.LogCaptureFixture) -> None:
    with client() as http:
        reply = http.post("/predict", json={"input": "broken"})
        assert reply.status_code == 500
        assert "secret" not in reply.text
        assert http.post("/predict", json={"input": "fine"}).status_code == 200


def test_the_token_is_asked_for() -> None:
    with client(token="right") as http:
        assert http.post("/predict", json={"input": "a"}).status_code == 401
        wrong = {"Authorization": "Bearer wrong"}
        assert http.post(CHAT, json=ask("a"), headers=wrong).json()["error"]["type"] == "invalid_request_error"
        assert http.post("/predict", json={"input": "a"}, headers={"Authorization": "Bearer right"}).status_code == 200
        assert http.get("/healthz").status_code == http.get("/readyz").status_code == 200
        assert http.get("/metrics").status_code == 401


def test_requests_are_answered_together_and_beyond_the_queue_with_503() -> None:
    slow = Scripted(seconds=0.2)
    config = ServeConfig(limits=Limits(max_batch=4, queue=8))
    with client(slow, config) as http, ThreadPoolExecutor(24) as pool:
        replies = list(pool.map(lambda number: http.post("/predict", json={"input": f"text {number}"}), range(24)))
    codes = [reply.status_code for reply in replies]
    assert set(codes) == {200, 503}
    assert max(slow.batches) == 4
    assert len(slow.threads) == 1
    assert all(int(reply.headers["retry-after"]) >= 1 for reply in replies if reply.status_code == 503)


def test_an_input_that_fails_fails_alone() -> None:
    slow = Scripted(seconds=0.05)
    with client(slow) as http, ThreadPoolExecutor(8) as pool:
        texts = ["first", *["fine"] * 3, "broken", *["fine"] * 3]
        replies = list(pool.map(lambda text: http.post("/predict", json={"input": text}), texts))
    assert [reply.status_code for reply in replies] == [500 if text == "broken" else 200 for text in texts]
    assert max(slow.batches) > 1


def test_a_choice_that_the_student_never_learned_has_no_score(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its log-probability is minus infinity, which JSON lacks."""
    scores = {"refund": -0.1, "escalate": -math.inf}
    told = Prediction("0", None, "refund", score=-0.1, scores=scores, confidence=1.0)
    monkeypatch.setattr(Scripted, "predict", lambda self, examples: [told])
    with client() as http:
        reply = http.post("/predict", json={"input": "It leaks.", "scores": True})
    assert reply.json()["scores"] == {"refund": -0.1, "escalate": None}


def test_waiting_too_long_is_503() -> None:
    config = ServeConfig(limits=Limits(timeout_s=0.05))
    with client(Scripted(seconds=0.4), config) as http:
        assert http.post("/predict", json={"input": "a"}).status_code == 503


def test_a_student_is_replaced_while_requests_come() -> None:
    app = build(Scripted(seconds=0.01))
    labels: list[str] = []
    with TestClient(app.build()) as http:

        def send() -> None:
            labels.extend(http.post("/predict", json={"input": "a"}).json()["label"] for _ in range(20))

        thread = threading.Thread(target=send)
        thread.start()
        app.answerer.service.replace(student(Scripted(label="repair")))
        thread.join()
        assert len(labels) == 20
        assert labels[-1] == "repair"


def test_metrics_count_requests_answers_and_batches() -> None:
    with client() as http:
        http.post("/predict", json={"inputs": ["a", "b"]})
        http.post("/predict", content=b"{")
        text = http.get("/metrics").text
    assert 'dsbs_requests_total{code="200",path="/predict"} 1.0' in text
    assert 'dsbs_requests_total{code="400",path="/predict"} 1.0' in text
    assert 'dsbs_answers_total{label="refund",source="student"} 2.0' in text
    assert "dsbs_batch_size_sum 2.0" in text


def test_the_page_asks_nobody_else() -> None:
    with client() as http:
        page = http.get("/")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "http" not in page.text.replace("<!doctype html>", "")


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (ServeConfig(host="0.0.0.0"), "token_env=DSBS_TOKEN"),
        (ServeConfig(host="example.org"), "token_env"),
        (ServeConfig(token_env="DSBS_NO_SUCH_TOKEN"), "is not set"),
        (ServeConfig(token_env="sk-0123"), "not the token itself"),
        (ServeConfig(port=70000), "port=70000"),
        (ServeConfig(chat=Chat(template="no place")), "{input}"),
        (ServeConfig(chat=Chat(reply="answer")), "{label}"),
        (ServeConfig(limits=Limits(queue=0)), "limits.queue=0"),
        (ServeConfig(limits=Limits(timeout_s=math.nan)), "limits.timeout_s=nan"),
        (ServeConfig(limits=Limits(shutdown_s=math.inf)), "limits.shutdown_s=inf"),
        (ServeConfig(limits=Limits(max_wait_ms=math.nan)), "limits.max_wait_ms=nan"),
        (ServeConfig(deferral=Deferral(timeout_s=math.inf)), "deferral.timeout_s=inf"),
        (ServeConfig(deferral=Deferral(budget=Budget(usd=-1.0))), "deferral.budget.usd=-1.0"),
        (ServeConfig(deferral=Deferral(budget=Budget(usd=math.nan))), "deferral.budget.usd=nan"),
        (ServeConfig(record=Recording(timeout_s=math.inf)), "record.timeout_s=inf"),
    ],
)
def test_wrong_settings(config: ServeConfig, message: str) -> None:
    config.checkpoint = "run"
    [fault] = config.faults()
    assert message in fault


def test_a_server_that_cannot_start_says_why_without_a_traceback(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "served.sqlite").write_text("no store")
    made = refereed.app(tmp_path, ScriptedTeacher(), 0.5)
    with pytest.raises(DataError, match=r"served.sqlite: not a store of completions"):
        run(ServeConfig(port=0), bind(ServeConfig(port=0)), made.build(), "nothing")
    assert "Traceback" not in capfd.readouterr().err


def test_a_second_ctrl_c_gives_no_traceback() -> None:
    sent: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            raise asyncio.CancelledError
        except asyncio.CancelledError:
            await send({"type": "lifespan.shutdown.failed", "message": "Traceback ..."})

    async def keep(message: Any) -> None:
        sent.append(message)

    asyncio.run(Startup(app)({"type": "lifespan"}, None, keep))  # type: ignore[arg-type]
    assert sent == [{"type": "lifespan.shutdown.failed", "message": ""}]


def test_replies_with_rationales_need_a_student_that_writes_them() -> None:
    service = Service(student(Scripted(), rationales=False))
    with pytest.raises(ConfigError, match="this student writes no rationales"):
        build_app(ServeConfig(chat=Chat(reply="rationale")), service, Metrics())


@pytest.mark.parametrize(
    ("host", "advice"), [("no-such-host.invalid", "host=127.0.0.1"), ("x" * 64 + ".ü", "host=127.0.0.1")]
)
def test_an_address_that_is_none_is_told(host: str, advice: str) -> None:
    with pytest.raises(RunError, match=advice):
        bind(ServeConfig(host=host, port=0))


def test_a_port_that_is_taken_is_told_before_the_student_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("dsbs.serve.load_student", lambda config: pytest.fail("it was loaded"))
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        with pytest.raises(RunError, match="port=8001, or port=0"):
            serve(ServeConfig(checkpoint="x", port=other.getsockname()[1]))
