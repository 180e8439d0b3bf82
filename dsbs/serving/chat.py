"""OpenAI's chat completions: requests to inputs, answers to responses."""

import json
import time
import uuid
from collections.abc import Iterator
from typing import Any

import re2

from dsbs.core.errors import ConfigError, DataError
from dsbs.core.records import Prediction
from dsbs.serving.settings import REPLIES, Chat
from dsbs.tasks.tables.templates import unescape_newlines

MAX_CHOICES = 16
FIELDS = ("label", "confidence", "rationale")  # of chat.reply
CALLS = ("tool_choice", "function_call")  # objects that name a tool
_QUIET = re2.Options()
_QUIET.log_errors = False


def compile_pattern(key: str, pattern: str) -> Any:
    """Return a compiled regular expression (RE2).

    Raises:
        ConfigError: it is invalid.
    """
    try:
        return re2.compile(pattern, options=_QUIET)
    except re2.error as error:
        reason = error.args[0].decode() if error.args and isinstance(error.args[0], bytes) else error
        raise ConfigError(f"{key}={pattern}: {reason}.") from None


class Reader:
    """Extracts the student's input from a chat request.

    Raises:
        ConfigError: the pattern is not a valid regular expression, or has no group.
    """

    def __init__(self, settings: Chat) -> None:
        pattern = settings.pattern
        if settings.template is not None:
            before, after = map(re2.escape, unescape_newlines(settings.template).split("{input}"))
            pattern = f"(?s)^\\s*{before}(?P<input>.*){after}\\s*$"
        self.source = "chat.template" if settings.template is not None else "chat.pattern"
        self.pattern: Any = None
        if pattern is not None:
            self.pattern = compile_pattern("chat.pattern", pattern)
            if not self.pattern.groups:
                raise ConfigError(f"chat.pattern={pattern}: expected a named group, such as (?P<input>.*).")

    def read(self, body: dict[str, Any]) -> str:
        """Return the input in the last user message.

        Raises:
            DataError: there is none, or it does not match the template or pattern.
        """
        text = last_user_message(body.get("messages"))
        if self.pattern is None:
            return text
        found = self.pattern.search(text)
        if found is None:
            raise DataError(f"messages: {self.source} does not match the last user message.")
        return str(found.group("input") if "input" in self.pattern.groupindex else found.group(1))


def last_user_message(messages: Any) -> str:
    """Return the text of the last user message, its parts joined by newlines.

    >>> last_user_message([{"role": "user", "content": [{"type": "text", "text": "It leaks."}]}])
    'It leaks.'

    Raises:
        DataError: there is none, or it has parts that are not text.
    """
    if not isinstance(messages, list) or not messages:
        raise DataError('messages: expected a list such as [{"role": "user", "content": "..."}].')
    for message in reversed(messages):
        if not isinstance(message, dict):
            raise DataError("messages: expected objects with role and content.")
        if message.get("role") != "user":
            continue
        content = message.get("content")
        if isinstance(content, str):
            return content
        parts = content if isinstance(content, list) else [None]
        texts = [part.get("text") if isinstance(part, dict) and part.get("type") == "text" else None for part in parts]
        if not texts or not all(isinstance(text, str) for text in texts):
            raise DataError("messages: the last user message has parts that are not text.")
        return "\n".join(str(text) for text in texts)
    raise DataError("messages: there is no user message.")


def count_choices(body: dict[str, Any]) -> int:
    """Return ``n`` of a chat request, the number of choices.

    Raises:
        DataError: it is not a whole number from 1 to 16.
    """
    count = body.get("n", 1)
    count = 1 if count is None else count
    if isinstance(count, bool) or not isinstance(count, int) or not 1 <= count <= MAX_CHOICES:
        raise DataError(f"n: expected a whole number from 1 to {MAX_CHOICES}.")
    return count


def check_form(body: dict[str, Any], settings: Chat) -> None:
    """Check that a chat request requires no reply of another form than ours, which its client could not read.

    Raises:
        DataError: it requires a call of a tool, log-probabilities of tokens, or JSON where ``chat.reply`` is not.
    """
    form = body.get("response_format")
    if isinstance(form, dict) and form.get("type") in ("json_object", "json_schema") and not replies_json(settings):
        raise DataError(
            "response_format: this server replies with text. Started with chat.reply=json it replies with JSON, or "
            r"""with the object that the application expects: "chat.reply='{\"answer\": \"{label}\"}'"."""
        )
    if body.get("tool_choice") == "required" or any(isinstance(body.get(key), dict) for key in CALLS):
        raise DataError("tool_choice: a student calls no tools, it replies with text.")
    if body.get("logprobs") is True:
        raise DataError("logprobs: there are none of tokens; the reply has the confidence, under dsbs.confidence.")


def replies_json(settings: Chat) -> bool:
    """Return whether replies are JSON objects.

    >>> replies_json(Chat(reply='{"stars": {label}}')), replies_json(Chat(reply="{label} stars"))
    (True, False)
    """
    if settings.reply in REPLIES:
        return settings.reply == "json"
    try:
        filled = fill(unescape_newlines(settings.reply), dict.fromkeys(FIELDS, "0"))
        return isinstance(json.loads(filled), dict)
    except ValueError:
        return False


def write_reply(prediction: Prediction, settings: Chat) -> str:
    """Return an answer in the format of ``chat.reply``.

    >>> write_reply(Prediction("1", None, "refund", "It leaks.", confidence=0.9), Chat(reply="rationale"))
    'It leaks. So the answer is refund.'
    >>> write_reply(Prediction("1", None, 'a "lemon"'), Chat(reply='{"label": "{label}", "sure": {confidence}}'))
    '{"label": "a \\\\"lemon\\\\"", "sure": null}'
    """
    label = prediction.label or ""
    confidence = None if prediction.confidence is None else round(prediction.confidence, 6)
    if settings.reply == "label":
        return label
    if settings.reply == "json":
        return json.dumps({"label": prediction.label, "confidence": confidence}, ensure_ascii=False)
    text = (
        f"{{rationale}} {settings.cue} {{label}}."
        if settings.reply == "rationale"
        else unescape_newlines(settings.reply)
    )
    values = {"label": label, "confidence": str(confidence), "rationale": prediction.rationale or ""}
    if replies_json(settings):
        values = {name: json.dumps(value, ensure_ascii=False)[1:-1] for name, value in values.items()}
        values["confidence"] = json.dumps(confidence)
    return fill(text, values).strip()


def fill(text: str, values: dict[str, str]) -> str:
    """Return a text with its ``{name}`` fields replaced; braces inside values are kept.

    >>> fill("{label} ({other})", {"label": "{rationale}", "rationale": "x"})
    '{rationale} ({other})'
    """
    return re2.sub(r"\{(\w+)\}", lambda found: values.get(found.group(1), found.group(0)), text)


def completion(
    text: str, model: str, choices: int, usage: tuple[int, int], extra: dict[str, Any] | None = None
) -> dict[str, Any]:
    """Return a response of ``/v1/chat/completions``.

    Args:
        extra: further fields, under ``dsbs``.
    """
    read, written = usage
    return {
        "id": f"chatcmpl-{uuid.uuid4().hex}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": model,
        "choices": [
            {
                "index": index,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": None,
                "finish_reason": "stop",
            }
            for index in range(choices)
        ],
        "usage": {"prompt_tokens": read, "completion_tokens": written, "total_tokens": read + written},
        **({"dsbs": extra} if extra else {}),
    }


def chunks(whole: dict[str, Any], with_usage: bool) -> Iterator[str]:
    """Yield a completion as server-sent events: per choice a chunk with the whole text, then the end.

    Args:
        with_usage: whether to end with a chunk of token counts.
    """
    frame = {key: whole[key] for key in ("id", "created", "model")} | {"object": "chat.completion.chunk"}
    for choice in whole["choices"]:
        delta = {"role": "assistant", "content": choice["message"]["content"]}
        parts = [{"index": choice["index"], "delta": delta, "logprobs": None, "finish_reason": None}]
        yield _event(frame | {"choices": parts})
    ends = [{"index": one["index"], "delta": {}, "logprobs": None, "finish_reason": "stop"} for one in whole["choices"]]
    yield _event(frame | {"choices": ends})
    if with_usage:
        yield _event(frame | {"choices": [], "usage": whole["usage"]})
    yield "data: [DONE]\n\n"


def _event(data: dict[str, Any]) -> str:
    # In ASCII: some clients split an event's line at the line breaks of Unicode, too.
    return f"data: {json.dumps(data)}\n\n"
