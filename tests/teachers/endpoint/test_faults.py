"""What endpoints say when they refuse, in the words that public trackers report."""

import errno
import json
import time
from datetime import UTC, datetime
from email.utils import formatdate
from typing import Any

import pytest

from dsbs.extraction.executors.local import OVERLOAD
from dsbs.teachers.endpoint.adapting import find_adaptation
from dsbs.teachers.endpoint.address import Address
from dsbs.teachers.endpoint.client import find_moved
from dsbs.teachers.endpoint.faults import explain_connection, explain_status, malformed
from dsbs.teachers.endpoint.headers import read_wait
from dsbs.teachers.endpoint.http import Reply
from dsbs.teachers.endpoint.words import hint

WHERE = Address("http://gpu-7/v1", "m", "MY_KEY", 1.0)
BODY = {
    "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "two?"}],
    "temperature": 0.0, "max_tokens": 9, "top_p": 0.9, "stop": ["\n"], "response_format": {"type": "json_schema"},
    "logprobs": True, "top_logprobs": 5,
}  # fmt: skip

ADAPTED = """
a system message|role 'system' is not supported on this model
a system message|This model does not support system messages
a system message|Only user, assistant and tool roles are supported, got system.
a system message|messages.0.role: Input should be 'user' or 'assistant'
a system message|Invalid value: 'system'. Supported values are: 'user', 'assistant'.
a system message|The role 'system' is invalid. Valid roles: user, assistant
a system message|A conversation must start with a user message.
a system message|[{'loc': ['messages', 0, 'role'], 'msg': "not a valid member; permitted: 'user', 'assistant'"}]
a system message|Input tag 'system' found using 'role' does not match any of the expected tags: 'user', 'assistant'
a system message|messages with role 'system' are not allowed
a system message|Role system not in allowed roles
a system message|Roles must be user or assistant
a system message|system is not a valid role
a system message|Please use a valid role: user, model.
a system message|messages: Unexpected role "system". The Messages API accepts a top-level `system` parameter
a system message|不支持 system 角色
response_format|model `m` does not support response format `json_schema`
response_format|json_schema is currently only available on newer models
response_format|Structured output is disabled on this server
response_format|JSON mode is not enabled for this model
response_format|Grammar compilation error
response_format|Failed to compile grammar
response_format|[{'loc': ('body', 'response_format'), 'msg': 'Extra inputs are not permitted'}]
response_format|The specified schema produces a constraint that has too many states for serving.
response_format|* GenerateContentRequest.generation_config.response_schema.properties[answer].enum[3]: cannot be empty
max_tokens|Unrecognized request argument supplied: max_tokens
max_tokens|this model is not supported MaxTokens or max_completion_tokens
temperature|`temperature` is deprecated for this model.
temperature|`temperature` may only be set to 1 when thinking is enabled.
temperature|invalid temperature: only 1 is allowed for this model
temperature|x does not support parameters: ['temperature'], for model=r1. To drop these, set `litellm.drop_params=True`
temperature=0|The parameter `temperature` is invalid: must be in (0,1]
temperature=0|Input should be greater than 0 (temperature)
stop|stop: whitespace-only stop sequences are not allowed
None|temperature must be in the range [0, 2] of the system
None|The system is unavailable, insufficient system resource
None|max_tokens is too large: 512. This model supports at most 256 completion tokens
None|max_tokens=512 is not supported: values must not exceed 256
None|Invalid 'max_tokens': integer below minimum value. Expected a value >= 16, but got 10 instead.
None|`logprobs` is not supported with this model
None|prompt is too long: 210000 tokens > 200000 maximum
"""


@pytest.mark.parametrize("row", ADAPTED.strip().splitlines())
def test_a_refusal_in_any_words_is_adapted_to_where_it_names_what_it_refuses(row: str) -> None:
    what, explanation = row.split("|", 1)
    found = find_adaptation(BODY, "HTTP 400", explanation, ())
    assert str(found and found.what) == what


CONTEXTS = """
Please reduce the length of the messages or completion. Current length is 42328 while limit is 40000
the request exceeds the available context size (4096 tokens), try increasing it
Input validation error: `inputs` must have less than 4095 tokens. Given: 5000
Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096.
The input token count (1100000) exceeds the maximum number of tokens allowed (1048576).
input length and `max_tokens` exceed context limit: 184915 + 20000 > 204648
Input is too long for requested model.
Too many input tokens. Max input tokens: 4096
The decoder prompt (length 5000) is longer than the maximum model length of 4096.
Range of input length should be [1, 6144]
total message token length exceed model limit
string too long. Expected a string with maximum length 1048576
Token limit exceeded
the input exceeds n_ctx
Prompt length 9000 is greater than max_seq_len 8192
max_tokens must be at least 1, got -391.
"""


@pytest.mark.parametrize("explanation", CONTEXTS.strip().splitlines())
def test_a_prompt_that_is_too_long_is_told_as_one_and_not_retried(explanation: str) -> None:
    assert "exceeds the model's context" in hint(explanation)
    assert not explain_status(500, explanation.encode(), {}, WHERE, "").retryable


@pytest.mark.parametrize(
    ("explanation", "advice"),
    [
        (
            "Could not finish the message because max_tokens was reached; try higher max_tokens",
            "Raise teacher.max_tokens",
        ),
        ("Invalid 'max_tokens': integer below minimum value. Expected a value >= 16", "Raise teacher.max_tokens"),
        ("error code: 1010", "A firewall"),
        ("Range of max_tokens should be [1, 256]", "teacher.max_tokens"),
        ("`max_tokens` must be greater than `thinking.budget_tokens`", "Raise teacher.max_tokens"),
        ("Invalid 'stop': array too long. Expected an array with maximum length 4", "Fewer stop sequences"),
        ("Request too large for m on tokens per min (TPM): Limit 6000, Requested 9000", "may send in a minute"),
        ("You are not allowed to request logprobs from this model", "teacher.top_logprobs=null"),
        ("The model does not support Chat Completions API", "teacher.api=completions"),
        ("This model is only supported in v1/responses", "another model"),
        ("parameter.enable_thinking must be set to false for non-streaming calls", "+teacher.extra.enable_thinking"),
        ("Unsupported value: 'reasoning_effort' does not support 'none'", "+teacher.extra.reasoning_effort=low"),
        ("This model only support stream mode", "does not stream"),
        ('Unknown name "seed": Cannot find field.', "teacher.extra"),
        ("Missing required query parameter: api-version", "azure.com/openai/v1"),
        ("Failed to generate JSON. Please adjust your prompt.", "prompt.answer_format=text"),
        ("Failed to validate JSON. See 'failed_generation' for more details.", "prompt.answer_format=text"),
    ],
)
def test_a_refusal_is_told_with_the_setting_that_helps(explanation: str, advice: str) -> None:
    assert advice in hint(explanation)


@pytest.mark.parametrize(
    ("status", "explanation", "words"),
    [
        (400, "Your credit balance is too low to access the Anthropic API.", "no credit left"),
        (403, "Key limit exceeded (total limit).", "no credit left"),
        (402, "Insufficient Balance", "no credit left"),
        (400, "API key not valid. Please pass a valid API key.", "MY_KEY"),
        (403, "Invalid API key", "MY_KEY"),
        (400, "The model `m` does not exist", "no model 'm'"),
        (400, "m is not a valid model ID", "no model 'm'"),
        (400, "No models loaded. Please load a model in the developer page", "no model 'm'"),
        (410, "The model m has been deprecated", "no model 'm'"),
        (
            400,
            "You passed in model=m. There are no healthy deployments for this model. Received Model Group=m",
            "no model",
        ),
        (400, "The requested model 'm' is not supported by any provider you have enabled.", "no model 'm'"),
        (400, "The provided model identifier is invalid.", "no model 'm'"),
        (400, "No models are currently loaded.", "no model 'm'"),
        (400, "Invocation of model ID m with on-demand throughput isn't supported.", "no model 'm'"),
        (403, "You don't have access to the model with the specified model ID.", "no model 'm'"),
        (400, "LLM Provider NOT provided. You passed model=m", "no model 'm'"),
        (400, "Authentication Error, LiteLLM Virtual Key expected. Received=none", "MY_KEY"),
        (400, "Budget has been exceeded! Current cost: 10.2, Max budget: 10.0", "no credit left"),
        (403, "Sorry, your account balance is insufficient", "no credit left"),
        (
            429,
            "You exceeded your current quota. * Quota exceeded for metric: free_tier_requests, limit: 0",
            "no credit",
        ),
        (429, "余额不足或无可用资源包,请充值。", "no credit left"),
        (403, "The security token included in the request is expired", "MY_KEY"),
        (404, "This is not a chat model. Did you mean to use v1/completions?", "teacher.api=completions"),
        (403, "Your team has used all available credits or reached its monthly spending limit.", "no credit left"),
        (400, "You have reached your specified API usage limits. You will regain access soon.", "no credit left"),
        (404, "No endpoints found that support the requested parameters", "teacher.top_logprobs"),
        (404, "No endpoints found matching your data policy", "no provider behind http://gpu-7/v1"),
        (405, "Method Not Allowed", "teacher.base_url"),
        (407, "Proxy Authentication Required", "HTTPS_PROXY="),
    ],
)
def test_what_no_request_can_pass_ends_the_run(status: int, explanation: str, words: str) -> None:
    error = explain_status(status, json.dumps({"error": {"message": explanation}}).encode(), {}, WHERE, "")
    assert error.fatal
    assert words in str(error)


@pytest.mark.parametrize(
    ("status", "explanation", "reason", "retryable"),
    [
        (424, "request failed during generation", "HTTP 424", True),
        (498, "Flex tier capacity exceeded", "HTTP 498", True),
        (429, "You exceeded your current quota, please check your plan. Please retry in 33s.", "HTTP 429", True),
        (529, "Overloaded", "HTTP 529", True),
        (400, "Too many tokens, please wait before trying again.", "HTTP 429", True),
        (500, "BedrockException - Too many tokens, please wait before trying again.", "HTTP 429", True),
        (403, "Too Many Requests", "HTTP 429", True),
        (400, "Input data may contain inappropriate content.", "content filter", False),
        (400, "Content Exists Risk", "content filter", False),
        (403, "m requires moderation. Your input was flagged", "content filter", False),
        (403, "You have reached your usage limit of the hour", "HTTP 403", False),
        (451, "Unavailable For Legal Reasons", "HTTP 451", False),
        (429, "Request too large for m on tokens per min (TPM): Limit 6000, Requested 9000.", "HTTP 429", False),
    ],
)
def test_what_may_pass_later_is_retried_and_what_concerns_one_prompt_ends_that_one(
    status: int, explanation: str, reason: str, retryable: bool
) -> None:
    error = explain_status(status, json.dumps({"detail": explanation}).encode(), {}, WHERE, "")
    assert (error.reason, error.retryable, error.fatal) == (reason, retryable, False)
    assert explanation.rstrip(".") in str(error)


def test_too_many_open_files_are_no_missing_server() -> None:
    error = explain_connection(OSError(errno.EMFILE, "Too many open files"), WHERE, "", None)
    assert str(error).endswith("Too many open files. Lower concurrency, or raise the limit (ulimit -n).")
    assert error.reason in OVERLOAD  # so that fewer are opened at once


def test_a_filter_that_only_the_code_names_is_one() -> None:
    body = {"error": {"message": "Detected harmful input: INDIRECT_ATTACK", "code": "content_filter"}}
    assert explain_status(400, json.dumps(body).encode(), {}, WHERE, "").reason == "content filter"


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("https://gpu-7/v1/chat/completions", "Type teacher.base_url=https://gpu-7/v1."),
        ("/api/v1/chat/completions", "Type teacher.base_url=http://gpu-7/api/v1."),
        ("/login?next=%2Fv1", "Set teacher.base_url."),
    ],
)
def test_a_redirect_is_told_with_the_address_to_type(place: str, words: str) -> None:
    assert str(explain_status(308, b"", {"Location": place}, WHERE, "")).endswith(words)


@pytest.mark.parametrize(
    ("address", "advice"),
    [
        ("https://api.groq.com/v1", "teacher.base_url=https://api.groq.com/openai/v1."),
        ("https://openrouter.ai", "teacher.base_url=https://openrouter.ai/api/v1."),
        ("https://openrouter.ai/api/v1", "Check teacher.model and teacher.base_url."),
        ("http://gpu-7:8000", "teacher.base_url=http://gpu-7:8000/v1."),
        ("http://gpu-7:11434/api", "teacher.base_url=http://gpu-7:11434/v1."),
        ("http://gpu-7/team-a", "teacher.base_url=http://gpu-7/team-a/v1."),
        ("https://r.openai.azure.com", "teacher.base_url=https://r.openai.azure.com/openai/v1."),
    ],
)
def test_an_address_that_is_not_there_is_told_with_the_one_that_is(address: str, advice: str) -> None:
    assert str(explain_status(404, b"Not Found", {}, WHERE._replace(base_url=address), "")).endswith(advice)


def test_what_the_user_set_stays_where_an_endpoint_takes_one_bound_alone() -> None:
    body = {"messages": [], "max_tokens": 512, "max_completion_tokens": 300}
    found = find_adaptation(body, "HTTP 400", "Only one of max_tokens or max_completion_tokens may be set", ())
    assert found is not None
    assert found.change(body) == {"messages": [], "max_completion_tokens": 300}


@pytest.mark.parametrize(
    ("status", "place", "moved"),
    [
        (307, "/v1/chat/completions/", "/chat/completions/"),
        (308, "http://gpu-7/v1/chat/completions/", "/chat/completions/"),
        (308, "https://gpu-7/v1/chat/completions/", None),
        (308, "http://gpu-8/v1/chat/completions/", None),
        (307, "/v1/chat/completions", None),
        (307, "/v2/chat/completions/", None),
        (307, None, None),
        (301, "/v1/chat/completions/", "/chat/completions/"),
        (303, "/v1/chat/completions/", None),  # which asks for a GET
    ],
)
def test_a_redirect_that_only_adds_a_slash_is_followed(status: int, place: str | None, moved: str | None) -> None:
    reply = Reply(status, {"Location": place} if place else {}, b"")
    assert find_moved(reply, WHERE.base_url, "/chat/completions") == moved


def test_a_key_that_was_never_sent_is_told_as_missing() -> None:
    assert str(explain_status(401, b"", {}, WHERE, "none")).endswith("the key: none is set. Type export MY_KEY=….")
    assert "teacher.api_key_env=NAME" in str(explain_status(401, b"", {}, WHERE._replace(api_key_env=None), "none"))
    assert "does not accept the key in" in str(explain_status(401, b"", {}, WHERE, "sk-1"))


def test_the_faults_of_a_validator_are_told_with_their_places() -> None:
    body = b'{"detail": [{"loc": ["body", "stop"], "msg": "too many"}, {"loc": ["body", "n"], "msg": "no"}]}'
    assert str(explain_status(422, body, {}, WHERE, "")).startswith("HTTP 422: body.stop: too many; body.n: no.")
    assert "n'}" in str(explain_status(422, b'{"detail": [{"why": "n"}]}', {}, WHERE, ""))


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "Provider returned error", "metadata": {"raw": '{"error": "role system is not known"}'}}},
        {"message": {"detail": [{"loc": ["body"], "msg": "role system is not known"}]}},
        {"result": None, "success": False, "errors": [{"code": 1, "message": "role system is not known"}]},
    ],
)
def test_the_reason_is_found_however_deep_a_gateway_wraps_it(body: dict[str, Any]) -> None:
    error = explain_status(400, json.dumps(body).encode(), {}, WHERE, "")
    assert "role system is not known" in str(error)
    assert "success" not in str(error)
    assert find_adaptation(BODY, error.reason, error.explanation, ()) is not None


@pytest.mark.parametrize(
    "explanation",
    [
        "model requires more system memory (7.5 GiB) than is available (5.2 GiB)",
        "Service is too busy. Switch to alternative providers",
        "User location is not supported for the API use.",
        "upstream connect error or disconnect/reset before headers",
    ],
)
def test_words_that_name_no_setting_give_no_advice(explanation: str) -> None:
    assert hint(explanation) == ""


def test_a_quota_that_only_the_type_names_is_spent() -> None:
    body = b'{"error": {"message": "You exceeded it.", "code": "429", "type": "insufficient_quota"}}'
    assert explain_status(429, body, {}, WHERE, "").fatal


def test_a_page_instead_of_an_answer_is_told_by_its_title() -> None:
    page = b"<!DOCTYPE html><html><head><title> Sign in - Corp </title></head><body>...</body></html>"
    assert "'Sign in - Corp'. It is a web page" in str(malformed(page))
    error = explain_status(413, b"<html><head><title>413 Request Entity Too Large</title></head></html>", {}, WHERE, "")
    assert str(error).startswith("HTTP 413: 413 Request Entity Too Large. The prompt exceeds")


@pytest.mark.parametrize(
    ("content", "advice"), [(b" \n", "It is empty."), (b'{"choices": [{"mess', "cut off"), (b"{} {}", "broken")]
)
def test_a_body_that_is_no_answer_is_told_by_what_it_is(content: bytes, advice: str) -> None:
    assert advice in str(malformed(content))


NOW = 1_700_000_000.0


@pytest.mark.parametrize(
    ("headers", "content", "explanation", "seconds"),
    [
        ({"retry-after": "7.5"}, b"", "Please try again in 9s.", 7.5),
        ({"retry-after": "7s"}, b"", "", 7.0),
        ({"retry-after": formatdate(NOW + 30, usegmt=True)}, b"", "", 30.0),
        ({"retry-after": datetime.fromtimestamp(NOW + 30, UTC).isoformat()}, b"", "", 30.0),
        ({"retry-after": str(NOW + 30)}, b"", "", 30.0),
        ({"x-ms-retry-after-ms": "1500"}, b"", "", 1.5),
        ({"x-ratelimit-reset": str((NOW + 20) * 1000)}, b"", "", 20.0),
        ({"ratelimit-reset": "12"}, b"", "", 12.0),
        ({"anthropic-ratelimit-tokens-reset": datetime.fromtimestamp(NOW + 15, UTC).isoformat()}, b"", "", 15.0),
        ({"x-ratelimit-remaining-requests": "0", "x-ratelimit-reset-requests": "1m30s",
          "x-ratelimit-reset-tokens": "6ms"}, b"", "", 90.0),
        ({"x-ratelimit-remaining-tokens": "0", "x-ratelimit-reset-tokens": "23h"}, b"", "", 82_800.0),
        ({}, b'{"error": {"details": [{"retryDelay": "33s"}]}}', "", 33.0),
        ({}, b'{"metadata": {"headers": {"X-RateLimit-Reset": "1700000010000"}}}', "", 10.0),
        ({}, b'{"retry_after": 2.5}', "", 2.5),
        ({}, b"", "Please try again in 20ms. Visit", 0.02),
        ({}, b"", "Please try again in 1h2m3.5s.", 3723.5),
        ({}, b"", "retry after 5 minutes", 300.0),
        ({}, b"", "Please retry after 60", 60.0),
        ({}, b"", "Rate limit exceeded. Please wait 51523 seconds before retrying.", 51523.0),
        ({}, b'{"error": "Model m is currently loading", "estimated_time": 20.0}', "", 20.0),
        ({}, b"", "Try again later.", None),
        ({"retry-after": "soon"}, b"", "", None),
    ],
)  # fmt: skip
def test_how_long_to_wait_is_read_wherever_an_endpoint_says_it(
    headers: dict[str, str], content: bytes, explanation: str, seconds: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)
    assert read_wait(headers, content, explanation) == (seconds if seconds is None else pytest.approx(seconds))
