"""Keys of a config and their meanings, from the ``Attributes:`` of its dataclass; for help and docs."""

import dataclasses
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from omegaconf import OmegaConf

HIDDEN = ("kind",)  # it follows from the option
TYPED = {"None": "null", "True": "true", "False": "false"}
_ENTRY = re.compile(r"(?P<names>\w+(?:, \w+)*): (?P<text>.*)")


@dataclass(frozen=True)
class Key:
    """A key of a config.

    Attributes:
        name: in full, with dots.
        value: its value, or default, as plain values.
        meaning: one sentence or two; empty where the docstring has none.
    """

    name: str
    value: Any
    meaning: str


@cache
def read_meanings(schema: type) -> dict[str, str]:
    r"""Return field -> meaning, from the docstrings of a dataclass and of its bases.

    >>> class Oven:
    ...     '''An oven.
    ...
    ...     Attributes:
    ...         heat, cold: degrees,
    ...             in Celsius.
    ...     '''
    >>> read_meanings(Oven)
    {'heat': 'degrees, in Celsius.', 'cold': 'degrees, in Celsius.'}
    """
    found: dict[str, str] = {}
    for base in reversed(schema.__mro__):
        names: list[str] = []
        for line in _attributes(base.__dict__.get("__doc__")):
            if entry := _ENTRY.fullmatch(line):
                names = entry["names"].split(", ")
                found |= dict.fromkeys(names, entry["text"])
            else:
                found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found


def _attributes(doc: str | None) -> Iterator[str]:
    """Yield the lines of a docstring's ``Attributes:``; those that go on are indented."""
    inside = False
    for line in inspect.cleandoc(doc or "").splitlines():
        if line == "Attributes:":
            inside = True
        elif inside and line.strip() and not line.startswith("    "):
            return
        elif inside and line.strip():
            yield line[4:]


def list_keys(schema: type, value: Any, prefix: str = "") -> Iterator[Key]:
    """Yield the keys of a dataclass, nested ones included, in the order in which it declares them.

    Args:
        value: the values of its fields, as plain values.
        prefix: of the keys, such as ``training.``.
    """
    meanings = read_meanings(schema)
    for field in dataclasses.fields(schema):
        if field.name in HIDDEN:
            continue
        name, inner = f"{prefix}{field.name}", value[field.name]
        if dataclasses.is_dataclass(field.type) and isinstance(field.type, type) and isinstance(inner, dict):
            yield from list_keys(field.type, inner, f"{name}.")
        else:
            yield Key(name, inner, _as_typed(meanings.get(field.name, "")))


def _as_typed(meaning: str) -> str:
    """Return a meaning in which values are called as one types them."""
    return re.sub(r"\b(None|True|False)\b", lambda found: TYPED[found[1]], meaning)


def default_values(schema: type) -> dict[str, Any]:
    """Return the defaults of a dataclass's fields, as plain values."""
    values = OmegaConf.to_container(OmegaConf.structured(schema))
    assert isinstance(values, dict)
    return {str(name): value for name, value in values.items()}


def show_value(value: Any) -> str:
    """Return a value as it is typed after ``KEY=``, cut to 60 characters.

    >>> show_value(None), show_value([1, "a b"]), show_value("???"), show_value(1e-3)
    ('null', '[1,a b]', '(to be given)', '0.001')
    """
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, list):
        if any(isinstance(item, (dict, list)) for item in value):
            return f"[{len(value)} of them]"
        text = f"[{','.join(show_value(item) for item in value)}]"
    elif isinstance(value, dict):
        text = "{" + ", ".join(f"{name}: {show_value(item)}" for name, item in value.items()) + "}"
    else:
        text = "(to be given)" if value == "???" else str(value)
    first, *more = text.splitlines() or [""]
    return first if not more and len(first) <= 60 else f"{first[:57]}…"
