"""What is shown on a terminal: text from outside as it is, without acting on it; tables; messages that come once."""

import logging
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

KEPT = "\n\t"

logger = logging.getLogger(__name__)


def visible(text: str) -> str:
    r"""Return a text with control characters escaped, so that a terminal does not act on them; newline and tab stay.

    >>> visible("a\x1b[2Jb\x9bc\r\n\u202ed")
    'a\\x1b[2Jb\\x9bc\\r\n\\u202ed'
    """
    return "".join(
        c if c in KEPT or c.isprintable() or (c.isspace() and c > "\xa0") else c.encode("unicode_escape").decode()
        for c in text
    )


class VisibleFormatter(logging.Formatter):
    """Formats log records with control characters escaped."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the formatted record, as ``visible`` shows it."""
        return visible(super().format(record))


def plain(text: object) -> "Text":
    """Return a value as text in which rich reads no markup."""
    from rich.text import Text

    return Text(visible(str(text)))


def print_lines(console: "Console", *lines: object, indent: str = "") -> None:
    """Print lines as they are, without markup, and without line breaks of ours: each can be copied whole."""
    for line in lines:
        console.print(plain(f"{indent}{line}"), soft_wrap=True)


def make_table(title: object, *names: str, left: int = 1) -> "Table":
    """Return an empty table; all but the first ``left`` columns hold figures."""
    from rich.table import Table

    table = Table(title=plain(title), title_justify="left")
    for place, name in enumerate(names):
        table.add_column(name, justify="left" if place < left else "right")
    return table


def print_table(console: "Console", table: "Table") -> None:
    """Print a table, or where a terminal is too narrow for its words, a line for each of its rows."""
    from rich.measure import Measurement
    from rich.text import Text

    needed = Measurement.get(console, console.options.update_width(10_000), table).minimum
    if needed <= console.width:
        console.print(table)
        return
    names = [str(column.header) for column in table.columns]
    if table.title:
        console.print(table.title, soft_wrap=True)
    for cells in zip(*(column.cells for column in table.columns), strict=True):
        head, *texts = (Text.from_markup(cell) if isinstance(cell, str) else Text(str(cell)) for cell in cells)
        rest = [Text(f"{name} ").append_text(text) for name, text in zip(names[1:], texts, strict=True) if text.plain]
        console.print(Text(": ").join([head, Text(", ").join(rest)]), soft_wrap=True)


@cache
def log_once(message: str) -> None:
    """Log a message, unless this process has logged it before."""
    logger.info("%s", message)
