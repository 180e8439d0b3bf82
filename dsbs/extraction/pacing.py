"""How fast to ask: as many requests at once as the server bears, and no more a minute than it allows."""

import asyncio
import logging
import math
import time
from collections import deque
from contextlib import suppress
from types import TracebackType

from dsbs.teachers.headers import LONGEST_WAIT

FIRST_LIMIT = 16

logger = logging.getLogger(__name__)


class Concurrency:
    """A semaphore that adapts: one more slot while answers come, half as many when the server is overloaded.

    The limit doubles with every round of answers until the first overload; from there on it grows by one a round
    (additive increase, multiplicative decrease).

    Args:
        most: the limit never exceeds it.
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit: float = min(most, FIRST_LIMIT)
        self.running = 0
        self.overloads = 0
        self._waiting: deque[asyncio.Future[None]] = deque()
        self._last_cut = -math.inf

    async def __aenter__(self) -> None:
        if self._waiting or self.running >= int(self.limit):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting.append(turn)
            try:
                await turn
            except asyncio.CancelledError:
                # The turn may have been given at the very moment of the cancellation: pass it on.
                if turn.done() and not turn.cancelled():
                    self.running -= 1
                    self._let_in()
                raise
        else:
            self.running += 1

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.running -= 1
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self.running < int(self.limit):
            turn = self._waiting.popleft()
            if not turn.done():
                self.running += 1
                turn.set_result(None)

    def answered(self) -> None:
        """Tell that a request was answered."""
        if self.limit < self.most:
            self.limit = min(self.most, self.limit + (1 / self.limit if self.overloads else 1))
            self._let_in()

    def overloaded(self, started: float) -> None:
        """Tell that the server refused a request or took too long over it.

        Args:
            started: when the request was sent (``time.monotonic``). Those sent before the last cut say nothing new.
        """
        if started >= self._last_cut:
            self._last_cut = time.monotonic()
            self.overloads += 1
            self.limit = max(1.0, self.limit / 2)


class Allowance:
    """Requests or tokens per minute: a bucket that fills evenly. Unbounded while ``per_minute`` is None.

    Args:
        per_minute: the bound.
        fixed: whether the user set it, so that the server's headers do not change it.
    """

    def __init__(self, per_minute: float | None) -> None:
        self.fixed = per_minute is not None
        self.per_minute = per_minute
        self._next = 0.0

    def adopt(self, per_minute: float | None) -> None:
        """Take over a bound that the server tells, unless one was set."""
        if not self.fixed and per_minute and per_minute > 0:
            self.per_minute = per_minute

    async def take(self, amount: float, stop: asyncio.Event) -> None:
        """Wait until ``amount`` may be used, or ``stop`` is set."""
        if self.per_minute is None:
            return
        now = time.monotonic()
        # A tenth of a second's worth may go out at once: timers are not finer than that.
        self._next = max(self._next, now - 0.1)
        start, self._next = self._next, self._next + amount * 60 / self.per_minute
        if start > now:
            await sleep_unless(stop, start - now)

    def correct(self, estimated: float, used: float) -> None:
        """Replace an estimate by what was really used."""
        if self.per_minute is not None:
            self._next += (used - estimated) * 60 / self.per_minute


class Pause:
    """Holds back every request while the server asks for it (``Retry-After``, or an empty allowance)."""

    def __init__(self) -> None:
        self.until = 0.0
        self.asked_until = 0.0

    @property
    def left(self) -> float:
        """Seconds still to wait before the server is asked again."""
        return max(0.0, self.until - time.monotonic())

    @property
    def asked(self) -> float:
        """Seconds that the server still asks to wait."""
        return max(0.0, self.asked_until - time.monotonic())

    def ask(self, seconds: float) -> None:
        """Wait so many seconds from now, or ``LONGEST_WAIT``."""
        if seconds > LONGEST_WAIT and self.asked < LONGEST_WAIT:
            logger.warning(
                "The server asks us to wait %s. Retrying after %s; Ctrl-C stops, and the same command resumes "
                "from here.",
                format_seconds(seconds),
                format_seconds(LONGEST_WAIT),
            )
        now = time.monotonic()
        self.asked_until = max(self.asked_until, now + seconds)
        self.until = max(self.until, now + min(seconds, LONGEST_WAIT))

    async def wait(self, stop: asyncio.Event) -> None:
        """Return when the pause is over, or ``stop`` is set."""
        while self.left > 0 and not stop.is_set():
            await sleep_unless(stop, self.left)


async def sleep_unless(stop: asyncio.Event, seconds: float) -> None:
    """Sleep, but wake when ``stop`` is set."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)


def format_seconds(seconds: float) -> str:
    """Return a duration as people say it.

    >>> format_seconds(9.4), format_seconds(125), format_seconds(7500)
    ('9 s', '2 min', '2 h 5 min')
    """
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h" + f" {minutes} min" * (minutes > 0)
