"""Templates over the columns of a row, and paths into cells: objects, lists, chat messages."""

import ast
import json
import re
from collections import Counter
from collections.abc import Collection, Iterable
from typing import Any

from dsbs.core.errors import DataError
from dsbs.core.untrusted import excerpt
from dsbs.tasks.cells import MISSING, is_missing, to_text
from dsbs.tasks.tables.sources import Row

ABSENT = object()  # the value of a column that a row does not have
_COLUMN = re.compile(r"\{([^{}]+)\}")
_LONGEST = 1_000_000  # characters of a cell that is read as JSON
_LONGEST_PRINTED = 50_000  # ... and as Python prints it, which takes a hundred times as long
# What surrounds the list of an array within an object, as pandas writes it into a CSV file; texts in quotes stay.
_ARRAY = re.compile(r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|\barray\(|,\s*dtype=[^()'"]{1,20}\)|(?<=\])\)""", re.S)
# Who speaks in chat messages, in OpenAI's words and in ShareGPT's.
ROLES = {
    "system": {"system", "developer"},
    "user": {"user", "human"},
    "assistant": {"assistant", "gpt", "model", "chatgpt", "bing", "bard"},
}


def template_columns(template: str) -> list[str]:
    """Return the columns that a template names; a template without braces is itself a column.

    >>> template_columns("{title}: {body}"), template_columns("text")
    (['title', 'body'], ['text'])
    """
    return _COLUMN.findall(template) or ([template] if template.strip() else [])


def fill(
    template: str,
    row: Row,
    place: str,
    missing: Collection[str] = MISSING,
    absent: Counter[tuple[str, str]] | None = None,
) -> str:
    """Return a template filled with the values of a row; only ``{column}`` has a meaning in it.

    Args:
        missing: words for a missing value, which becomes an empty text.
        absent: counts the columns that the row does not have; None: such a column is an error.

    >>> fill("{a.__class__} {b}", {"a.__class__": 1, "b": "{a}"}, "here:1")
    '1 {a}'

    Raises:
        DataError: for cells that are no text or number, and absent columns.
    """

    def value(column: str) -> str:
        found = look_up(row, column)
        if found is ABSENT:
            if absent is None:
                raise no_column(row, place, column, "input")
            absent["input", column] += 1
        return "" if found is ABSENT or is_missing(found, missing) else to_text(found, place, column, "task.input")

    if not _COLUMN.search(template):
        return value(template)
    return _COLUMN.sub(lambda match: value(match[1]), unescape_newlines(template))


def unescape_newlines(template: str) -> str:
    r"""Return a template with line breaks for every ``\n``: a shell passes the two characters on as they are typed.

    >>> unescape_newlines(r"{title}\n{body}")
    '{title}\n{body}'
    """
    return template.replace("\\n", "\n")


def look_up(row: Row, column: str) -> Any:
    """Return the value of a row in a column; ``ABSENT`` where the row does not have it.

    A path reaches into a column: ``a.b`` into an object, ``a.0`` into a list, ``a.*`` joins a list of texts,
    ``a.user`` is the last message of the user in a list of chat messages (so are ``system`` and ``assistant``).
    An object or list may be written as text, as it is in a CSV.

    >>> look_up({"a": {"b": ["x", "y"]}}, "a.b.1"), look_up({"words": ["a", "b"]}, "words.*")
    ('y', 'a b')
    >>> look_up({"m": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Yes?"}]}, "m.user")
    'Hi'
    """
    if column in row:
        return row[column]
    found: Any = row
    for part in column.split("."):
        found = _step(parse_printed(found) if isinstance(found, str) else found, part)
        if found is ABSENT:
            break
    return found


def _step(found: Any, part: str) -> Any:
    if isinstance(found, dict):
        return found.get(part, ABSENT)
    if not isinstance(found, list):
        return ABSENT
    if part == "*":
        return " ".join(map(str, found)) if all(isinstance(one, str | int | float) for one in found) else found
    if part.isdecimal():
        return found[int(part)] if int(part) < len(found) else ABSENT
    if part in ROLES:
        turns = [one for one in found if isinstance(one, dict) and role_of(one) == part]
        return _content(turns[-1]) if turns else ABSENT
    return ABSENT


def role_of(message: dict[str, Any]) -> str | None:
    """Return the role of a chat message: ``system``, ``user`` or ``assistant``; None where it has none of them."""
    named = message.get("role", message.get("from"))
    return next((role for role, names in ROLES.items() if isinstance(named, str) and named.lower() in names), None)


def _content(message: dict[str, Any]) -> Any:
    content = message.get("content", message.get("value"))
    if not isinstance(content, list):
        return content
    texts = [part.get("text") if isinstance(part, dict) else part for part in content]
    return "\n".join(map(str, texts)) if texts and _are(str, texts) else content


def parse_printed(text: str) -> Any:
    """Return the object or list that a text holds, as JSON, or as Python or pandas prints it; another text as it is.

    >>> parse_printed("{'text': array(['tea', 'milk'], dtype=object)}")
    {'text': ['tea', 'milk']}
    """
    if len(text) > _LONGEST or not text.lstrip().startswith(("{", "[")):
        return text
    for read in (json.loads, ast.literal_eval, _read_arrays)[: 1 if len(text) > _LONGEST_PRINTED else 3]:
        try:
            return read(text)
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
    return text


def _read_arrays(text: str) -> Any:
    return ast.literal_eval(_ARRAY.sub(lambda found: found[1] or "", text))


def no_column(row: Row, place: str, column: str, key: str) -> DataError:
    """Return the error about a column that a row does not have.

    Args:
        key: of the setting that named it, without ``task.``.
    """
    hint = " For data without labels: task.label=null." if key == "label" else ""
    if re.search(r"\.[ct]sv:\d+$", place):
        hint += " The first line of the file is read as its header."
    first = column.split(".")[0]
    if first in row:
        hint = f" Column {first!r} holds {excerpt(row[first], 80)!r}.{hint}"
    return DataError(
        f"{place}: there is no column {column!r} (task.{key}). The columns are: {', '.join(map(str, row))}.{hint}"
        f"{_find_rows(row)}"
    )


def _find_rows(row: Row) -> str:
    """Return what to do about an object of JSON whose rows stand below one of its keys; empty where it is a row."""
    below = [str(name) for name, value in row.items() if isinstance(value, list) and value and _are(dict, value)]
    if len(below) == 1:
        return f" Its rows seem to be under {below[0]!r}: jq -c '.[{json.dumps(below[0])}][]' FILE > rows.jsonl"
    if len(below) > 1:
        return f" Its keys may be splits: jq -c '.[{json.dumps(below[0])}][]' FILE > {below[0]}.jsonl, and so on."
    if row and _are(dict, row.values()):
        return " Its rows seem to be its values: jq -c '.[]' FILE > rows.jsonl"
    if {"columns", "data"} <= row.keys():
        return ' As pandas writes rows: df.to_json(..., orient="records", lines=True).'
    return ""


def _are(kind: type, values: Iterable[Any]) -> bool:
    return all(isinstance(value, kind) for value in values)


def require(row: Row, column: str, place: str, key: str) -> Any:
    """Return the value of a row in a required column.

    Raises:
        DataError: where the row does not have it.
    """
    found = look_up(row, column)
    if found is ABSENT:
        raise no_column(row, place, column, key)
    return found
