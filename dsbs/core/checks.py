"""Checks of settings: a sentence for each that is out of range, or none of its options."""

import math
from collections.abc import Callable, Collection
from typing import Any, NamedTuple


class Range(NamedTuple):
    """Which numbers a setting may be, and that in words."""

    words: str
    holds: Callable[[Any], bool]


AT_LEAST_1 = Range("at least 1", lambda value: value >= 1)
ABOVE_0 = Range("above 0", lambda value: value > 0)
NOT_NEGATIVE = Range("0 or more", lambda value: value >= 0)
SHARE = Range("from 0 to 1", lambda value: 0 <= value <= 1)
SHARE_BELOW_1 = Range("from 0 up to, not including, 1", lambda value: 0 <= value < 1)
FINITE_ABOVE_0 = Range("above 0, and finite", lambda value: 0 < value < math.inf)
FINITE_NOT_NEGATIVE = Range("0 or more, and finite", lambda value: 0 <= value < math.inf)


def range_faults(settings: object, expected: Range, *keys: str, prefix: str = "", null: str = "") -> list[str]:
    """Return a sentence for each key whose value is out of range; None is within every range, NaN within none.

    Args:
        prefix: what is typed before the keys, such as ``teacher.``.
        null: what None stands for, where that is to be said.

    >>> from types import SimpleNamespace
    >>> range_faults(SimpleNamespace(limit=0, seed=4), AT_LEAST_1, "limit", "seed", null="no limit")
    ['limit=0: expected at least 1, or null for no limit.']
    """
    words = expected.words + (f", or null for {null}" if null else "")
    values = {key: getattr(settings, key) for key in keys}
    return [
        f"{prefix}{key}={value}: expected {words}."
        for key, value in values.items()
        if value is not None and not expected.holds(value)
    ]


def option_faults(settings: object, prefix: str = "", **options: Collection[str]) -> list[str]:
    """Return a sentence for each key whose value is none of its options.

    >>> from types import SimpleNamespace
    >>> option_faults(SimpleNamespace(api="talk"), "teacher.", api=("chat", "completions"))
    ['teacher.api=talk: expected one of chat, completions.']
    """
    values = {key: getattr(settings, key) for key in options}
    return [
        f"{prefix}{key}={value}: expected one of {', '.join(options[key])}."
        for key, value in values.items()
        if value not in options[key]
    ]
