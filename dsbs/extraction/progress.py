"""Progress of an extraction: a live line on a terminal, a plain line now and then elsewhere."""

import time
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.text import Text

from dsbs.core.records import Completion, Example, Request
from dsbs.core.units import show_duration
from dsbs.extraction.engine import Progress, Watch
from dsbs.store import Failure

PLAIN_SECONDS = 10.0
# Seconds over which speed is measured.
WINDOW = 30.0
MAXIMUM_MARKS = 200


class ProgressLine(Watch):
    """A ``Watch`` that shows requests done, speed, tokens, dollars, share of unparsed answers, and time left.

    Args:
        stream: where to write; None: standard error.
    """

    def __init__(self, stream: TextIO | None = None) -> None:
        self.console = Console(file=stream, stderr=stream is None)
        self.progress: Progress | None = None
        self.done = self.unparsed = 0
        self._live: Live | None = None
        self._marks: deque[tuple[float, int]] = deque()
        self._last_line = 0.0
        self._said = ""
        self._reader = ThreadPoolExecutor(1, thread_name_prefix="reading")

    def begin(self, progress: Progress) -> None:
        """Start the line."""
        self.progress = progress
        self._last_line = time.monotonic()
        self._marks.append((self._last_line, 0))
        if self.console.is_terminal:
            self._live = Live(get_renderable=lambda: Text(self.describe()), console=self.console, transient=True)
            self._live.start()
        else:
            self._write(f"{progress.survey.to_come:,} to ask, {progress.survey.cached:,} in the store")

    def arrived(self, request: Request, outcome: Completion | Failure) -> None:
        """Count a completion or a failure, and show the line where it is due."""
        assert self.progress is not None
        self.done += 1
        if isinstance(outcome, Completion):
            self._reader.submit(self._read, request, outcome)
        now = time.monotonic()
        if now - self._marks[-1][0] > WINDOW / MAXIMUM_MARKS:
            self._marks.append((now, self.done))
            while len(self._marks) > 2 and now - self._marks[0][0] > WINDOW:
                self._marks.popleft()
        self.waiting()

    def _read(self, request: Request, outcome: Completion) -> None:
        """Count an answer that cannot be read; in a thread, for the event loop has requests to look after."""
        assert self.progress is not None
        example = Example(request.id, request.question, choices=request.choices)
        self.unparsed += self.progress.job.annotate(example, outcome).label is None

    def waiting(self) -> None:
        """Show the line if it is due and has changed."""
        now = time.monotonic()
        if self._live is not None or now - self._last_line < PLAIN_SECONDS:
            return
        line = self.describe()
        if line != self._said:
            self._last_line, self._said = now, line
            self._write(line)

    def end(self) -> None:
        """Write the final state."""
        self._reader.shutdown()
        if self._live is not None:
            self._live.stop()
            self._live = None
        self._write(self.describe())

    def _write(self, line: str) -> None:
        self.console.print(f"extract: {line}", markup=False, highlight=False, soft_wrap=True)

    def describe(self) -> str:
        """Return the current state as one line."""
        assert self.progress is not None
        progress, now = self.progress, time.monotonic()
        to_ask, spending, executor = progress.survey.to_come, progress.spending, progress.executor
        before, count = self._marks[0]
        speed = (self.done - count) / max(now - before, 1e-3)
        parts = [f"{self.done:,}/{to_ask:,}"]
        if not executor.batches:  # else answers do not come one by one
            parts.append(f"{speed:.1f}/s")
        parts.append(f"{'about ' * spending.guessed}{spending.tokens:,} tokens")
        if spending.usd is not None:
            parts.append(self._dollars(spending.usd, to_ask))
        answered = progress.tally.answered
        parts.append(f"{100 * self.unparsed / answered if answered else 0:.1f}% unparsed")
        if progress.tally.failed:
            parts.append(f"{progress.tally.failed:,} failed")
        if progress.tally.retried:
            parts.append(f"{progress.tally.retried:,} retried")
        parts += executor.describe()
        if executor.stopped:
            reason = "no request succeeds" if executor.stopped == "hopeless" else executor.stopped
            parts.append(f"stopping ({reason}): waiting for requests in flight")
        elif not executor.batches and self.done < to_ask:
            parts.append(f"{show_duration((to_ask - self.done) / speed)} left" if speed else "")
        return ", ".join(filter(None, parts))

    def _dollars(self, usd: float, to_ask: int) -> str:
        assert self.progress is not None
        answered = self.progress.tally.answered
        if not answered or self.done >= to_ask:
            return f"${usd:.2f}"
        rates, spending = self.progress.spending.rates, self.progress.spending
        per_request = spending.usd / spending.requests if spending.usd and rates and spending.requests else 0.0
        return f"${usd:.2f} of about ${usd + per_request * (to_ask - self.done):.2f}"
