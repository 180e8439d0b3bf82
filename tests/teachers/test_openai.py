"""Endpoints that speak OpenAI's protocol, over real HTTP on loopback."""

import asyncio
import json
from dataclasses import replace
from typing import Any

import pytest
from fault_server import FaultServer, serve
from scripted import CountTask, count_prompt

from dsbs.core.errors import TeacherError
from dsbs.core.records import Completion, Example, Request
from dsbs.teachers.endpoint.headers import read_retry_after
from dsbs.teachers.endpoint.responses import read_completions
from dsbs.teachers.openai import OpenAITeacher

KEY = "sk-planted-0123456789abcdef"
REQUEST = Request("1", "train", "Be brief.", (("one?", "1"),), "two?")


def ask(server: FaultServer, **settings: Any) -> Completion:
    teacher = OpenAITeacher(**({"name": "openai", "model": "m", "base_url": server.url, "timeout": 5.0} | settings))
    assert teacher.faults() == []

    async def run() -> Completion:
        async with teacher.connect(CountTask()) as answer:
            return await answer(REQUEST)

    return asyncio.run(run())


def fault(fault: str, **settings: Any) -> TeacherError:
    with serve(FaultServer(script=lambda number, question: fault)) as server, pytest.raises(TeacherError) as caught:
        ask(server, **settings)
    return caught.value


def test_a_chat_is_answered_with_its_token_counts() -> None:
    with serve(FaultServer(keep_bodies=True)) as server:
        said = ask(server, temperature=0.7, max_tokens=9, stop=["\n\n"], extra={"top_k": 5})
    assert (said.finish_reason, said.model, said.prompt_tokens, said.completion_tokens) == ("stop", "m", 20, 10)
    assert "So the answer is 4" in said.text
    body = server.bodies[0]
    assert body.pop("messages") == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "one?"},
        {"role": "assistant", "content": "1"},
        {"role": "user", "content": "two?"},
    ]
    assert body == {"model": "m", "temperature": 0.7, "max_tokens": 9, "stop": ["\n\n"], "top_k": 5}


def test_samples_that_are_asked_for_one_at_a_time_have_seeds_of_their_own() -> None:
    teacher = OpenAITeacher(model="m", extra={"seed": 7})
    assert [teacher.body(replace(REQUEST, sample=sample))["seed"] for sample in (0, 1, 2)] == [7, 8, 9]
    assert "max_tokens" not in OpenAITeacher(model="m", extra={"max_tokens": None}).body(REQUEST)
    assert OpenAITeacher(model="m", temperature=0.7, extra={"temperature": 0}).greedy == "teacher.extra.temperature=0"
    assert OpenAITeacher(model="m", temperature=0.0, extra={"temperature": 1}).greedy is None


def test_plain_completions_send_one_text() -> None:
    with serve(FaultServer(keep_bodies=True)) as server:
        assert "So the answer is 4" in ask(server, api="completions").text
    assert server.bodies[0]["prompt"] == "Be brief.\n\nQ: one?\nA: 1\n\nQ: two?\nA:"


@pytest.mark.parametrize(
    ("kind", "reason"),
    [
        ("429", "HTTP 429"), ("500", "HTTP 500"), ("503", "HTTP 503"), ("drop", "no connection"),
        ("empty", "malformed answer"), ("malformed", "malformed answer"), ("not_json", "malformed answer"),
        ("wrong_type", "malformed answer"), ("error_in_200", "error 502"),
        ("truncated", "no connection"),
    ],
)  # fmt: skip
def test_what_may_pass_is_retryable_and_named(kind: str, reason: str) -> None:
    error = fault(kind)
    assert (error.retryable, error.fatal, error.reason) == (True, False, reason)


@pytest.mark.parametrize("kind", ["drop", "truncated"])
def test_a_connection_that_breaks_off_is_no_wrong_address(kind: str) -> None:
    said = str(fault(kind))
    assert "broke off before the answer was complete" in said
    assert "base_url" not in said


@pytest.mark.parametrize("kind", ["hang", "drip"])
def test_a_request_has_a_deadline_over_everything(kind: str) -> None:
    error = fault(kind, timeout=0.3)
    assert (error.retryable, error.reason) == (True, "timeout")
    assert "teacher.timeout=0.3" in str(error)


def test_retry_after_is_read() -> None:
    assert fault("429_retry_after").retry_after == 0.05
    assert read_retry_after({"retry-after": "Wed, 21 Oct 2015 07:28:00 GMT"}) == 0.0
    assert read_retry_after({"retry-after": "soon"}) is None
    assert read_retry_after({"retry-after": "nan"}) is None


@pytest.mark.parametrize("status", ["400", "413", "422"])
def test_a_bad_request_is_neither_retried_nor_fatal(status: str) -> None:
    error = fault(status)
    assert (error.retryable, error.fatal) == (False, False)


def test_a_wrong_key_is_fatal_and_stays_out_of_the_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", KEY)
    with serve(FaultServer(key="another")) as server, pytest.raises(TeacherError) as caught:
        ask(server, api_key_env="MY_KEY")
    assert caught.value.fatal
    assert "MY_KEY" in str(caught.value)
    assert KEY[:8] not in str(caught.value)


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (f'"{KEY}"', "quotes around it"),
        (f"Bearer {KEY}", "'Bearer'"),
        (KEY.replace("-", "—"), "outside ASCII"),
        (f"{KEY}\u200b", "outside ASCII"),
        (f"{KEY}\n{KEY}", "a line break"),
    ],
)
def test_a_key_that_was_copied_badly_is_told_before_anything_is_sent(
    key: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MY_KEY", key)
    with serve() as server, pytest.raises(TeacherError, match=words) as caught:
        ask(server, api_key_env="MY_KEY")
    assert caught.value.fatal
    assert server.requests == 0
    assert "planted" not in str(caught.value)
    if words == "'Bearer'":
        assert OpenAITeacher(model="m", api_key_env="MY_KEY", api_key_header="X-Token").find_key() == key


def test_the_key_goes_in_the_header_of_a_gateway(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    header = "Ocp-Apim-Subscription-Key"
    with serve(FaultServer(key=KEY, key_header=header)) as server:
        with pytest.raises(TeacherError, match=f"teacher.api_key_header={header}") as caught:
            ask(server)
        assert ask(server, api_key_header=header)
    assert KEY not in str(caught.value)


@pytest.mark.parametrize("header", ["", "api key", "a:b", "a\nb", KEY])
def test_a_header_is_a_name_and_no_key(header: str) -> None:
    (fault,) = OpenAITeacher(name="o", model="m", api_key_header=header).faults()
    assert "teacher.api_key_header: expected the name of a header" in fault
    assert KEY not in fault


def test_a_server_that_repeats_the_key_does_not_get_it_into_a_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "Fault")
    assert "Fault" not in str(fault("400"))


def test_a_wrong_model_is_fatal_and_named() -> None:
    with serve(FaultServer(model="other")) as server, pytest.raises(TeacherError, match="has no model 'm'") as caught:
        ask(server)
    assert caught.value.fatal


def test_a_server_that_is_not_there_is_named_with_the_setting() -> None:
    with pytest.raises(TeacherError, match=r"teacher\.base_url") as caught:
        ask(FaultServer(url="http://127.0.0.1:9/v1"))
    assert caught.value.retryable


def test_a_key_is_wanted_unless_the_address_is_loopback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    assert OpenAITeacher(base_url="http://localhost:8000/v1").find_key() == "none"
    assert OpenAITeacher(base_url="http://gpu-7:8000/v1", api_key_env=None).find_key() == "none"
    with pytest.raises(TeacherError, match=r"export OPENAI_API_KEY") as caught:
        OpenAITeacher(model="m").find_key()
    assert caught.value.fatal


def test_neither_address_nor_key_is_part_of_the_identity(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    one = OpenAITeacher(model="m", base_url="http://a/v1", timeout=1.0)
    assert one.identity() == OpenAITeacher(model="m", base_url="http://b/v1").identity()
    assert one.identity() != OpenAITeacher(model="m", temperature=1.0).identity()


def test_faults_are_told_all_at_once() -> None:
    teacher = OpenAITeacher(base_url="http://user:secret@host/v1", api="chats", temperature=-1, max_tokens=0, top_p=2,
                            timeout=0, extra={"n": 2})  # fmt: skip
    assert len(teacher.faults()) == 8
    assert "secret" not in " ".join(teacher.faults())
    assert len(OpenAITeacher(model="m", base_url="localhost:8000").faults()) == 1


@pytest.mark.parametrize(
    "address", ["/v1/chat/completions", "/v1/chat/completions/?x=1", "/v1/completions", "/v1/chat", "/v1/models",
                "/v1/messages/", "/v1/responses"],
)  # fmt: skip
def test_an_address_with_a_route_is_told_without_it(address: str) -> None:
    (fault,) = OpenAITeacher(model="m", base_url=f"http://localhost:8000{address}").faults()
    assert fault.endswith("teacher.base_url=http://localhost:8000/v1")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("", "is empty"),  # never OpenAI, where a shell variable was not set
        ("http://gpu-7/v1 ", "without spaces"),
        ("'http://gpu-7/v1'", "without spaces or quotes"),
        ("http://gpu-7:80000/v1", "expected an address"),
        ("http:/gpu-7/v1", "expected an address"),
        ("gpu-7:8000/v1", "is missing: teacher.base_url=http://gpu-7:8000/v1"),
        ("http://gpu-7/v1?api-version=1", "neither a query nor a fragment: teacher.base_url=http://gpu-7/v1."),
        (
            "https://r.openai.azure.com/openai/deployments/gpt/chat/completions?api-version=1",
            "teacher.base_url=https://r.openai.azure.com/openai/v1 teacher.model=gpt",
        ),
        (
            "http://gpu-7:11434/api/chat",
            "Ollama's own API; the compatible one is at teacher.base_url=http://gpu-7:11434/v1",
        ),
        ("http://::1:8000/v1", "http://[::1]:8000/v1"),
        ("unix:///var/run/x.sock", "socat"),
    ],
)
def test_an_odd_address_is_told_with_what_to_type(address: str, words: str) -> None:
    (fault,) = OpenAITeacher(model="m", base_url=address).faults()
    assert words in fault


def test_an_address_in_the_environment_is_neither_read_nor_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("OPENAI_BASE_URL", "http://gateway/v1")
    with pytest.raises(TeacherError, match=r'OPENAI_BASE_URL is set.*teacher\.base_url="\$OPENAI_BASE_URL"') as caught:
        OpenAITeacher(name="openai", model="m").announce()
    assert caught.value.fatal
    OpenAITeacher(name="openai", model="m", base_url="http://127.0.0.1:8000/v1").announce()
    monkeypatch.setenv("OPENAI_BASE_URL", "https://api.openai.com/v1/")
    OpenAITeacher(name="openai", model="m").announce()


def test_blanks_around_a_model_and_a_temperature_that_is_no_number_are_told() -> None:
    assert len(OpenAITeacher(model="m ", temperature=float("nan")).faults()) == 2


def test_an_answer_without_text_is_kept_for_it_was_paid_for() -> None:
    (said,) = read_completions(
        b'{"choices": [{"message": {"content": null}, "finish_reason": "length"}], "usage": null}'
    )
    assert (said.text, said.finish_reason, said.prompt_tokens) == ("", "length", None)


def several(server: FaultServer, count: int) -> list[Completion]:
    teacher = OpenAITeacher(name="openai", model="m", base_url=server.url, temperature=1.0)

    async def run() -> list[Completion]:
        async with teacher.connect(CountTask()) as answer:
            return await answer.several([replace(REQUEST, sample=sample) for sample in range(count)])  # type: ignore

    return asyncio.run(run())


def test_several_samples_come_with_one_request_and_their_tokens_are_counted_once() -> None:
    with serve() as server:
        said = several(server, 3)
    assert server.requests == 1
    assert [(one.prompt_tokens, one.completion_tokens) for one in said] == [(20, 10), (0, 10), (0, 10)]


@pytest.mark.parametrize(
    ("knows", "status"), [(False, 400), (False, 500), (None, 400)], ids=["refuses n", "fails over n", "ignores n"]
)
def test_an_endpoint_that_does_not_know_n_is_asked_for_one_at_a_time(knows: bool | None, status: int) -> None:
    with serve(FaultServer(knows_n=knows, refuses_n_with=status)) as server:
        assert len(several(server, 3)) == 1


def test_json_answers_are_asked_for_with_a_schema_of_the_closed_answers() -> None:
    prompt = count_prompt(answer_format="json")
    request = prompt.request(Example("1", "two?", "4", ("4", "5", "4")), "train")
    body = OpenAITeacher(model="m").body(request)
    schema = body["response_format"]["json_schema"]["schema"]
    assert list(schema["properties"]) == ["rationale", "answer"]
    assert schema["properties"]["answer"]["enum"] == ["4", "5"]
    assert json.loads(body["messages"][-2]["content"]) == {"rationale": "It has 17 letters.", "answer": "17"}
    assert "JSON" in body["messages"][0]["content"]
    assert "response_format" not in OpenAITeacher(model="m").body(count_prompt().request(Example("1", "two?"), "train"))
