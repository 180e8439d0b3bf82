"""Progress of long work: a bar on a terminal, a log line now and then elsewhere; and the consoles for output."""

import logging
import os
import time
from functools import cache

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from dsbs.core.distributed import is_main

FILE_WIDTH = 200  # of tables in a file or a pipe
LINE_SECONDS = 60.0  # between two lines
PATIENCE = 3.0  # seconds that work may take before a bar is worth it

logger = logging.getLogger(__name__)


@cache
def standard_error() -> Console:
    """Return the one console on standard error; shared, so that several bars do not overwrite each other."""
    return Console(stderr=True)


def standard_output() -> Console:
    """Return a console on standard output, ``FILE_WIDTH`` columns wide where that is a file or a pipe."""
    console = Console()
    return console if console.is_terminal or "COLUMNS" in os.environ else Console(width=FILE_WIDTH)


class Meter:
    """Progress of one piece of work: a bar once it has taken ``PATIENCE`` seconds, or a log line a minute.

    Leaving it as a context manager removes the bar.

    Args:
        done: units that were done before.
        console: where the bar is drawn; standard error by default. Lines go to the log.
    """

    def __init__(self, what: str, total: int, done: int = 0, console: Console | None = None) -> None:
        self.what = what
        self.total = total
        self.done = self._first = done
        self.status = ""
        self._console = console or standard_error()
        self._shows = self._console.is_terminal and is_main()
        self._bar: Progress | None = None
        self._started = self._logged = time.monotonic()

    def __enter__(self) -> "Meter":
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar:
            self._bar.stop()
            self._bar = None

    def update(self, done: int, status: str | None = None, log: bool = False) -> None:
        """Set the progress, and show it where it is due.

        Args:
            done: units that are done, those before included.
            status: text beside the bar; None: the last one stays.
            log: log a line now, where there is no bar.
        """
        self.done = done
        self.status = self.status if status is None else status
        now = time.monotonic()
        if not self._shows:
            if log or now - self._logged >= LINE_SECONDS:
                self.log()
        elif self._bar:
            self._bar.update(self._task, completed=done, status=self.status)
        elif now - self._started >= PATIENCE:
            self.show()

    def show(self) -> None:
        """Draw the bar now, where there is a terminal."""
        if not self._shows:
            return
        columns = (TextColumn(self.what), BarColumn(), MofNCompleteColumn(), TextColumn("{task.fields[status]}"))
        times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        self._bar = Progress(*columns, *times, console=self._console, transient=True)
        self._bar.start()
        self._task = self._bar.add_task(self.what, total=self.total, completed=self.done, status=self.status)

    def log(self) -> None:
        """Log a line with the time left, where there is no terminal."""
        if self._shows:
            return
        self._logged = time.monotonic()
        parts = [f"{self.what}: {self.done:,} of {self.total:,}", *([self.status] if self.status else [])]
        if self.done > self._first:
            left = (self._logged - self._started) / (self.done - self._first) * (self.total - self.done)
            parts.append(f"about {left:.0f} s left")
        logger.info(", ".join(parts))
