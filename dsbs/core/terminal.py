"""Texts of strangers on a terminal: shown as they stand, and never obeyed."""

import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.text import Text

KEPT = "\n\t"


def visible(text: str) -> str:
    r"""Return a text whose control characters are written out, so that a terminal does not act on them.

    >>> visible("a\x1b[2Jb\x9bc\r\n\u202ed")
    'a\\x1b[2Jb\\x9bc\\r\n\\u202ed'
    """
    if text.isprintable():
        return text
    return "".join(c if c in KEPT or c.isprintable() or (c.isspace() and c > "\xa0") else _write(c) for c in text)


def _write(character: str) -> str:
    return character.encode("unicode_escape").decode()


class VisibleFormatter(logging.Formatter):
    """Formats records of the log for a terminal."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, as ``visible`` shows it."""
        return visible(super().format(record))


def plain(text: object) -> "Text":
    """Return a text for rich to show without reading markup in it."""
    from rich.text import Text

    return Text(visible(str(text)))
