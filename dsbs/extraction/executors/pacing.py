"""The pace of requests: adaptive concurrency, rate limits per minute, and pauses that a server asks for."""

import asyncio
import logging
import math
import time
from collections import deque
from contextlib import suppress

from dsbs.core.units import show_duration
from dsbs.teachers.endpoint.headers import LONGEST_WAIT

FIRST_LIMIT = 16
LONGEST_PAUSE = 60.0  # in times of ``backoff``

logger = logging.getLogger(__name__)


class Concurrency:
    """A semaphore with an adaptive limit (additive increase, multiplicative decrease).

    The limit doubles with every round of answers until the first overload; after that it grows by one a round. An
    overload halves it.
    """

    def __init__(self, maximum: int) -> None:
        self.maximum = maximum
        self.limit: float = min(maximum, FIRST_LIMIT)
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

    async def __aexit__(self, *_: object) -> None:
        self.running -= 1
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and self.running < int(self.limit):
            turn = self._waiting.popleft()
            if not turn.done():
                self.running += 1
                turn.set_result(None)

    def answered(self) -> None:
        """Note that a request was answered: the limit grows."""
        if self.limit < self.maximum:
            self.limit = min(self.maximum, self.limit + (1 / self.limit if self.overloads else 1))
            self._let_in()

    def overloaded(self, started: float) -> bool:
        """Note that the server is overloaded: it rejected a request, or timed out. The limit is halved.

        Args:
            started: when the request was sent (``time.monotonic``). Those sent before the last cut do not count.

        Returns:
            whether it counts.
        """
        counts = started >= self._last_cut
        if counts:
            self._last_cut = time.monotonic()
            self.overloads += 1
            self.limit = max(1.0, self.limit / 2)
        return counts


class RateLimit:
    """A rate limit on requests or tokens (a leaky bucket); without effect while ``per_minute`` is None.

    Args:
        per_minute: the limit that the user set, which the server's headers do not change; None: none was set.
    """

    def __init__(self, per_minute: float | None) -> None:
        self.fixed = per_minute is not None
        self.per_minute = per_minute
        self._next = 0.0

    def adopt(self, per_minute: float | None) -> None:
        """Use a limit from the server's headers, unless the user set one."""
        if not self.fixed and per_minute and per_minute > 0:
            self.per_minute = per_minute

    async def take(self, amount: float, stop: asyncio.Event) -> None:
        """Wait until ``amount`` more may be used, or ``stop`` is set."""
        if self.per_minute is None:
            return
        now = time.monotonic()
        # A tenth of a second's worth may go out at once: timers are not finer than that.
        self._next = max(self._next, now - 0.1)
        start, self._next = self._next, self._next + amount * 60 / self.per_minute
        if start > now:
            await sleep_unless(stop, start - now)

    def correct(self, estimated: float, used: float) -> None:
        """Replace an estimated amount by what was actually used."""
        if self.per_minute is not None:
            self._next += (used - estimated) * 60 / self.per_minute


class Pause:
    """Delays all requests while the server asks for it (``Retry-After``, or an exhausted rate limit).

    Attributes:
        rejections: how often in a row the server was busy and did not say for how long.
    """

    def __init__(self) -> None:
        self.until = 0.0
        self.asked_until = 0.0
        self.rejections = 0

    @property
    def left(self) -> float:
        """Seconds still to wait before the server is asked again."""
        return max(0.0, self.until - time.monotonic())

    @property
    def asked(self) -> float:
        """Seconds that the server still asks to wait."""
        return max(0.0, self.asked_until - time.monotonic())

    def ask(self, seconds: float) -> None:
        """Start a pause of some seconds, at most ``LONGEST_WAIT``, or extend the current one."""
        if seconds > LONGEST_WAIT and self.asked < LONGEST_WAIT:
            logger.warning(
                "The server asks us to wait %s. Retrying after %s; Ctrl-C stops, and the same command resumes "
                "from here.",
                show_duration(seconds),
                show_duration(LONGEST_WAIT),
            )
        now = time.monotonic()
        self.asked_until = max(self.asked_until, now + seconds)
        self.until = max(self.until, now + min(seconds, LONGEST_WAIT))

    def hold(self, backoff: float, longest: float) -> float:
        """Pause because the server is busy and does not say for how long: each time in a row four times as long.

        A rate limit per minute is over after a few of them, so that not every request runs out of attempts meanwhile.
        A single rejection among answers delays nothing.

        Args:
            backoff: seconds of the wait after which a request is repeated; the longest pause is ``LONGEST_PAUSE`` times
                as long.

        Returns:
            its seconds.
        """
        factor = min(4.0 ** min(self.rejections, 50), LONGEST_PAUSE) if self.rejections else 0.0
        seconds = min(backoff * factor, longest)
        self.until = max(self.until, time.monotonic() + seconds)
        self.rejections += 1
        return seconds

    async def wait(self, stop: asyncio.Event) -> None:
        """Return when the pause is over, or ``stop`` is set."""
        while self.left > 0 and not stop.is_set():
            await sleep_unless(stop, self.left)


async def sleep_unless(stop: asyncio.Event, seconds: float) -> None:
    """Sleep, but wake when ``stop`` is set."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
