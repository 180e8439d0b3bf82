"""Retries with exponential backoff; no other layer retries."""

import random
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from dsbs.core.errors import TeacherError
from dsbs.extraction.settings import ExtractionSettings
from dsbs.teachers.endpoint.headers import LONGEST_WAIT

# The reasons of a server that is busy.
BUSY = {"HTTP 429", "HTTP 498", "HTTP 503", "HTTP 529", "error 429", "error 503", "error 529"}

Given = ParamSpec("Given")
Result = TypeVar("Result")


class Retrying:
    """Calls a function until it succeeds, fails for good, or was tried ``attempts`` times.

    Args:
        worth: returns whether an error is worth a retry.
        sleep: waits for some seconds; may end early when the extraction stops.
        busy: how many times as many attempts a busy server is worth that does not say how long to wait.
    """

    def __init__(
        self,
        settings: ExtractionSettings,
        worth: Callable[[BaseException], bool],
        sleep: Callable[[float], Awaitable[None]],
        busy: int = 1,
    ) -> None:
        self.settings, self.worth, self.sleep, self.busy = settings, worth, sleep, busy

    async def __call__(
        self, function: Callable[Given, Awaitable[Result]], *args: Given.args, **kwargs: Given.kwargs
    ) -> Result:
        """Return what the function returns, or raise its last error."""
        attempt = 1
        while True:
            try:
                return await function(*args, **kwargs)
            except Exception as error:
                if not self.worth(error) or attempt >= self._attempts_for(error):
                    raise
                await self.sleep(self.wait_after(attempt, error))
                attempt += 1

    def _attempts_for(self, error: BaseException) -> int:
        unasked = isinstance(error, TeacherError) and error.reason in BUSY and not error.retry_after
        return self.settings.attempts * (self.busy if unasked else 1)

    def wait_after(self, attempt: int, error: BaseException) -> float:
        """Return the seconds to wait after an attempt: doubled each time, with jitter; at least as the server asks.

        Args:
            attempt: its number, from 1.
        """
        longest = min(self.settings.backoff * 2.0 ** min(attempt - 1, 50), self.settings.max_backoff)
        asked = error.retry_after if isinstance(error, TeacherError) and error.retry_after else 0.0
        spread = random.uniform(0.5, 1.0)  # noqa: S311 - spreads what waits
        return max(longest * spread, min(asked, LONGEST_WAIT))
