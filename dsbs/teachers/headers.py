"""Rate limits in the headers of an answer: requests and tokens a minute, and how long to wait."""

import re
import time
from email.utils import parsedate_to_datetime
from typing import Any

from dsbs.teachers.limits import ServerLimits

# Seconds of the longest single wait, and of the longest that is understood.
LONGEST_WAIT = 3600.0
LONGEST_TOLD = 366 * 24 * 3600.0
DURATION = re.compile(r"(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?")


def read_retry_after(headers: Any) -> float | None:
    """Return the seconds to wait by ``retry-after-ms``, or ``retry-after`` (seconds or a date); None without either.

    At most ``LONGEST_TOLD``. A single wait is no longer than ``LONGEST_WAIT``, after which the server is asked again.

    >>> read_retry_after({"retry-after": "1.5"}), read_retry_after({"retry-after-ms": "20"}), read_retry_after({})
    (1.5, 0.02, None)
    >>> read_retry_after({"retry-after": "inf"}), read_retry_after({"retry-after": "Fri, 31 Dec 9999 23:59:59 GMT"})
    (31622400.0, 31622400.0)
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
            return min(max(0.0, seconds), LONGEST_TOLD)
    return None


def read_limits(headers: Any) -> ServerLimits:
    """Return the limits in ``x-ratelimit-*`` headers; missing or invalid ones are None.

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
    """Return the seconds of a duration such as ``1m2.5s``, at most ``LONGEST_WAIT``; 0.0 where it is invalid.

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
