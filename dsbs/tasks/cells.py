"""Cells of a table: text, number or missing. The same value gives the same text from every file format."""

import math
import re
import unicodedata
from collections.abc import Collection, Iterable
from datetime import date, time, timedelta
from decimal import Decimal
from typing import Any

from dsbs.core.errors import DataError

# Words for a missing value, in any case, as pandas, R, SQL and JSON writers leave them.
MISSING = ("nan", "na", "n/a", "#n/a", "<na>", "null", "none", "nat")

# Characters without a width that editors and web pages leave: byte order marks, soft hyphens, marks of direction.
_INVISIBLE = dict.fromkeys(map(ord, "\u00ad\u200b\u200e\u200f\u2060\ufeff"))
_LONGEST_WORD = 60
_SIGN = re.compile("[-\u2013\u2014?.\\s]{1,5}")
_LONGEST_LABEL = 1000
_PLAIN_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?")


def fold(text: str) -> str:
    r"""Return a text with case, whitespace and the composition of accents normalized, to compare spellings of a label.

    >>> fold(" Very \n Good") == fold("very good")
    True
    """
    if len(text) <= _LONGEST_LABEL:  # a row of accents takes a time that grows with its square
        text = unicodedata.normalize("NFC", text)
    return " ".join(text.casefold().split())


def seen(text: str) -> str:
    r"""Return a text without the characters that have no width and no meaning in a label.

    >>> seen("\ufeffgood\u200b")
    'good'
    """
    return text if text.isascii() else text.translate(_INVISIBLE)


def is_missing(value: Any, words: Collection[str] = MISSING) -> bool:
    """Return whether a cell is empty: None, NaN, whitespace, or one of the words for a missing value.

    >>> [is_missing(value) for value in (None, float("nan"), "  ", "NaN", "none", 0, False, "no")]
    [True, True, True, True, True, False, False, False]
    """
    if value is None or (isinstance(value, float | Decimal) and math.isnan(value)):
        return True
    if not isinstance(value, str):
        return False
    return not value.strip() or (len(value) <= _LONGEST_WORD and fold(value) in words)


def is_sign(text: str) -> bool:
    """Return whether a label only marks a missing label, as SNLI and others write it.

    >>> is_sign("-"), is_sign("?"), is_sign("-1"), is_sign("+")
    (True, True, False, False)
    """
    return _SIGN.fullmatch(text) is not None


def stands_for_none(text: str, labels: Iterable[str]) -> bool:
    """Return whether a text is no label beside some labels: -1 among names, a placeholder among names or numbers.

    >>> stands_for_none("-1", ["no", "yes"]), stands_for_none("-1", ["0", "1"]), stands_for_none("-", ["0", "1"])
    (True, False, True)
    >>> stands_for_none("-", ["+", "neutral"])
    False
    """
    if plain_number(text) == -1:
        return all(plain_number(label) is None for label in labels)
    return is_sign(text) and all(any(map(str.isalnum, label)) for label in labels)


def to_text(value: Any, place: str, column: str, key: str) -> str:
    """Return a cell as text.

    Args:
        value: the content of the cell; not missing.
        key: the setting that chose the column, such as ``task.input``.

    Raises:
        DataError: for lists, objects and bytes that are not UTF-8; with what to type.
    """
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float | Decimal):
        return number_text(value)
    if isinstance(value, int | date | time | timedelta):
        return str(value)
    if isinstance(value, bytes):
        try:
            return value.decode()
        except UnicodeDecodeError:
            pass
    raise DataError(f"{place}: {_describe(value, place, column, key)}")


def number_text(value: float | Decimal) -> str:
    """Return a number without an exponent.

    >>> number_text(1.0), number_text(1e-7), number_text(2.5e16)
    ('1.0', '0.0000001', '25000000000000000.0')
    """
    text = repr(value) if isinstance(value, float) else str(value)
    if "e" not in text.lower():
        return text
    plain = format(Decimal(text), "f")
    return plain if "." in plain or isinstance(value, Decimal) else f"{plain}.0"


def plain_number(text: str) -> Decimal | None:
    """Return the value of a plain decimal number, or None for other texts: ``007`` and ``1e3`` may be names.

    >>> plain_number("1.0") == plain_number("1"), plain_number("007"), plain_number("12%")
    (True, None, None)
    """
    text = text.strip()
    return Decimal(text) if _PLAIN_NUMBER.fullmatch(text) else None


def _describe(value: Any, place: str, column: str, key: str) -> str:
    opening = f"column {column!r} ({key}) holds "
    if isinstance(value, dict):
        keys = [str(name) for name in value]
        if keys and all(name.isdecimal() for name in keys):
            return (
                f"{opening}an object with the keys {', '.join(keys[:4])}: this file is written by columns, as pandas' "
                'to_json does. Write it by rows: df.to_json(..., orient="records", lines=True).'
            )
        return (
            f"{opening}an object with the keys {', '.join(keys[:8])}; expected a text. Name one of them, such as "
            f"{key}={column}.{keys[0] if keys else 'KEY'}."
        )
    if isinstance(value, list | tuple):
        first = value[0] if value else None
        if isinstance(first, dict) and first.keys() & {"role", "from"}:
            who = "user" if key == "task.input" else "assistant"
            several = f"; '{key}=\"{{{column}.system}}\\n{{{column}.user}}\"' joins several" * (who == "user")
            return (
                f"{opening}chat messages; expected a text. {key}={column}.{who} takes the last {who} message{several}."
            )
        by_columns = ""
        if place.endswith(":1") and len(value) > 1 and all(isinstance(one, str | int | float) for one in value):
            by_columns = ' If the file is written by columns: df.to_json(..., orient="records", lines=True).'
        one = "An example has one label: " if key.endswith(".label") else ""
        join = "" if key.endswith(".label") else f", {key}={column}.* joins them with spaces"
        listed = f"{opening}a list of {len(value)}; expected a text."
        return f"{listed} {one}{key}={column}.0 takes the first{join}.{by_columns}"
    return f"{opening}{type(value).__name__}; expected a text or a number."
