"""Parsing of an endpoint's answers: completions, or an error object."""

import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from dsbs.core.errors import TeacherError
from dsbs.core.logprobs import TokenLogprobs, joined
from dsbs.core.records import Completion
from dsbs.core.untrusted import MOST_TEXT, Fields, load_json
from dsbs.teachers.faults import SECRET, Where, explain_error_object, hide, malformed, scrub
from dsbs.teachers.logprobs import read_logprobs

# Fields in which servers return the reasoning of a model beside its answer.
THOUGHTS = ("reasoning_content", "reasoning", "thinking", "reasoning_details")
THINKING_PARTS = {"thinking", "reasoning", "reasoning_text", "summary_text"}


class Said(NamedTuple):
    """The content of one choice of an answer.

    Attributes:
        text: the answer.
        reasoning: the model's reasoning, or None.
        refused: whether the model refused to answer; ``text`` is its refusal.
    """

    text: str
    reasoning: str | None = None
    refused: bool = False


def read_completions(content: bytes, key: str = "", where: Where | None = None) -> list[Completion]:
    """Return the completions in a response of the chat or completions API: one, or with ``n`` several.

    Prompt tokens count with the first completion; completion tokens are divided evenly.

    Args:
        content: the body.
        key: the API key, which is masked where the server repeats it.
        where: the endpoint, for messages, or None.

    Raises:
        TeacherError: where it is not such a response, or has an error object.
    """
    try:
        answer = load_json(content)
    except ValueError:
        raise malformed(content, key) from None
    return read_answer(answer, key, where)


def read_answer(answer: Any, key: str = "", where: Where | None = None) -> list[Completion]:
    """Return the completions in a parsed response; see ``read_completions``.

    All fields are checked for type and bounds here, and nowhere after. A field of another type counts as missing; an
    answer without any text is an error.

    Raises:
        TeacherError: as ``read_completions``.
    """
    fields = Fields(answer)
    choices = list(fields.each("choices"))
    for holder in (fields, *choices):
        if holder.raw("error"):
            raise explain_error_object(holder.raw("error"), where, key)
    if not choices and isinstance(fields.raw("choices"), list):
        raise TeacherError(
            f"The endpoint's answer has no choices: {scrub(answer, key)!r}. A content filter may have removed them.",
            reason="no choices",
        )
    said = [_read_choice(choice) for choice in choices]
    if not said or None in said:
        raise malformed(answer, key)
    usage, model, now = fields.inside("usage"), hide(fields.text("model"), key), time.time()
    read, written = usage.count("prompt_tokens"), usage.count("completion_tokens")
    return [
        Completion(
            text=(hide(one.text, key) or "")[:MOST_TEXT],
            finish_reason=_finish_reason(one, choice, key),
            model=model,
            prompt_tokens=read if read is None or place == 0 else 0,
            completion_tokens=None if written is None else _share(written, place, len(said)),
            created=now,
            reasoning=hide(one.reasoning, key),
            logprobs=_without_key(read_logprobs(choice), key),
        )
        for place, (one, choice) in enumerate(zip(said, choices, strict=True))
        if one is not None
    ]


def _without_key(said: tuple[TokenLogprobs, ...] | None, key: str) -> tuple[TokenLogprobs, ...] | None:
    """Return log-probabilities, unless their tokens spell the key."""
    if said is None or len(key) < SECRET:
        return said
    secret = key.encode(errors="surrogatepass")
    told = secret in joined(said) or any(secret in token for one in said for token, _ in one.top)
    return None if told else said


def _finish_reason(said: Said, choice: Fields, key: str) -> str | None:
    if len(said.text) > MOST_TEXT:
        return "length"
    return "refusal" if said.refused else hide(choice.text("finish_reason"), key)


def _read_choice(choice: Fields) -> Said | None:
    """Return what a choice says, at most a character more than is kept; None where it is no choice."""
    if "message" not in choice:
        text = choice.text("text", most=MOST_TEXT + 1)
        empty = choice.has("text") and "text" not in choice
        return Said(text or "") if text is not None or empty else None
    message = choice.inside("message")
    if not isinstance(choice.raw("message"), dict):
        return None
    thoughts = [thought for name in THOUGHTS if (thought := _read_thought(message, name))][:1]
    texts: list[str] = []
    refusal = message.text("refusal", most=MOST_TEXT)
    if isinstance(message.raw("content"), list):
        for kind, text in _read_parts(message):
            (thoughts if kind in THINKING_PARTS else texts).append(text)
            refusal = refusal or (text if kind == "refusal" else None)
    elif "content" in message:
        text = _read_text(message, "content", MOST_TEXT + 1)
        if text is None:
            return None
        texts.append(text)
    # Without content the model refused or only thought: a completion all the same, and paid for.
    refused = refusal is not None and not "".join(texts).strip()
    return Said(refusal if refused and refusal else "".join(texts), "\n".join(thoughts) or None, refused)


def _read_text(message: Fields, name: str, most: int) -> str | None:
    """Return the text of a field that is one, or an object that holds one."""
    if isinstance(message.raw(name), dict):
        inner = message.inside(name)
        return next((text for key in ("text", "content") if (text := inner.text(key, most=most))), None)
    return message.text(name, most=most)


def _read_thought(message: Fields, name: str) -> str | None:
    """Return a thought: a text, an object with one, or a list of those, as OpenRouter sends."""
    if isinstance(message.raw(name), list):
        return "\n".join(_read_text(one, "text", MOST_TEXT) or "" for one in message.each(name)).strip() or None
    return _read_text(message, name, MOST_TEXT)


def _read_parts(message: Fields) -> Iterator[tuple[str, str]]:
    """Yield kind and text of the parts of a content that is a list; texts in it are parts, too."""
    for raw, part in zip(message.raw("content"), message.each("content"), strict=True):
        kind = part.text("type") or "text"
        if isinstance(raw, str):
            yield "text", Fields({"text": raw}).text("text", most=MOST_TEXT) or ""
            continue
        for name in ("text", kind, "thinking", "content"):
            if text := part.text(name, most=MOST_TEXT):
                yield kind, text
                break
            inner = [one.text("text", most=MOST_TEXT) or "" for one in part.each(name)]
            if any(inner):
                yield kind, "".join(inner)
                break


def _share(total: int, place: int, parts: int) -> int:
    return total * (place + 1) // parts - total * place // parts
