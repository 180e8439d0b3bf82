"""What servers send and what they refuse, over real HTTP on loopback."""

import asyncio
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fault_server import FaultServer, serve
from scripted import CountTask, count_prompt, job_for, load_annotations

from dsbs.core.errors import TeacherError
from dsbs.core.records import Completion, Request
from dsbs.extraction.engine import run_extraction
from dsbs.teachers.endpoint.address import Address
from dsbs.teachers.endpoint.faults import explain_status
from dsbs.teachers.endpoint.proxies import find_proxy
from dsbs.teachers.endpoint.responses import read_completions
from dsbs.teachers.openai import OpenAITeacher

REQUEST = Request("1", "train", "Be brief.", (("one?", "1"),), "two?")
Body = dict[str, Any]


def read(message: Any, finish_reason: str = "stop", **fields: Any) -> Completion:
    choices = [{"message": message, "finish_reason": finish_reason}]
    return read_completions(json.dumps({"choices": choices} | fields).encode())[0]


@pytest.mark.parametrize(
    ("message", "text", "reasoning"),
    [
        ({"content": "It is 4."}, "It is 4.", None),
        ({"content": [{"type": "text", "text": "It is "}, {"type": "text", "text": "4."}]}, "It is 4.", None),
        ({"content": [{"type": "output_text", "text": "It is 4."}]}, "It is 4.", None),
        ({"content": ["It is 4."]}, "It is 4.", None),
        ({"content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "4."}]}, "4.", "Hm."),
        (
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}, {"text": "4."}]},
            "4.",
            "Hm.",
        ),
        ({"content": "4.", "reasoning_content": "Hm."}, "4.", "Hm."),
        ({"content": "4.", "reasoning": "Hm.", "reasoning_details": [{"text": "Hm."}]}, "4.", "Hm."),
        ({"content": "4.", "reasoning_details": [{"type": "reasoning.text", "text": "Hm."}]}, "4.", "Hm."),
        ({"content": "4.", "reasoning": {"content": "Hm."}}, "4.", "Hm."),
        ({"content": {"type": "text", "text": "4."}}, "4.", None),
        ({"content": None, "reasoning_content": "Hm."}, "", "Hm."),
        ({"content": None}, "", None),
        ({"role": "assistant", "tool_calls": []}, "", None),
        ({"content": "4.", "reasoning_content": ""}, "4.", None),
        ({"content": "4.", "reasoning_text": "Hm."}, "4.", "Hm."),
        (
            {"content": "4.", "thinking_blocks": [{"type": "thinking", "thinking": "Hm.", "signature": "s"}]},
            "4.",
            "Hm.",
        ),
        ({"content": "4.", "reasoning_details": [{"type": "reasoning.summary", "summary": "Hm."}]}, "4.", "Hm."),
        ({"content": "4.", "reasoning": {"summary": [{"type": "summary_text", "text": "Hm."}]}}, "4.", "Hm."),
        ({"content": "4.", "provider_specific_fields": {"reasoning_content": "Hm."}}, "4.", "Hm."),
        ({"content": [{"thought": True, "text": "Hm."}, {"text": "4."}]}, "4.", "Hm."),
        ({"content": [None, {"type": "text", "text": {"value": "4."}}]}, "4.", None),
        ({"content": 4}, "4", None),
        ("4.", "4.", None),
        ({"content": {"rationale": "Hm.", "answer": "4"}}, '{"rationale": "Hm.", "answer": "4"}', None),
        (
            {"content": None, "tool_calls": [{"function": {"name": "f", "arguments": '{"answer": "4"}'}}]},
            '{"answer": "4"}',
            None,
        ),
    ],
)
def test_an_answer_is_read_in_every_form_in_which_servers_send_it(message: Any, text: str, reasoning: str) -> None:
    said = read(message)
    assert (said.text, said.reasoning) == (text, reasoning)


def test_a_refusal_is_no_answer() -> None:
    said = read({"content": None, "refusal": "I cannot say that the answer is 4."})
    assert (said.finish_reason, said.text) == ("refusal", "I cannot say that the answer is 4.")
    assert read({"content": "4.", "refusal": None}).finish_reason == "stop"
    part = {"type": "refusal", "refusal": "I cannot say that the answer is 4."}
    assert read({"content": [part]}).finish_reason == "refusal"


@pytest.mark.parametrize("reason", ["content_filter", "SAFETY", "length"])
@pytest.mark.parametrize("choice", [{}, {"message": None}, {"message": {"role": "assistant", "content": None}}])
def test_what_ended_before_a_word_was_written_is_a_completion(reason: str, choice: Body) -> None:
    body = {"choices": [choice | {"finish_reason": reason}], "usage": {"completion_tokens": 0}}
    (said,) = read_completions(json.dumps(body).encode())
    assert (said.text, said.finish_reason) == ("", reason)


@pytest.mark.parametrize(
    ("answer", "reason", "retryable", "words"),
    [
        ({"error": {"message": "m is overloaded", "code": 503}}, "error 503", True, "m is overloaded"),
        ({"error": {"message": "no such model", "code": "404"}}, "error 404", False, "teacher.model"),
        ({"error": {"message": "flagged", "code": 403}, "choices": []}, "content filter", False, "flagged"),
        ({"error": {"message": "flagged as a risk", "code": 502}}, "content filter", False, "flagged"),
        ({"error": "the model is busy"}, "error in answer", True, "the model is busy"),
        ({"error": {"message": "bad prompt", "type": "invalid"}}, "error in answer", False, "bad prompt"),
        ({"choices": [{"error": {"message": "upstream died", "code": 502}}]}, "error 502", True, "upstream died"),
        ({"choices": []}, "no choices", True, "has no choices"),
        ({"choices": [], "prompt_feedback": {"block_reason": "OTHER"}}, "no choices", False, "content filter may have"),
        ({"choices": None, "model": "m"}, "no choices", True, "has no choices"),
        (
            {"choices": [{"message": {"content": None}, "finish_reason": "stop"}], "usage": {"completion_tokens": 0}},
            "no tokens",
            True,
            "without a single token",
        ),
        (
            {"object": "error", "message": "The model `m` does not exist.", "code": 404},
            "error 404",
            False,
            "no model 'm'",
        ),
        (
            {"choices": None, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}},
            "error 402",
            False,
            "no credit left",
        ),
        ({"error": "model 'm' not found, try pulling it first"}, "error 404", False, "no model 'm'"),
        ({"error": {"message": "You are out.", "code": "insufficient_quota"}}, "error 402", False, "no credit left"),
        ({"code": "Throttling.RateQuota", "message": "Requests rate limit exceeded"}, "error 429", True, "rate limit"),
        (
            {"success": False, "errors": [{"code": 10000, "message": "Bad account"}]},
            "error in answer",
            False,
            "Bad account",
        ),
        (
            {"choices": [{"message": {"content": "It"}, "finish_reason": "error"}]},
            "interrupted",
            True,
            "finish_reason=error",
        ),
    ],
)
def test_an_error_in_a_sound_answer_is_told_as_an_error_and_not_as_a_wrong_address(
    answer: Any, reason: str, retryable: bool, words: str
) -> None:
    with serve(FaultServer(completion=lambda body: answer)) as server, pytest.raises(TeacherError) as caught:
        ask(server)
    assert (caught.value.reason, caught.value.retryable) == (reason, retryable)
    assert words in str(caught.value)
    assert "/v1?" not in str(caught.value)


@pytest.mark.parametrize(
    ("usage", "read_and_written"),
    [
        ({"prompt_tokens": "10", "completion_tokens": "5"}, (10, 5)),
        ({"input_tokens": 10, "output_tokens": 5}, (10, 5)),
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 75}, (10, 65)),  # thinking in the total alone
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 5,
                "total_tokens": 99,
                "completion_tokens_details": {"reasoning_tokens": 60},
            },
            (10, 65),
        ),
        (
            {
                "prompt_tokens": 10,
                "completion_tokens": 65,
                "total_tokens": 75,
                "completion_tokens_details": {"reasoning_tokens": 60},
            },
            (10, 65),
        ),
        ({"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 5}, (10, 5)),
        (  # cached tokens beside those of the prompt, and as a part of them
            {"prompt_tokens": 50, "completion_tokens": 5, "total_tokens": 85, "cache_read_input_tokens": 30},
            (80, 5),
        ),
        (
            {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 2015, "cache_read_input_tokens": 2000},
            (2010, 5),
        ),
        ({"prompt_tokens": 10, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 90}}, (100, 5)),
        ({"prompt_tokens": 99, "completion_tokens": 5, "prompt_tokens_details": {"cached_tokens": 90}}, (99, 5)),
        ({"prompt_tokens": 10.0, "completion_tokens": None}, (10, None)),
        ({"prompt_tokens": "ten", "completion_tokens": -1}, (None, None)),
        ({"prompt_tokens": "9" * 30, "completion_tokens": 10**30}, (None, None)),
        ({"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}, (None, None)),  # a server that does not count
        (None, (None, None)),
        ([1], (None, None)),
    ],
)
def test_tokens_are_counted_however_a_gateway_writes_them(usage: Any, read_and_written: Any) -> None:
    said = read({"content": "4."}, usage=usage)
    assert (said.prompt_tokens, said.completion_tokens) == read_and_written


def test_an_error_in_an_answer_says_how_long_to_wait() -> None:
    error = {"message": "Limit reached", "code": 429, "metadata": {"headers": {"X-RateLimit-Reset": "99"}}}
    with pytest.raises(TeacherError) as caught:
        read_completions(json.dumps({"error": error}).encode(), "", Address("http://localhost/v1", "m", None, 1.0))
    assert (caught.value.reason, caught.value.retry_after) == ("error 429", 99.0)


def test_what_surrounds_an_answer_does_not_matter() -> None:
    answer = {"choices": [{"delta": {"content": "4."}, "stop_reason": "max_tokens"}, {}]}
    body = json.dumps(answer).encode()
    quiet = json.dumps(answer | {"error": {"code": 0, "message": ""}}).encode()
    for content in (
        body,
        quiet,
        b"\xef\xbb\xbf" + body,
        b": PROCESSING\n\n\n" + body,
        b"[" + body + b"]",
        b'{"data": ' + body + b"}",
    ):
        assert [(one.text, one.finish_reason) for one in read_completions(content)] == [("4.", "max_tokens")]


@pytest.mark.parametrize(("native", "reason"), [("MAX_TOKENS", "MAX_TOKENS"), ("SAFETY", "SAFETY"), ("eos", "stop")])
def test_the_ending_that_a_gateway_hides_counts(native: str, reason: str) -> None:
    choice = {"message": {"content": "4."}, "finish_reason": "stop", "native_finish_reason": native}
    assert read_completions(json.dumps({"choices": [choice]}).encode())[0].finish_reason == reason


def test_an_ending_that_is_an_object_is_read() -> None:
    body = {"choices": [{"message": {"content": "4."}, "finish_reason": {"type": "length", "length": 9}}]}
    assert read_completions(json.dumps(body).encode())[0].finish_reason == "length"


def test_of_several_choices_those_that_were_finished_are_kept() -> None:
    choices = [
        {"message": {"content": text}, "finish_reason": reason} for text, reason in (("4.", "stop"), ("F", "error"))
    ]
    assert [one.text for one in read_completions(json.dumps({"choices": choices}).encode())] == ["4."]


def ask(server: FaultServer, **settings: Any) -> Completion:
    return ask_twice(server, **settings)[0][0]


def ask_twice(server: FaultServer, **settings: Any) -> tuple[list[Completion], list[str]]:
    server.keep_bodies = True
    teacher = OpenAITeacher(**({"name": "openai", "model": "m", "base_url": server.url, "timeout": 5.0} | settings))

    async def run() -> tuple[list[Completion], list[str]]:
        async with teacher.connect(CountTask()) as answer:
            said = [await answer(REQUEST), *await asyncio.gather(answer(REQUEST), answer(REQUEST))]
            return said, answer.notes  # type: ignore[attr-defined]

    return asyncio.run(run())


def has_system(body: Body) -> bool:
    return body["messages"][0]["role"] == "system"


REFUSALS: dict[str, tuple[Callable[[Body], bool], str, str]] = {
    "gemma in vLLM": (has_system, "System role not supported", "prompt.system_role=false"),
    "gemma at Google": (has_system, "Developer instruction is not enabled for models/gemma-3", "prompt.system_role"),
    "mistral": (has_system, "Conversation roles must alternate user/assistant/user/...", "prompt.system_role=false"),
    "o1-mini": (
        has_system,
        "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
        "prompt.system_role=false",
    ),
    "o3": (
        lambda body: "max_tokens" in body,
        "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
        "max_completion_tokens",
    ),
    "gpt-5": (
        lambda body: "temperature" in body,
        "Unsupported value: 'temperature' does not support 0.0 with this model. Only the default (1) is supported.",
        "teacher.temperature=null",
    ),
    "TGI": (
        lambda body: body.get("temperature") == 0,
        "Input validation error: `temperature` must be strictly positive",
        "teacher.temperature=0.01",
    ),
    "llama.cpp": (
        lambda body: "response_format" in body,
        'Either "json_schema" or "grammar" can be specified, but not both',
        "prompt.answer_format=text",
    ),
    "stop": (lambda body: "stop" in body, "'stop' is not supported with this model.", "teacher.stop=[]"),
    "claude": (
        lambda body: "temperature" in body and "top_p" in body,
        "`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
        "teacher.top_p=null",
    ),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_what_an_endpoint_refuses_by_name_is_adapted_once_and_said_with_the_setting(kind: str) -> None:
    bad, words, setting = REFUSALS[kind]
    with serve(FaultServer(refuses=lambda body: words if bad(body) else None)) as server:
        said, notes = ask_twice(server, stop=["\n\n"], top_p=0.9, extra={"response_format": {"type": "json_schema"}})
    assert len(said) == 3
    assert server.requests == 4
    assert len(notes) == 1
    assert setting in notes[0]
    assert words[:20] in notes[0]
    assert "Be brief." in json.dumps(server.bodies[-1])


def test_several_refusals_are_adapted_one_after_the_other() -> None:
    def refuses(body: Body) -> str | None:
        names = [name for name in ("max_tokens", "temperature") if name in body]
        return f"Unsupported parameter: '{names[0]}'. Use 'max_completion_tokens' instead." if names else None

    with serve(FaultServer(refuses=refuses)) as server:
        notes = ask_twice(server)[1]
    assert server.requests == 5
    assert len(notes) == 2
    assert server.bodies[-1]["max_completion_tokens"] == 512


@pytest.mark.parametrize(
    ("words", "advice"),
    [
        ("temperature must be between 0 and 1", "teacher.temperature=null"),
        ("This model's maximum context length is 4096 tokens.", "fewer prompt.exemplars"),
        ("You must provide a chat template if the tokenizer does not define one.", "teacher.api=completions"),
        ("Unrecognized request argument supplied: top_k", "teacher.extra"),
        ("No idea.", "No idea."),
    ],
)
def test_what_is_not_certain_is_told_with_the_endpoints_reason_and_not_adapted(words: str, advice: str) -> None:
    with (
        serve(FaultServer(refuses=lambda body: words)) as server,
        pytest.raises(TeacherError, match="HTTP 400") as caught,
    ):
        ask(server)
    assert server.requests == 1
    assert words.rstrip(".") in str(caught.value)
    assert advice in str(caught.value)


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b'[{"error": {"code": 400, "message": "API key not valid."}}]', "HTTP 400: API key not valid."),
        (
            b'{"error": {"message": "Input length 6000 exceeds maximum allowed token size"}}',
            "exceeds the model's context",
        ),
        (b'{"error": {"message": "input tokens exceed the limit of 4096"}}', "exceeds the model's context"),
    ],
)
def test_an_error_is_told_in_the_endpoints_words_whatever_surrounds_them(body: bytes, words: str) -> None:
    where = Address("http://localhost/v1", "m", None, 1.0)
    assert words in str(explain_status(400, body, {}, where, ""))


def stream(*deltas: Any, end: str = "data: [DONE]\n\n") -> bytes:
    chunks = [{"model": "m", "choices": [{"index": 0, "delta": delta}]} for delta in deltas]
    return ("".join(f"event: message\r\ndata: {json.dumps(chunk)}\r\n\r\n" for chunk in chunks) + end).encode()


def test_a_stream_that_nobody_asked_for_is_put_together() -> None:
    usage = {"choices": [], "usage": {"prompt_tokens": 10, "completion_tokens": 3}}
    end = f": ping\n\ndata: {json.dumps(usage)}\n\ndata: [DONE]"
    deltas = ({"role": "assistant", "content": ""}, {"reasoning_content": "I "}, {"reasoning_content": "see."})
    (said,) = read_completions(stream(*deltas, {"content": "It is"}, {"content": " 4.\u2028"}, end=end))
    assert (said.text, said.reasoning, said.model) == ("It is 4.\u2028", "I see.", "m")
    assert (said.prompt_tokens, said.completion_tokens) == (10, 3)
    call = {"index": 0, "function": {"name": "f", "arguments": '{"answer"'}}
    more = {"index": 0, "function": {"arguments": ': "4"}'}}
    assert read_completions(stream({"tool_calls": [call]}, {"tool_calls": [more]}))[0].text == '{"answer": "4"}'
    ended = b'data: {"choices": [{"index": 0, "text": "4", "finish_reason": "length"}]}\n\n'
    two = b'data: {"choices": [{"index": 1, "text": "5", "finish_reason": "stop"}]}\n\n'
    assert [(one.text, one.finish_reason) for one in read_completions(two + ended)] == [("4", "length"), ("5", "stop")]


@pytest.mark.parametrize(
    ("content", "fatal", "words"),
    [
        (stream({"content": "4"}, end=""), False, "broke off"),
        (stream({"content": "4"}, end='data: {"choices": [{"del'), False, "broke off"),
        (b"data: [DONE]\n\n", False, "broke off"),
        (
            stream({"content": "4"}, end='data: {"error": {"message": "m is overloaded", "code": 503}}'),
            False,
            "overloaded",
        ),
        (b'data: {"status": "ok"}\n\n', True, "a stream of events, but not of a completion"),
        (b"data: 4\n\n", True, "a stream of events, but not of a completion"),
    ],
)
def test_a_stream_that_is_no_whole_answer_is_an_error(content: bytes, fatal: bool, words: str) -> None:
    with pytest.raises(TeacherError, match=words) as caught:
        read_completions(content, "", Address("http://localhost/v1", "m", None, 1.0))
    assert caught.value.fatal is fatal  # paid for once, and not again and again
    assert caught.value.retryable is not fatal


def test_a_model_that_only_streams_is_asked_for_a_stream() -> None:
    refuses = lambda body: None if body.get("stream") else "This model only support stream mode"  # noqa: E731
    with serve(FaultServer(refuses=refuses)) as server:
        said, notes = ask_twice(server)
    assert (len(said), server.requests) == (3, 4)
    assert notes[0].endswith("they are requested as a stream, and put together for this run.")


def test_an_endpoint_without_response_format_is_asked_without_it(tmp_path: Path) -> None:
    refuses = lambda body: "'response_format.type' must be text" if "response_format" in body else None  # noqa: E731
    answer = lambda question: json.dumps({"rationale": "I counted.", "answer": str(len(question))})  # noqa: E731
    with serve(FaultServer(refuses=refuses, answer=answer)) as server:
        teacher = OpenAITeacher(name="openai", model="m", base_url=server.url)
        summary = run_extraction(job_for(tmp_path, teacher, size=3, prompt=count_prompt(answer_format="json")))
    assert summary["splits"]["train"]["parsed"] == 3
    assert "prompt.answer_format=text" in " ".join(summary["notes"])


def test_rows_that_all_fail_end_with_the_endpoints_reason(tmp_path: Path) -> None:
    with serve(FaultServer(refuses=lambda body: "No.")) as server, pytest.raises(TeacherError, match="HTTP 400: No"):
        run_extraction(job_for(tmp_path / "f", OpenAITeacher(name="openai", model="m", base_url=server.url), size=3))
    assert list(tmp_path.iterdir()) == []


def test_a_thought_beside_the_text_is_kept_in_the_store_and_is_the_rationale(tmp_path: Path) -> None:
    def thinks(body: Body) -> Body:
        body["choices"][0]["message"] = {"content": "So the answer is 23.", "reasoning_content": "I counted 23."}
        return body

    with serve(FaultServer(completion=thinks)) as server:
        teacher = OpenAITeacher(name="openai", model="m", base_url=server.url)
        run_extraction(job_for(tmp_path, teacher, size=2))
    annotations = load_annotations(tmp_path, "train").values()
    assert {(one.rationale, one.label, one.status) for one in annotations} == {("I counted 23.", "23", "ok")}


def test_a_prompt_that_the_server_cut_is_told(tmp_path: Path) -> None:
    def reads_little(body: Body) -> Body:
        body["usage"]["prompt_tokens"] = 256
        return body

    prompt = count_prompt(instruction="Count the letters of the question. " * 200)
    with serve(FaultServer(completion=reads_little)) as server:
        teacher = OpenAITeacher(name="openai", model="m", base_url=server.url)
        summary = run_extraction(job_for(tmp_path, teacher, size=3, prompt=prompt))
    (note,) = summary["notes"]
    assert "256 prompt tokens" in note
    assert "num_ctx" in note


def test_a_proxy_is_gone_past_on_loopback_and_named_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://me:secret@127.0.0.1:9")
    with serve() as server:
        assert "So the answer is" in ask(server).text
    monkeypatch.setenv("OPENAI_API_KEY", "sk-planted-0123456789abcdef")
    with pytest.raises(TeacherError, match=r"HTTP_PROXY=http://127\.0\.0\.1:9") as caught:
        ask(FaultServer(url="http://gpu-7.example:8000/v1"))
    assert "NO_PROXY=gpu-7.example" in str(caught.value)
    assert "secret" not in str(caught.value)
    monkeypatch.setenv("NO_PROXY", "gpu-7.example")
    assert find_proxy("http://gpu-7.example:8000/v1") is None


@pytest.mark.parametrize(
    ("excepted", "address"),
    [
        ("gpu-7.example:8000", "http://gpu-7.example:8000/v1"),
        (".example", "http://gpu-7.example/v1"),
        ("10.0.0.0/8, x", "http://10.1.2.3:8000/v1"),
        ("", "http://0.0.0.0:8000/v1"),
        ("*", "http://gpu-7.example/v1"),
    ],
)
def test_hosts_ports_and_networks_of_no_proxy_are_gone_to_directly(
    excepted: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    monkeypatch.setenv("NO_PROXY", excepted)
    monkeypatch.delenv("no_proxy", raising=False)
    assert find_proxy(address) is None
    assert (find_proxy("http://gpu-8.test:8000/v1") is None) == (excepted == "*")


@pytest.mark.parametrize(
    "proxy", ["socks5://me:secret@h:1080", "http://", "http://h:99999", "http://a b:1", "ht!tp://x"]
)
def test_a_proxy_that_cannot_be_used_is_told_with_the_variable(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "all_proxy", "no_proxy", "HTTP_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", proxy)
    with pytest.raises(TeacherError, match=r"^ALL_PROXY=.*expected an HTTP proxy") as caught:
        ask(FaultServer(url="http://gpu-7.example:8000/v1"), api_key_env=None)
    assert caught.value.fatal
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("status", [301, 307])
def test_a_redirect_is_told_and_the_prompt_sent_nowhere_else(status: int) -> None:
    with serve(FaultServer(script=lambda number, question: str(status))) as server:
        with pytest.raises(TeacherError, match=r"teacher\.base_url") as caught:
            ask(server)
        assert server.requests == 1
    assert caught.value.fatal
