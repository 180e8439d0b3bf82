"""What an endpoint sends back: a completion, or a fault in words that say what to do."""

import re
import time
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from dsbs.core.errors import TeacherError
from dsbs.core.records import Completion
from dsbs.core.untrusted import MOST_TEXT, Fields, excerpt, load_json
from dsbs.teachers.base import ServerLimits

EXCERPT = 200
# Seconds that a server may make us wait at once, and characters from which on a key is a secret.
LONGEST_WAIT = 3600.0
SECRET = 12
# Not the request's fault: the same one may pass a little later. All above 500 count, too.
RETRYABLE = {408, 409, 425, 429}
DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")
NO_MONEY = {"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"}


class Where(NamedTuple):
    """What a message about an endpoint has to name."""

    base_url: str
    model: str
    api_key_env: str | None
    timeout: float


def read_completions(content: bytes, key: str = "") -> list[Completion]:
    """Read the body of a response of the chat or the completions API: one completion or, with ``n``, several.

    The tokens of the prompt are counted with the first, those written are shared out evenly.

    Args:
        content: the body.
        key: the key in use; a server that repeats it does not get it into the store.

    Raises:
        TeacherError: where it is no such thing; retryable, for servers under load send strange things.
    """
    try:
        answer = load_json(content)
    except ValueError:
        raise malformed(content, key) from None
    return read_answer(answer, key)


def read_answer(answer: Any, key: str = "") -> list[Completion]:
    """Read what ``read_completions`` reads, out of its JSON already.

    This is the door: past it every field has its type and its bound, so that no store, budget or parser has to ask. A
    field of another kind counts as not told; an answer without a single text is an error.

    Raises:
        TeacherError: as there.
    """
    fields = Fields(answer)
    texts = [(_text(choice), choice) for choice in fields.each("choices")]
    if not texts or any(text is None for text, _ in texts):
        raise malformed(answer, key)
    usage, model, now = fields.inside("usage"), hide(fields.text("model"), key), time.time()
    read, written = usage.count("prompt_tokens"), usage.count("completion_tokens")
    return [
        Completion(
            text=(hide(text, key) or "")[:MOST_TEXT],
            finish_reason="length" if len(text or "") > MOST_TEXT else hide(choice.text("finish_reason"), key),
            model=model,
            prompt_tokens=read if read is None or place == 0 else 0,
            completion_tokens=None if written is None else _share(written, place, len(texts)),
            created=now,
        )
        for place, (text, choice) in enumerate(texts)
    ]


def malformed(content: Any, key: str = "") -> TeacherError:
    """Return the error of an answer that is none."""
    return TeacherError(
        f"The endpoint answered with something that is no completion: {scrub(content, key)!r}. Does "
        "teacher.base_url end in the API's version, such as /v1?",
        retryable=True,
        reason="malformed answer",
    )


def _text(choice: Fields) -> str | None:
    """Return what a choice says, at most a character more than is kept; None where it is no choice."""
    holder, name = (choice.inside("message"), "content") if "message" in choice else (choice, "text")
    told = isinstance(choice.raw("message"), dict) if name == "content" else choice.has(name)
    if told and name not in holder:
        return ""  # the model refused or only thought: a completion all the same, and paid for
    return holder.text(name, most=MOST_TEXT + 1)


def _share(total: int, place: int, parts: int) -> int:
    return total * (place + 1) // parts - total * place // parts


def explain_error(error: Exception, where: Where, key: str) -> TeacherError:
    """Turn what a request raised into a TeacherError that names the setting to change, and never the key."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return _explain_status(error, where, key)
    # The client calls a refused connection a timeout, too: what lies beneath tells them apart.
    root = _root_cause(error)
    if isinstance(root, TeacherError):  # a body beyond its bounds
        return root
    if isinstance(error, TimeoutError) or isinstance(root, TimeoutError | openai.APITimeoutError):
        return TeacherError(
            f"No whole answer within teacher.timeout={where.timeout:g} seconds.", retryable=True, reason="timeout"
        )
    return TeacherError(
        f"No connection to {where.base_url}: {scrub(str(root) or type(root).__name__, key)}. Does a server answer "
        "there, and is teacher.base_url right?",
        retryable=True,
        reason="no connection",
    )


def _root_cause(error: BaseException) -> BaseException:
    while error.__cause__ is not None:
        error = error.__cause__
    return error


def _explain_status(error: Any, where: Where, key: str) -> TeacherError:
    status, said, code = error.status_code, _said(error, key), _code(error)
    reason = f"HTTP {status}"
    if status == 401:
        # What the server says is left out: some repeat the key in it.
        return TeacherError(
            f"HTTP 401: {where.base_url} does not accept the key in the environment variable "
            f"{where.api_key_env or '(none named)'}. Set it anew, or name another one with teacher.api_key_env=NAME.",
            fatal=True,
            reason=reason,
        )
    if status == 404:
        return TeacherError(
            f"HTTP 404: {where.base_url} knows no model {where.model!r}, or the address is wrong ({said}). Check "
            "teacher.model and teacher.base_url.",
            fatal=True,
            reason=reason,
        )
    if status == 402 or (status == 429 and code in NO_MONEY):
        return TeacherError(f"HTTP {status}: the account at {where.base_url} cannot pay for more ({said}).",
                            fatal=True, reason=reason)  # fmt: skip
    return TeacherError(
        f"HTTP {status}: {said}",
        retryable=status in RETRYABLE or status >= 500,
        retry_after=read_retry_after(error.response.headers),
        reason=reason,
    )


def _code(error: Any) -> str:
    body = Fields(error.body)
    return body.text("code") or body.text("type") or ""


def _said(error: Any, key: str) -> str:
    body = error.body
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        body = body["error"]
    said = body.get("message", body) if isinstance(body, dict) else body
    return scrub(said or "no explanation", key)


def scrub(said: Any, key: str) -> str:
    """Return what an endpoint said, for a message: on one line, and without the key.

    The key is taken out before the text is shortened, so that not even its head is left.
    """
    text = excerpt(said, 8 * EXCERPT)
    return (text.replace(key, "***") if key and key != "none" else text)[:EXCERPT]


def hide(text: str | None, key: str) -> str | None:
    """Take the key out of what a teacher wrote. Keys such as ``none`` or ``EMPTY`` are no secrets, but words."""
    return text.replace(key, "***") if text and len(key) >= SECRET else text


def read_retry_after(headers: Any) -> float | None:
    """Return the seconds that a server asks us to wait: ``retry-after-ms``, or ``retry-after`` in seconds or as a date.

    No more than ``LONGEST_WAIT``: it is asked again then, and may say so again.

    >>> read_retry_after({"retry-after": "1.5"}), read_retry_after({"retry-after-ms": "20"}), read_retry_after({})
    (1.5, 0.02, None)
    >>> read_retry_after({"retry-after": "inf"}), read_retry_after({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"})
    (3600.0, 3600.0)
    """
    for name, unit in (("retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) * unit
        except ValueError:
            try:
                seconds = parsedate_to_datetime(value).timestamp() - time.time()
            except (ValueError, TypeError, OverflowError):
                continue
        if seconds == seconds:  # not NaN
            return min(max(0.0, seconds), LONGEST_WAIT)
    return None


def read_limits(headers: Any) -> ServerLimits:
    """Read ``x-ratelimit-*`` headers; what is missing or strange is left out.

    >>> read_limits({"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "0",
    ...              "x-ratelimit-reset-requests": "1m2.5s"})
    ServerLimits(requests_per_minute=60.0, tokens_per_minute=None, wait=62.5)
    """
    bounds: list[float | None] = []
    waits = [0.0]
    for kind in ("requests", "tokens"):
        told = _number(headers.get(f"x-ratelimit-limit-{kind}"))
        bounds.append(told if told is not None and told >= 1 else None)
        left = _number(headers.get(f"x-ratelimit-remaining-{kind}"))
        if left is not None and left < 1:
            waits.append(read_duration(headers.get(f"x-ratelimit-reset-{kind}")))
    return ServerLimits(bounds[0], bounds[1], max(waits))


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None


def read_duration(value: str | None) -> float:
    """Return seconds, at most ``LONGEST_WAIT``; 0.0 where it cannot be read.

    >>> read_duration("6m0s"), read_duration("120ms"), read_duration("1.5"), read_duration("soon")
    (360.0, 0.12, 1.5, 0.0)
    >>> read_duration("9999h"), read_duration("1e300")
    (3600.0, 3600.0)
    """
    if (number := _number(value)) is not None:
        return min(number, LONGEST_WAIT)
    match = DURATION.fullmatch(value or "")
    units = (3600, 60, 1, 0.001)
    parts = zip(match.groups(), units, strict=True) if match else ()
    return min(sum((float(part) * unit for part, unit in parts if part), 0.0), LONGEST_WAIT)
