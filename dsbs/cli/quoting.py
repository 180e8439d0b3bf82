"""The quotes that the value of an override needs, for Hydra and for a shell."""

import re
import shlex
from collections.abc import Iterator
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException, OverrideParseException

from dsbs.cli.config import GROUPS, ROOTS, SINGLE
from dsbs.cli.overrides import hide_keys, split_list, split_pairs
from dsbs.core.command_line import quoted

_CURLY = str.maketrans("\u201c\u201d\u201e\u2018\u2019", '"""\'\'')  # as word processors write quotes


def quote_word(word: str) -> str | None:
    r"""Return an override with the quotes that Hydra and a shell need; None where quotes do not help.

    >>> print(quote_word(r"task.input={title}\n{body}"))
    'task.input="{title}\n{body}"'
    >>> print(quote_word("task.labels=[gut, schön]"), quote_word("task.path=a=b.csv"))
    'task.labels=[gut,"schön"]' 'task.path="a=b.csv"'
    """
    key, _, value = word.partition("=")
    meant = [*(_closed(value) if takes_list(key) else ()), value]
    texts = (text for one in meant for text in (*([one] if one != value else []), *_quoted(one)))
    return next((shlex.quote(f"{key}={text}") for text in texts if is_readable(f"{key}={text}")), None)


def types_of(key: str) -> list[Any]:
    """Return the types that a key has in the schemas."""
    group, _, name = key.lstrip("+~").rpartition(".")
    schemas = [SINGLE[group]] if group in SINGLE else [*GROUPS.get(group, {}).values()] if group else [*ROOTS.values()]
    fields = [getattr(schema, "__dataclass_fields__", {}).get(name) for schema in schemas]
    return [field.type for field in fields if field is not None]


def takes_list(key: str) -> bool:
    """Return whether a key takes a list, by the schemas."""
    return any(getattr(kind, "__origin__", None) is list for kind in types_of(key))


def _closed(value: str) -> Iterator[str]:
    """Yield what may have been meant as a list: straight quotes, a tuple, a bracket that is missing."""
    value = value.translate(_CURLY)
    inner = value.strip("[]()").rstrip().removesuffix(",")
    if value[:1] + value[-1:] in ("[]", "()") or (value[:1] == "[") != (value[-1:] == "]"):
        yield f"[{inner}]"


def _quoted(value: str) -> Iterator[str]:
    inner = value[1:-1]
    if value.startswith("{") and value.endswith("}") and "," in inner and not {*":{}"} & {*inner}:
        yield f"[{','.join(_quote_part(part) for part in split_list(inner))}]"  # a set, as Python writes it
        return
    if pairs := split_pairs(value):
        yield "{" + ", ".join(f"{quoted(key)}: {_quote_part(text)}" for key, text in pairs) + "}"
        return
    if value.startswith("[") and value.endswith("]"):
        yield f"[{','.join(_quote_part(part) for part in split_list(inner))}]"
    yield quote_text(value)


def _quote_part(text: str) -> str:
    return text.strip() if is_readable(f"x=[{text.strip()}]") else quote_text(text.strip())


def quote_text(text: str) -> str:
    r"""Return a text in quotes for Hydra, which takes a backslash as an escape only before a quote.

    >>> print(quote_text("it's"), quote_text('say "hi"'))
    "it's" 'say "hi"'
    """
    quote = "'" if '"' in text and "'" not in text else '"'
    escaped = re.sub(rf"(\\*){quote}", lambda found: found[1] * 2 + "\\" + quote, text)
    tail = len(escaped) - len(escaped.rstrip("\\"))
    return f"{quote}{escaped}{chr(92) * tail}{quote}"


def is_readable(word: str) -> bool:
    """Return whether Hydra can parse an override."""
    try:
        OverridesParser.create().parse_override(hide_keys(word))
    except (OverrideParseException, HydraException, ValueError):
        return False
    return True
