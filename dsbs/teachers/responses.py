"""What an endpoint sends back: a completion, or a fault in words that say what to do."""

import json
import re
import time
from email.utils import parsedate_to_datetime
from typing import Any, NamedTuple

from dsbs.core.errors import TeacherError
from dsbs.core.records import Completion
from dsbs.teachers.base import ServerLimits

EXCERPT = 200
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


def read_completions(content: bytes) -> list[Completion]:
    """Read the body of a response of the chat or the completions API: one completion or, with ``n``, several.

    The tokens of the prompt are counted with the first, those written are shared out evenly.

    Raises:
        TeacherError: where it is no such thing; retryable, for servers under load send strange things.
    """
    try:
        return read_answer(json.loads(content))
    except (ValueError, RecursionError):
        raise malformed(content) from None


def read_answer(answer: Any) -> list[Completion]:
    """Read what ``read_completions`` reads, out of its JSON already.

    Raises:
        TeacherError: as there.
    """
    try:
        choices = answer["choices"]
        usage = answer.get("usage") or {}
        read, written = _count(usage.get("prompt_tokens")), _count(usage.get("completion_tokens"))
        completions = [
            Completion(
                text=_text(choice),
                finish_reason=choice.get("finish_reason"),
                model=answer.get("model"),
                prompt_tokens=read if read is None or place == 0 else 0,
                completion_tokens=None if written is None else _share(written, place, len(choices)),
                created=time.time(),
            )
            for place, choice in enumerate(choices)
        ]
        if completions:
            return completions
    except (KeyError, TypeError, AttributeError):
        pass
    raise malformed(json.dumps(answer).encode())


def malformed(content: bytes) -> TeacherError:
    """Return the error of an answer that is none."""
    said = " ".join(content[:EXCERPT].decode(errors="replace").split())
    return TeacherError(
        f"The endpoint answered with something that is no completion: {said!r}. Does teacher.base_url end in the "
        "API's version, such as /v1?",
        retryable=True,
        reason="malformed answer",
    )


def _text(choice: dict[str, Any]) -> str:
    text = choice["message"].get("content") if "message" in choice else choice["text"]
    if text is None:
        return ""  # the model refused or only thought: a completion all the same, and paid for
    if not isinstance(text, str):
        raise TypeError
    return text


def _share(total: int, place: int, parts: int) -> int:
    return total * (place + 1) // parts - total * place // parts


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def explain_error(error: Exception, where: Where, key: str) -> TeacherError:
    """Turn what a request raised into a TeacherError that names the setting to change, and never the key."""
    import openai

    if isinstance(error, openai.APIStatusError):
        return _explain_status(error, where, key)
    # The client calls a refused connection a timeout, too: what lies beneath tells them apart.
    root = _root_cause(error)
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


def _code(error: Any) -> Any:
    body = error.body if isinstance(error.body, dict) else {}
    return body.get("code") or body.get("type")


def _said(error: Any, key: str) -> str:
    body = error.body
    if isinstance(body, dict) and isinstance(body.get("error"), dict):
        body = body["error"]
    said = body.get("message", body) if isinstance(body, dict) else body
    return scrub(" ".join(str(said or "no explanation").split()), key)


def scrub(text: str, key: str) -> str:
    """Take the key out of a text before it is shortened, so that not even its head is left."""
    return (text.replace(key, "***") if key and key != "none" else text)[:EXCERPT]


def read_retry_after(headers: Any) -> float | None:
    """Return the seconds that a server asks us to wait: ``retry-after-ms``, or ``retry-after`` in seconds or as a date.

    >>> read_retry_after({"retry-after": "1.5"}), read_retry_after({"retry-after-ms": "20"}), read_retry_after({})
    (1.5, 0.02, None)
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
            except (ValueError, TypeError):
                continue
        if seconds == seconds:  # not NaN
            return max(0.0, seconds)
    return None


def read_limits(headers: Any) -> ServerLimits:
    """Read ``x-ratelimit-*`` headers; what is missing or strange is left out.

    >>> read_limits({"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "0",
    ...              "x-ratelimit-reset-requests": "1m2.5s"})
    ServerLimits(requests_per_minute=60.0, tokens_per_minute=None, wait=62.5)
    """
    bounds, waits = [], [0.0]
    for kind in ("requests", "tokens"):
        bounds.append(_number(headers.get(f"x-ratelimit-limit-{kind}")))
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
    """Return seconds; 0.0 where it cannot be read.

    >>> read_duration("6m0s"), read_duration("120ms"), read_duration("1.5"), read_duration("soon")
    (360.0, 0.12, 1.5, 0.0)
    """
    if (number := _number(value)) is not None:
        return number
    match = DURATION.fullmatch(value or "")
    units = (3600, 60, 1, 0.001)
    return sum(float(part) * unit for part, unit in zip(match.groups(), units, strict=True) if part) if match else 0.0
