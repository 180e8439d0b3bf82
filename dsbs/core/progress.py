"""How far long work is, for people: a bar where somebody looks, a line now and then where nobody does."""

import logging
import os
import time
from functools import cache
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dsbs.core.distributed import is_main

FILE_WIDTH = 200  # of tables in a file or a pipe
LINE_SECONDS = 60.0  # between two lines
PATIENCE = 3.0  # seconds that work may take before a bar is worth it

logger = logging.getLogger(__name__)


@cache
def standard_error() -> Console:
    """Return the one console on standard error: bars of the same console can stand below each other."""
    return Console(stderr=True)


def standard_output() -> Console:
    """Return a console on standard output; what goes into a file or a pipe is not cut into lines of 80 letters."""
    console = Console()
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(width=FILE_WIDTH)


class Meter:
    """Shows how much is done of a piece of work that may be short; a context that takes its bar away.

    Args:
        what: the work.
        total: how much there is to do.
        done: how much of it was done before.
        console: where the bar stands; standard error by default. Lines go to the log.
    """

    def __init__(self, what: str, total: int, done: int = 0, console: Console | None = None) -> None:
        self.what = what
        self.total = total
        self.done = self._first = done
        self.said = ""
        self._console = console or standard_error()
        self._shows = self._console.is_terminal and is_main()
        self._bar: Progress | None = None
        self._started = self._told = time.monotonic()

    def __enter__(self) -> "Meter":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, where: TracebackType | None
    ) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None

    def update(self, done: int, said: str | None = None, tell: bool = False) -> None:
        """Note that so much is done, and what there is to say of it; show it where it is time."""
        self.done = done
        self.said = self.said if said is None else said
        now = time.monotonic()
        if not self._shows:
            if tell or now - self._told >= LINE_SECONDS:
                self.tell()
        elif self._bar:
            self._bar.update(self._task, completed=done, said=self.said)
        elif now - self._started >= PATIENCE:
            self.show()

    def show(self) -> None:
        """Put up the bar, where there is a terminal."""
        if not self._shows:
            return
        columns = (TextColumn(self.what), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[said]}"))
        times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        self._bar = Progress(*columns, *times, console=self._console, transient=True)
        self._bar.start()
        self._task = self._bar.add_task(self.what, total=self.total, completed=self.done, said=self.said)

    def tell(self) -> None:
        """Write a line, where there is no bar."""
        if self._shows:
            return
        self._told = time.monotonic()
        parts = [f"{self.what}: {self.done:,} of {self.total:,}", *([self.said] if self.said else [])]
        if self.done > self._first:
            left = (self._told - self._started) / (self.done - self._first) * (self.total - self.done)
            parts.append(f"about {left:.0f} s left")
        logger.info(", ".join(parts))
