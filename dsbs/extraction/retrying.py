"""Trying again: how often, and how long to wait. The one layer that does so."""

import random
from collections.abc import Awaitable, Callable
from typing import ParamSpec, TypeVar

from dsbs.core.errors import TeacherError
from dsbs.extraction.settings import ExtractionSettings
from dsbs.teachers.headers import LONGEST_WAIT

Given = ParamSpec("Given")
Result = TypeVar("Result")


class Retrying:
    """Calls a function until it succeeds, is not worth it, or was tried ``attempts`` times.

    Args:
        settings: attempts and waits.
        worth: tells whether an error may pass.
        sleep: waits so many seconds, or less where there is no more point in it.
    """

    def __init__(
        self,
        settings: ExtractionSettings,
        worth: Callable[[BaseException], bool],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self.settings, self.worth, self.sleep = settings, worth, sleep

    async def __call__(
        self, function: Callable[Given, Awaitable[Result]], *args: Given.args, **kwargs: Given.kwargs
    ) -> Result:
        """Return what the function returns, or raise its last error."""
        attempt = 1
        while True:
            try:
                return await function(*args, **kwargs)
            except Exception as error:
                if not self.worth(error) or attempt >= self.settings.attempts:
                    raise
                await self.sleep(self.wait_after(attempt, error))
                attempt += 1

    def wait_after(self, attempt: int, error: BaseException) -> float:
        """Return the seconds to wait after an attempt, from 1 on: doubled each time, and what the server asks for.

        Half of each wait is sure, half is random, so that requests that failed together do not come back together.
        """
        longest = min(self.settings.backoff * 2.0 ** min(attempt - 1, 50), self.settings.max_backoff)
        asked = error.retry_after if isinstance(error, TeacherError) and error.retry_after else 0.0
        spread = random.uniform(0.5, 1.0)  # noqa: S311 - spreads what waits
        return max(longest * spread, min(asked, LONGEST_WAIT))
