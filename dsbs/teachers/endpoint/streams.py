"""Answers that come as server-sent events, put together: some gateways stream whether asked to or not."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from dsbs.core.errors import TeacherError
from dsbs.core.untrusted import Fields, load_json

_MAX_CHOICES = 1000


def is_stream(content: bytes) -> bool:
    """Return whether a body is a stream of events."""
    return content[:100].lstrip(b"\xef\xbb\xbf \t\r\n").startswith((b"data:", b"event:", b"id:", b"retry:"))


def join_events(content: bytes) -> dict[str, Any]:
    r"""Return the answer that the events of a stream make up, as it would have come in one piece.

    >>> chunks = b'data: {"choices": [{"delta": {"content": "4"}}]}\n\n'
    >>> join_events(chunks + b'data: {"choices": [{"delta": {"content": "."}, "finish_reason": "stop"}]}\n\n')
    {'choices': [{'finish_reason': 'stop', 'message': {'content': '4.'}}]}

    Raises:
        TeacherError: where the stream broke off; the request can be repeated.
        ValueError: where an event is not JSON, or there is no completion.
    """
    whole: dict[str, Any] = {}
    choices: dict[int, _Choice] = {}
    ended = False
    for event in _events(content):
        if event == b"[DONE]":
            ended = True
            continue
        try:
            chunk = load_json(event)
        except ValueError:
            if choices:
                raise _broken() from None
            raise
        if not isinstance(chunk, dict):
            raise ValueError("an event is no object")
        whole |= {name: value for name, value in chunk.items() if name != "choices" and value is not None}
        for choice in Fields(chunk).each("choices"):
            choices.setdefault(choice.count("index", limit=_MAX_CHOICES) or 0, _Choice()).add(choice)
    if not choices:
        if not whole:
            raise _broken()
        if "error" not in whole:
            raise ValueError("no completion")
        return whole
    found = [choices[position].whole() for position in sorted(choices)]
    if "error" not in whole and not ended and not all(choice.get("finish_reason") for choice in found):
        raise _broken()
    return whole | {"choices": found}


def _broken() -> TeacherError:
    return TeacherError("The endpoint's stream broke off.", retryable=True, reason="malformed answer")


def _events(content: bytes) -> Iterator[bytes]:
    """Yield the data of each event; what spans several lines is joined."""
    lines: list[bytes] = []
    for line in [*content.splitlines(), b""]:
        if line.startswith(b"data:"):
            lines.append(line[5:].strip())
        elif not line and lines:
            yield b"\n".join(lines)
            lines = []


@dataclass
class _Choice:
    """What has come of a choice.

    Attributes:
        texts: field of the message -> the pieces of its text.
        lists: field of the message -> its items.
        calls: number of a tool's call -> the pieces of its arguments.
        logprobs: those of the tokens.
        rest: other fields of the choice.
    """

    texts: dict[str, list[str]] = field(default_factory=dict)
    lists: dict[str, list[Any]] = field(default_factory=dict)
    calls: dict[int, list[str]] = field(default_factory=dict)
    logprobs: list[Any] = field(default_factory=list)
    rest: dict[str, Any] = field(default_factory=dict)

    def add(self, chunk: Fields) -> None:
        """Take in a chunk."""
        part = chunk.raw("delta") or chunk.raw("message") or {"content": chunk.raw("text")}
        for name, value in part.items() if isinstance(part, dict) else ():
            if isinstance(value, str):
                self.texts.setdefault(name, []).append(value)
            elif isinstance(value, list) and name != "tool_calls":
                self.lists.setdefault(name, []).extend(value)
        for call in Fields(part).each("tool_calls"):
            arguments = call.inside("function").raw("arguments")
            pieces = self.calls.setdefault(call.count("index", limit=_MAX_CHOICES) or 0, [])
            pieces.append(arguments if isinstance(arguments, str) else "")
        content = chunk.inside("logprobs").raw("content")
        self.logprobs += content if isinstance(content, list) else []
        named = ("finish_reason", "native_finish_reason", "stop_reason", "error")
        self.rest |= {name: chunk.raw(name) for name in named if name in chunk}

    def whole(self) -> dict[str, Any]:
        """Return the choice as one object."""
        message: dict[str, Any] = {name: "".join(pieces) for name, pieces in self.texts.items()} | self.lists
        if self.calls:
            message["tool_calls"] = [{"function": {"arguments": "".join(pieces)}} for pieces in self.calls.values()]
        if "content" not in message:
            message["content"] = None
        logprobs = {"logprobs": {"content": self.logprobs}} if self.logprobs else {}
        return self.rest | {"message": message} | logprobs
