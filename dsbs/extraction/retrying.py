"""Trying again: how often, and how long to wait. The one layer that does so."""

from collections.abc import Awaitable, Callable

import tenacity

from dsbs.core.errors import TeacherError
from dsbs.extraction.settings import ExtractionSettings


def build_retrying(
    settings: ExtractionSettings,
    worth: Callable[[BaseException], bool],
    sleep: Callable[[float], Awaitable[None]],
) -> tenacity.AsyncRetrying:
    """Return what calls a function until it succeeds, is not worth it, or was tried ``attempts`` times.

    Args:
        settings: attempts and waits.
        worth: tells whether an error may pass.
        sleep: waits so many seconds, or less where there is no more point in it.
    """
    # Half of each wait is sure, half is random, so that requests that failed together do not come back together.
    half = {"multiplier": settings.backoff / 2, "max": settings.max_backoff / 2}
    backoff = tenacity.wait_exponential(**half) + tenacity.wait_random_exponential(**half)

    def wait(state: tenacity.RetryCallState) -> float:
        error = state.outcome.exception() if state.outcome else None
        asked = error.retry_after if isinstance(error, TeacherError) and error.retry_after else 0.0
        return max(backoff(state), asked)

    return tenacity.AsyncRetrying(
        retry=tenacity.retry_if_exception(worth),
        stop=tenacity.stop_after_attempt(settings.attempts),
        wait=wait,
        sleep=sleep,
        reraise=True,
    )
