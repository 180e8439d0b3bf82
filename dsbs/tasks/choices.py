"""The closed answers of a row: a list, or a list written as text."""

import ast
import json
import re
from typing import Any

from dsbs.core.errors import DataError
from dsbs.core.untrusted import storable
from dsbs.tasks.cells import is_missing, to_text

MOST_CHOICES = 1000
_LONGEST = 20_000  # characters of a cell that is read as a list
# An element of a list as Python, pandas or numpy write it: quoted, or a word or number without blanks.
_ELEMENT = re.compile(r"""\s*('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s,'"\[\]]+)\s*(,?)""", re.S)


def read_choices(value: Any, place: str) -> tuple[str, ...]:
    """Return the choices that a cell holds.

    >>> read_choices(["yes", "no"], "f:1") == read_choices("yes|no", "f:1") == read_choices('["yes", "no"]', "f:1")
    True
    >>> read_choices("['tea', 'iced tea']", "f:1"), read_choices("['tea' 'iced tea']", "f:1")
    (('tea', 'iced tea'), ('tea', 'iced tea'))

    Raises:
        DataError: where it holds fewer than two, or something else; the content is quoted.
    """
    found = read_list(value) if isinstance(value, str) else value
    choices: tuple[str, ...] = ()
    if isinstance(found, list | tuple):
        if len(found) > MOST_CHOICES:
            raise DataError(f"{place}: {len(found):,} choices (task.choices); expected at most {MOST_CHOICES:,}.")
        choices = tuple(
            storable(to_text(choice, place, "choices", "task.choices")).strip() if not is_missing(choice, ()) else ""
            for choice in found
        )
    if len(set(choices)) < 2 or not all(choices):
        raise DataError(
            f"{place}: expected at least two choices (task.choices), as a list or as text such as yes|no, "
            f"got {value!r:.80}.{_name_lists(value)}"
        )
    return choices


def _name_lists(value: Any) -> str:
    """Return how to name a list within an object."""
    lists = [str(name) for name, inner in value.items() if isinstance(inner, list)] if isinstance(value, dict) else []
    return f" Name the list in it, such as task.choices=COLUMN.{lists[0]}." if lists else ""


def read_list(text: str) -> list[Any] | None:
    """Return the list that a text holds: JSON, as Python, pandas or numpy print it, or separated by ``|``; or None."""
    text = text.strip()
    if len(text) > _LONGEST:
        return None
    if not text.startswith("["):
        return None if text.startswith(("{", "(")) else [*text.split("|")]
    try:
        found = json.loads(text)
        return found if isinstance(found, list) else None
    except (ValueError, RecursionError):
        return _read_printed(text[1:-1]) if text.endswith("]") else None


def _read_printed(inner: str) -> list[Any] | None:
    """Read the elements one by one: Python itself would join ``'a' 'b'``, which numpy prints without a comma."""
    elements: list[Any] = []
    position = 0
    while inner[position:].strip():
        match = _ELEMENT.match(inner, position)
        if match is None:
            return None
        word = match[1]
        if word[0] in "'\"":
            try:
                elements.append(ast.literal_eval(word))
            except (ValueError, SyntaxError):
                return None
        else:
            elements.append(word)
        position = match.end()
    return elements
