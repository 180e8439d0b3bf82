"""Retries with exponential backoff; no other layer retries."""

import random
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from dsbs.core.errors import TeacherError
from dsbs.extraction.settings import ExtractionSettings
from dsbs.teachers.endpoint.headers import LONGEST_WAIT

# The reasons of a server that is busy.
BUSY = {"HTTP 429", "HTTP 498", "HTTP 503", "HTTP 529", "error 429", "error 503", "error 529"}
# At most so many times as many attempts do not count: a single question may be what a server cannot take.
MOST_LIMITED = 4

Given = ParamSpec("Given")
Result = TypeVar("Result")


class Retrying:
    """Calls a function until it succeeds, fails for good, or was tried ``attempts`` times.

    Args:
        worth: returns whether an error is worth a retry.
        sleep: waits for some seconds; may end early when the extraction stops.
        progress: returns how much was answered; attempts that a busy server rejects while it answers others do not
            count.
    """

    def __init__(
        self,
        settings: ExtractionSettings,
        worth: Callable[[BaseException], bool],
        sleep: Callable[[float], Awaitable[None]],
        progress: Callable[[], int] = lambda: 0,
    ) -> None:
        self.settings, self.worth, self.sleep, self.progress = settings, worth, sleep, progress

    async def __call__(
        self, function: Callable[Given, Awaitable[Result]], *args: Given.args, **kwargs: Given.kwargs
    ) -> Result:
        """Return what the function returns, or raise its last error."""
        attempt = limited = 0
        while True:
            before = self.progress()
            try:
                return await function(*args, **kwargs)
            except Exception as error:
                attempt += 1
                busy = isinstance(error, TeacherError) and error.reason in BUSY
                limited += busy and self.progress() > before and limited < MOST_LIMITED * self.settings.attempts
                if not self.worth(error) or attempt - limited >= self.settings.attempts:
                    raise
                await self.sleep(self.wait_after(attempt, error))

    def wait_after(self, attempt: int, error: BaseException) -> float:
        """Return the seconds to wait after an attempt: doubled each time, with jitter; at least as the server asks.

        Args:
            attempt: its number, from 1.
        """
        longest = min(self.settings.backoff * 2.0 ** min(attempt - 1, 50), self.settings.max_backoff)
        asked = error.retry_after if isinstance(error, TeacherError) and error.retry_after else 0.0
        spread = random.uniform(0.5, 1.0)  # noqa: S311 - spreads what waits
        return max(longest * spread, min(asked, LONGEST_WAIT))
