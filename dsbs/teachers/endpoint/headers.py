"""Rate limits of an endpoint, as its answers tell them: requests and tokens a minute, and how long to wait."""

import re
import time
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

# Seconds of the longest single wait, and of the longest that is understood.
LONGEST_WAIT = 3600.0
LONGEST_TOLD = 366 * 24 * 3600.0
MAX_LOOKED_AT = 20_000  # bytes of a body
# Larger numbers are no durations, but Unix times, in seconds or in milliseconds.
_TIME, _MILLISECONDS = 1e9, 1e11
_RESETS = ("x-ratelimit-reset", "ratelimit-reset", "x-ratelimit-reset-requests", "x-ratelimit-reset-tokens",
           "anthropic-ratelimit-requests-reset", "anthropic-ratelimit-tokens-reset")  # fmt: skip
_IN_BODY = re.compile(
    r'"(?:retry_?delay|retry_after|retryafter|retry-after|x-ratelimit-reset|estimated_time)"\s{0,3}:\s{0,3}"?([\d.]{1,16}(?:ms|[smh])?)\b',
    re.I,
)
_IN_WORDS = re.compile(
    r"(?:try again|retry|please wait)\s(?:(?:after|in|for)\s)?((?:[\d.]{1,12}\s?[smh][a-z]{0,11}\s?){1,3}|\d{1,6}\b)",
    re.I,
)
KINDS = ("requests", "tokens")
_LETTERS = re.compile(r"[a-z]+")
DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")


@dataclass
class ServerLimits:
    """The rate limits in a server's last answer.

    Attributes:
        requests_per_minute: None where it does not say.
        tokens_per_minute: None where it does not say.
        wait: seconds until it accepts more, where a limit is reached; else 0.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    wait: float = 0.0


def read_retry_after(headers: Any) -> float | None:
    """Return the seconds to wait by ``retry-after-ms``, or ``retry-after`` (seconds or a date); None without either.

    At most ``LONGEST_TOLD``. A single wait is no longer than ``LONGEST_WAIT``, after which the server is asked again.

    >>> read_retry_after({"retry-after": "1.5"}), read_retry_after({"retry-after-ms": "20"}), read_retry_after({})
    (1.5, 0.02, None)
    >>> read_retry_after({"retry-after": "inf"}), read_retry_after({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"})
    (31622400.0, 31622400.0)
    """
    for name, unit in (("retry-after-ms", 0.001), ("x-ms-retry-after-ms", 0.001), ("retry-after", 1.0)):
        value = headers.get(name)
        if value is not None and (seconds := _read_wait(value, unit)) is not None:
            return seconds
    return None


def read_wait(headers: Any, content: bytes, explanation: str) -> float | None:
    """Return the seconds that a rejected request is to wait, or None where nothing says so.

    By ``read_retry_after``, else by the time at which a limit is reset, else by the body or its words.

    >>> read_wait({}, b'{"retryDelay": "33s"}', ""), read_wait({}, b"", "Please try again in 1m2.5s.")
    (33.0, 62.5)
    >>> read_wait({"x-ratelimit-reset": "5"}, b"", ""), read_wait({}, b"", "No.")
    (5.0, None)
    """
    wait = read_retry_after(headers)
    if wait is None:
        wait = _exhausted_for(headers) or None
    if wait is None:
        resets = [_read_wait(headers[name]) for name in _RESETS if headers.get(name)]
        # Of several limits it is not said which one was exceeded; the first to pass is tried.
        wait = min((seconds for seconds in resets if seconds), default=None)
    if wait is None:
        found = _IN_BODY.search(content[:MAX_LOOKED_AT].decode(errors="replace")) or _IN_WORDS.search(explanation)
        wait = _read_wait(_LETTERS.sub(_shorten, found[1].lower())) if found else None
    return wait


def _shorten(unit: re.Match[str]) -> str:
    return "ms" if unit[0].startswith(("ms", "milli")) else unit[0][0]


def _read_wait(value: str, unit: float = 1.0) -> float | None:
    """Return the seconds from now that a number, a duration or a date means; None for other texts, or without end."""
    try:
        number = float(value)
    except ValueError:
        text = value.replace(" ", "")
        if text and DURATION.fullmatch(text):
            return read_duration(text, LONGEST_TOLD)
        number = _read_date(value) - time.time()
    else:
        if number != number:  # NaN
            return None
        if _TIME < number < float("inf"):
            number = number / (1000 if number > _MILLISECONDS else 1) - time.time()
        else:
            number *= unit
    return min(max(0.0, number), LONGEST_TOLD) if number == number else None


def _read_date(value: str) -> float:
    """Return the Unix time of a date as HTTP or as ISO 8601 writes it, or NaN."""
    for read in (parsedate_to_datetime, datetime.fromisoformat):
        try:
            return read(value).timestamp()
        except (ValueError, TypeError, OverflowError, AttributeError):
            continue
    return float("nan")


def read_limits(headers: Any) -> ServerLimits:
    """Return the limits in ``x-ratelimit-*`` headers; missing or invalid ones are None.

    >>> read_limits({"x-ratelimit-limit-requests": "60", "x-ratelimit-remaining-requests": "0",
    ...              "x-ratelimit-reset-requests": "1m2.5s"})
    ServerLimits(requests_per_minute=60.0, tokens_per_minute=None, wait=62.5)
    """
    limits = [_number(headers.get(f"x-ratelimit-limit-{kind}")) for kind in KINDS]
    bounds = [bound if bound is not None and bound >= 1 else None for bound in limits]
    return ServerLimits(bounds[0], bounds[1], min(_exhausted_for(headers), LONGEST_WAIT))


def _exhausted_for(headers: Any) -> float:
    """Return the seconds until the limits that are used up are reset; 0.0 where none is."""
    waits = [0.0]
    for kind in KINDS:
        left = _number(headers.get(f"x-ratelimit-remaining-{kind}"))
        if left is not None and left < 1:
            waits.append(_read_wait(headers.get(f"x-ratelimit-reset-{kind}") or "") or 0.0)
    return max(waits)


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if 0 <= number < float("inf") else None


def read_duration(value: str | None, limit: float = LONGEST_WAIT) -> float:
    """Return the seconds of a duration such as ``1m2.5s``, at most ``limit``; 0.0 where it is invalid.

    >>> read_duration("6m0s"), read_duration("120ms"), read_duration("1.5"), read_duration("soon")
    (360.0, 0.12, 1.5, 0.0)
    >>> read_duration("9999h"), read_duration("1e300")
    (3600.0, 3600.0)
    """
    if (number := _number(value)) is not None:
        return min(number, limit)
    match = DURATION.fullmatch(value or "")
    units = (3600, 60, 1, 0.001)
    parts = zip(match.groups(), units, strict=True) if match else ()
    return min(sum((float(part) * unit for part, unit in parts if part), 0.0), limit)
