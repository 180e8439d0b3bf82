"""Parsing of an endpoint's answers: completions, or an error object."""

import json
import re
import time
from collections.abc import Iterator
from typing import Any, NamedTuple

from dsbs.core.errors import TeacherError
from dsbs.core.finish_reasons import BROKEN, LENGTH, REFUSED, STOP, read_finish_reason
from dsbs.core.logprobs import TokenLogprobs, joined
from dsbs.core.records import Completion
from dsbs.core.untrusted import MAX_TEXT, Fields, is_finite, load_json, storable
from dsbs.teachers.endpoint.address import Address
from dsbs.teachers.endpoint.faults import explain_error_object, malformed
from dsbs.teachers.endpoint.logprobs import read_logprobs
from dsbs.teachers.endpoint.streams import is_stream, join_events
from dsbs.teachers.endpoint.words import MAX_SAID, SECRET, hide, scrub

# Fields in which servers return the reasoning of a model beside its answer, and objects in which they put such fields.
THOUGHTS = ("reasoning_content", "reasoning", "thinking", "reasoning_details", "reasoning_text", "thinking_blocks",
            "thinking_content", "thoughts", "thought")  # fmt: skip
HOLDERS = ("provider_specific_fields", "model_extra", "additional_kwargs")
THINKING_PARTS = {"thinking", "reasoning", "reasoning_text", "summary_text"}
# Fields of a text in an object, and objects around an answer.
TEXTS = ("text", "content", "thinking", "reasoning", "summary", "value")
WRAPPINGS = ("data", "result", "response", "output", "body")
_READ = ("prompt_tokens", "input_tokens")
_WRITTEN = ("completion_tokens", "output_tokens")
_CACHED = ("cache_read_input_tokens", "cache_creation_input_tokens")
_MAX_DEPTH = 4
_FILTER = re.compile(r"filter|block|safety|moderat", re.I)
_KEEP_ALIVE = re.compile(rb"(?:\s*:[^\n]{0,200}\n)+")


class Reply(NamedTuple):
    """The content of one choice of an answer.

    Attributes:
        reasoning: the model's reasoning, or None.
        refused: whether the model refused to answer; ``text`` is its refusal.
    """

    text: str
    reasoning: str | None = None
    refused: bool = False


def read_completions(content: bytes, key: str = "", where: Address | None = None) -> list[Completion]:
    """Return the completions in a response of the chat or completions API: one, or with ``n`` several.

    The response may be a stream of events.

    Prompt tokens count with the first completion; completion tokens are divided evenly.

    Args:
        key: the API key, which is masked where the server repeats it.

    Raises:
        TeacherError: where it is not such a response, or has an error object.
    """
    comments = _KEEP_ALIVE.match(content)
    content = content[comments.end() :] if comments else content
    try:
        answer = join_events(content) if is_stream(content) else load_json(content)
    except ValueError:
        raise malformed(content, key) from None
    return read_answer(answer, key, where)


def read_answer(answer: Any, key: str = "", where: Address | None = None) -> list[Completion]:
    """Return the completions in a parsed response; see ``read_completions``.

    All fields are checked for type and bounds here, and nowhere after. A field of another type counts as missing; an
    answer without any text is an error.

    Raises:
        TeacherError: as ``read_completions``.
    """
    if isinstance(answer, list) and len(answer) == 1:
        (answer,) = answer
    fields = Fields(answer)
    if wrapped := next((name for name in WRAPPINGS if fields.inside(name).has("choices")), None):
        fields = fields.inside(wrapped)
    choices = list(fields.each("choices"))
    for error in (_find_error(fields, bool(choices)), *(choice.raw("error") for choice in choices)):
        if error:
            raise explain_error_object(error, where, key)
    if fields.has("choices") and fields.raw("choices") in (None, []):
        filtered = _FILTER.search(scrub(answer, key, MAX_SAID)) is not None
        raise TeacherError(
            f"The endpoint's answer has no choices: {scrub(answer, key)!r}."
            + " A content filter may have removed them." * filtered,
            retryable=not filtered,  # as gateways answer whose provider failed
            reason="no choices",
        )
    read = [(reply, choice) for choice in choices if (reply := _read_choice(choice)) is not None]
    if not read:
        raise malformed(answer, key)
    sound = [
        (reply, choice) for reply, choice in read if read_finish_reason(_finish_reason(reply, choice, key)) != BROKEN
    ]
    if not sound:
        raise TeacherError(
            f"The endpoint gave up in the middle of its answer (finish_reason={_finish_reason(*read[0], key)}).",
            retryable=True,
            reason="interrupted",
        )
    usage, model, now = fields.inside("usage"), hide(fields.text("model"), key), time.time()
    prompt_tokens, written = _count_tokens(usage)
    endings = {read_finish_reason(_finish_reason(*one, key)) for one in sound}
    if written == 0 and endings <= {STOP, None} and not any(one.text.strip() or one.reasoning for one, _ in sound):
        raise TeacherError(
            "The endpoint answered without a single token (completion_tokens=0).", retryable=True, reason="no tokens"
        )
    if any(one.text.strip() or one.reasoning for one, _ in sound):
        prompt_tokens, written = prompt_tokens or None, written or None  # 0 is what servers say that do not count
    return [
        Completion(
            text=(hide(one.text, key) or "")[:MAX_TEXT],
            finish_reason=_finish_reason(one, choice, key),
            model=model,
            prompt_tokens=prompt_tokens if prompt_tokens is None or position == 0 else 0,
            completion_tokens=None if written is None else _share(written, position, len(sound)),
            created=now,
            reasoning=hide(one.reasoning, key),
            logprobs=_without_key(read_logprobs(choice), key),
        )
        for position, (one, choice) in enumerate(sound)
    ]


def _find_error(fields: Fields, answered: bool) -> Any:
    """Return the error object of an answer, or None; some are the answer itself."""
    base = fields.inside("base_resp")
    error = fields.raw("error")
    if answered and isinstance(error, dict) and not any(error.values()):
        return None  # an error of which nothing is said, beside an answer
    if error or answered:
        return error
    if base.count("status_code"):
        return {"message": base.text("status_msg"), "code": str(base.count("status_code"))}
    if errors := fields.raw("errors"):
        return errors[0] if isinstance(errors, list) else errors
    said = next((name for name in ("message", "detail", "msg", "error_msg") if isinstance(fields.raw(name), str)), None)
    return (
        {name: fields.raw(name) for name in ("message", "detail", "msg", "error_msg", "code", "type", "status")}
        if said
        else None
    )


def _count_tokens(usage: Fields) -> tuple[int | None, int | None]:
    """Return the tokens read and written.

    xAI and Gemini count those of the thinking, which are billed, in the total alone; gateways of Anthropic leave those
    out of the prompt that they have cached.
    """
    read, written, total = _count(usage, *_READ), _count(usage, *_WRITTEN), _count(usage, "total_tokens")
    if read is None:
        return read, written
    cached = _count(usage.inside("prompt_tokens_details"), "cached_tokens") or 0
    cached = max(cached, sum(_count(usage, name) or 0 for name in _CACHED))
    if cached > read or (written is not None and total == read + cached + written):
        read += cached  # else they are a part of it
    if written is None or total is None:
        return read, written
    thought = _count(usage.inside("completion_tokens_details"), "reasoning_tokens")
    apart = max(total - read - written, 0)
    return read, written + (apart if thought is None else min(apart, thought))


def _count(usage: Fields, *names: str) -> int | None:
    """Return a number of tokens under the first name that has one; some gateways write numbers as text."""
    for name in names:
        text = usage.text(name) or ""
        given = Fields({name: int(text)}) if text.isascii() and text.isdigit() else usage
        if (count := given.count(name)) is not None:
            return count
    return None


def _without_key(logprobs: tuple[TokenLogprobs, ...] | None, key: str) -> tuple[TokenLogprobs, ...] | None:
    """Return log-probabilities, unless their tokens spell the key."""
    if logprobs is None or len(key) < SECRET:
        return logprobs
    secret = key.encode(errors="surrogatepass")
    leaks = secret in joined(logprobs) or any(secret in token for one in logprobs for token, _ in one.top)
    return None if leaks else logprobs


def _finish_reason(reply: Reply, choice: Fields, key: str) -> str | None:
    if len(reply.text) > MAX_TEXT:
        return "length"
    own, native = choice.text("finish_reason"), choice.text("native_finish_reason")
    own = own or choice.inside("finish_reason").text("type")  # as SGLang writes it
    if native and read_finish_reason(own) == STOP and read_finish_reason(native) in (LENGTH, REFUSED, BROKEN):
        own = native  # a gateway that takes every ending for a stop
    reason = own or native or choice.text("stop_reason")
    return "refusal" if reply.refused else hide(reason, key)


def _read_choice(choice: Fields) -> Reply | None:
    """Return what a choice says, at most a character more than is kept; None where it is no choice."""
    name = "message" if "message" in choice else "delta"
    if name not in choice:
        text = choice.text("text", limit=MAX_TEXT + 1)
        # Filtered or truncated before a word was written.
        filtered = read_finish_reason(choice.text("finish_reason")) in (REFUSED, LENGTH)
        empty = choice.has("text") and "text" not in choice
        return Reply(text or "") if text is not None or filtered or empty else None
    message = Fields({"content": raw} if isinstance(raw := choice.raw(name), str) else raw)
    if not isinstance(raw, dict | str):
        return None
    holders = (message, *(message.inside(holder) for holder in HOLDERS), choice)
    thoughts = [thought for holder in holders for name in THOUGHTS if (thought := _read_text(holder.raw(name)))][:1]
    texts: list[str] = []
    refusal = message.text("refusal", limit=MAX_TEXT)
    if isinstance(message.raw("content"), list):
        for kind, text in _read_parts(message):
            if kind == "refusal":
                refusal = refusal or text
            else:
                (thoughts if kind in THINKING_PARTS else texts).append(text)
    elif "content" in message:
        text = _read_content(message.raw("content"))
        if text is None:
            return None
        texts.append(text)
    if not "".join(texts).strip():
        texts += _read_calls(message)
    # Without content the model refused or only thought: a completion all the same, and paid for.
    refused = refusal is not None and not "".join(texts).strip()
    return Reply(refusal if refused and refusal else "".join(texts), "\n".join(thoughts) or None, refused)


def _read_content(content: Any) -> str | None:
    """Return the text of a content that is no list: a text, a number, an object with a text, or an answer as object."""
    if isinstance(content, str):
        return storable(content[: MAX_TEXT + 1])
    if isinstance(content, dict) and not any(name in content for name in TEXTS):
        has_text = any(isinstance(part, str) for part in content.values())
        return json.dumps(content, ensure_ascii=False)[:MAX_TEXT] if has_text else None
    return str(content) if is_finite(content) else _read_text(content)


def _read_calls(message: Fields) -> list[str]:
    """Return the arguments of the only call of a tool: some gateways ask for JSON in this way."""
    calls = [call.inside("function") for call in message.each("tool_calls")] or [message.inside("function_call")]
    arguments = calls[0].raw("arguments") if len(calls) == 1 else None
    text = _read_content(arguments) if arguments else None
    return [text] if text else []


def _read_text(value: Any, depth: int = 0) -> str | None:
    """Return a text, the text of an object, or those of a list, as OpenRouter sends; or None."""
    if isinstance(value, str):
        return storable(value[:MAX_TEXT]) or None
    if depth > _MAX_DEPTH:
        return None
    if isinstance(value, list):
        return "\n".join(text for one in value if (text := _read_text(one, depth + 1))).strip() or None
    if isinstance(value, dict):
        return next((text for name in TEXTS if (text := _read_text(value.get(name), depth + 1))), None)
    return None


def _read_parts(message: Fields) -> Iterator[tuple[str, str]]:
    """Yield kind and text of the parts of a content that is a list; texts in it are parts, too."""
    for raw, part in zip(message.raw("content"), message.each("content"), strict=True):
        kind = part.text("type") or "text"
        if isinstance(raw, str):
            yield "text", storable(raw[:MAX_TEXT])
            continue
        kind = "thinking" if part.raw("thought") is True else kind
        text = _read_text(part.raw("text")) or _read_text(part.raw(kind)) or _read_text(raw)
        if text:
            yield kind, text


def _share(total: int, position: int, parts: int) -> int:
    return total * (position + 1) // parts - total * position // parts
