"""The closed answers of a row: a list, an object or several columns of them, or a list written as text."""

import ast
import json
import re
from typing import Any, NamedTuple

from dsbs.core.errors import DataError
from dsbs.core.untrusted import storable
from dsbs.tasks.cells import is_missing, to_text
from dsbs.tasks.tables.sources import Row
from dsbs.tasks.tables.templates import ABSENT, look_up, parse_printed, require, template_columns

MAX_CHOICES = 1000
_LONGEST = 20_000  # characters of a cell that is read as a list
# An element of a list as Python, pandas or numpy write it: quoted, or a word or number without blanks.
_ELEMENT = re.compile(r"""\s*('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*"|[^\s,'"\[\]]+)\s*(,?)""", re.S)


_TEXTS = ("text", "value", "content", "option")  # under which data sets keep the texts of choices, and their letters
_NAMES = ("label", "key", "letter")


class RowChoices(NamedTuple):
    """The closed answers of a row.

    Attributes:
        names: what the data calls them, such as A, B, C, in the same order; empty: nothing.
    """

    texts: tuple[str, ...]
    names: tuple[str, ...] = ()


def has_choices(row: Row, column: str) -> bool:
    """Return whether a row has any of the columns that its choices are in."""
    return any(look_up(row, name) not in (ABSENT, None) for name in template_columns(column))


def find_choices(row: Row, column: str, place: str) -> RowChoices:
    """Return the choices of a row.

    Args:
        column: the column, or a template over several, such as ``{A}|{B}|{C}``; the last of those may be empty.

    >>> find_choices({"c": {"label": ["B", "A"], "text": ["tea", "milk"]}}, "c", "f:1")
    RowChoices(texts=('tea', 'milk'), names=('B', 'A'))
    >>> find_choices({"A": "tea", "B": "milk", "C": None}, "{A}|{B}|{C}", "f:1")
    RowChoices(texts=('tea', 'milk'), names=())

    Raises:
        DataError: where there are fewer than two; the content is quoted.
    """
    if "{" in column:
        cells = [require(row, name, place, "choices") for name in template_columns(column)]
        while cells and is_missing(cells[-1], ()):
            cells.pop()
        return RowChoices(read_choices(cells, place))
    value = require(row, column, place, "choices")
    printed = isinstance(value, str) and value.lstrip().startswith(("{", "[{"))
    texts, names = _take_apart(parse_printed(value) if printed else value)
    texts = value if isinstance(texts, dict) else texts
    if not names and column.endswith(".text"):
        names = _list_of(look_up(row, f"{column.removesuffix('.text')}.label"))
    choices = read_choices(texts, place)
    named = tuple(str(name).strip() for name in names)
    return RowChoices(choices, named if len(set(named)) == len(choices) == len(named) else ())


def _take_apart(value: Any) -> tuple[Any, list[Any]]:
    """Return the texts of choices, and their names: of an object of two lists, of objects, or of letter -> text."""
    if isinstance(value, dict):
        texts, names = (_first_of(value, keys) for keys in (_TEXTS, _NAMES))
        if isinstance(texts, list):
            return texts, _list_of(names)
        if value and all(len(str(key)) == 1 and isinstance(text, str) for key, text in value.items()):
            return [*value.values()], [*value]
    if isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        texts, names = ([_first_of(item, keys) for item in value] for keys in (_TEXTS, _NAMES))
        if all(isinstance(text, str) for text in texts):
            return texts, names if None not in names else []
    return value, []


def _first_of(value: dict[str, Any], keys: tuple[str, ...]) -> Any:
    return next((value[key] for key in keys if key in value), None)


def _list_of(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def read_choices(value: Any, place: str) -> tuple[str, ...]:
    """Return the choices that a list, or a list written as text, holds.

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
        if len(found) > MAX_CHOICES:
            raise DataError(f"{place}: {len(found):,} choices (task.choices); expected at most {MAX_CHOICES:,}.")
        choices = tuple(
            storable(to_text(choice, place, "choices", "task.choices")).strip() if not is_missing(choice, ()) else ""
            for choice in found
        )
    if len(set(choices)) < 2 or not all(choices):
        raise DataError(
            f"{place}: expected at least two choices (task.choices), as a list or as text such as yes|no, "
            f"got {value!r:.80}.{_name_lists(value)} For choices in several columns: "
            "'task.choices=\"{A}|{B}|{C}\"'."
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
