"""Progress of an extraction: a live line on a terminal, a plain line now and then elsewhere."""

import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Self, TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from dsbs.core.records import Completion, Example, Request
from dsbs.core.units import show_duration
from dsbs.extraction.budget import Spending
from dsbs.extraction.executors import Executor
from dsbs.extraction.executors.base import RequestStats
from dsbs.extraction.job import Job
from dsbs.extraction.survey import Survey
from dsbs.store import Outcome

TICK = 1.0  # seconds between two calls of ``Observer.tick``
PLAIN_SECONDS = 10.0
# Seconds over which speed is measured.
WINDOW = 30.0
MAXIMUM_MARKS = 200


@dataclass
class Observer:
    """Base of what follows an extraction: called for every answer, within a context. This one does nothing."""

    job: Job
    survey: Survey
    spending: Spending
    stats: RequestStats
    executor: Executor

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Called after the last request."""

    def arrived(self, request: Request, outcome: Outcome) -> None:
        """Called for every completion and failure, once it is committed."""

    def tick(self) -> None:
        """Called every ``TICK`` seconds."""


@dataclass
class ProgressLine(Observer):
    """Shows requests done, speed, tokens, dollars, share of unparsed answers, and time left.

    Attributes:
        stream: where to write; None: standard error.
        done: requests that ended.
        unparsed: completions of which no answer was read.
    """

    stream: TextIO | None = None
    done: int = 0
    unparsed: int = 0

    def __enter__(self) -> Self:
        self.console = Console(file=self.stream, stderr=self.stream is None)
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="reading")
        self._live: Live | None = None
        self._last_line, self._shown = time.monotonic(), ""
        self._marks = deque([(self._last_line, 0)])
        if self.console.is_terminal:
            self._live = Live(get_renderable=lambda: Text(self.describe()), console=self.console, transient=True)
            self._live.start()
        else:
            repeated = f", {self.survey.repeated:,} repeat another one" if self.survey.repeated else ""
            self._write(f"{self.survey.to_come:,} to ask, {self.survey.stored:,} in the store{repeated}")
        return self

    def __exit__(self, *_: object) -> None:
        self._reader.shutdown()
        if self._live is not None:
            self._live.stop()
        self._write(self.describe())

    def arrived(self, request: Request, outcome: Outcome) -> None:
        self.done += 1
        if isinstance(outcome, Completion):
            self._reader.submit(self._read, request, outcome)
        now = time.monotonic()
        if now - self._marks[-1][0] > WINDOW / MAXIMUM_MARKS:
            self._marks.append((now, self.done))
            while len(self._marks) > 2 and now - self._marks[0][0] > WINDOW:
                self._marks.popleft()

    def _read(self, request: Request, outcome: Completion) -> None:
        """Count an answer that cannot be read; in a thread, for the event loop has requests to look after."""
        example = Example(request.id, request.question, choices=request.choices)
        self.unparsed += self.job.annotate(example, outcome).label is None

    def tick(self) -> None:
        now = time.monotonic()
        if self._live is not None or now - self._last_line < PLAIN_SECONDS:
            return
        if (line := self.describe()) != self._shown:
            self._last_line, self._shown = now, line
            self._write(line)

    def _write(self, line: str) -> None:
        self.console.print(f"extract: {line}", markup=False, highlight=False, soft_wrap=True)

    def describe(self) -> str:
        """Return the current state as one line."""
        to_ask, spending, executor, stats = self.survey.to_come, self.spending, self.executor, self.stats
        before, count = self._marks[0]
        speed = (self.done - count) / max(time.monotonic() - before, 1e-3)
        parts = [f"{self.done:,}/{to_ask:,}"]
        if not executor.batches:  # else answers do not come one by one
            parts.append(f"{speed:.1f}/s")
        parts.append(f"{'about ' * spending.guessed}{spending.tokens:,} tokens")
        if spending.usd is not None:
            parts.append(self._dollars(spending.usd, to_ask))
        parts.append(f"{100 * self.unparsed / stats.answered if stats.answered else 0:.1f}% unparsed")
        if stats.failed:
            parts.append(f"{stats.failed:,} failed")
        if stats.retried:
            parts.append(f"{stats.retried:,} retried")
        parts += executor.describe()
        if executor.stopped:
            reason = "no request succeeds" if executor.stopped == "hopeless" else executor.stopped
            parts.append(f"stopping ({reason}): waiting for requests in flight")
        elif not executor.batches and self.done < to_ask:
            parts.append(f"{show_duration((to_ask - self.done) / speed)} left" if speed else "")
        return ", ".join(filter(None, parts))

    def _dollars(self, usd: float, to_ask: int) -> str:
        spending = self.spending
        if not self.stats.answered or self.done >= to_ask:
            return f"${usd:.2f}"
        per_request = spending.usd / spending.requests if spending.usd and spending.rates and spending.requests else 0.0
        return f"${usd:.2f} of about ${usd + per_request * (to_ask - self.done):.2f}"
