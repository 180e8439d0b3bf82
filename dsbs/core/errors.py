"""The one exception family: a user's mistake ends in a message, never in a traceback."""

import signal
from collections.abc import Iterable


class DsbsError(Exception):
    """A mistake that the user can fix. The message says what is wrong, where, and what to do."""


class ConfigError(DsbsError):
    """Settings that are out of range, or that do not go together."""

    @classmethod
    def from_faults(cls, faults: Iterable[str]) -> "ConfigError":
        """Return one error that lists all faults, one a line."""
        faults = list(faults)
        head = "Invalid setting:" if len(faults) == 1 else f"{len(faults)} invalid settings:"
        return cls("\n  - ".join([head, *faults]))


class DataError(DsbsError):
    """A file that is missing, broken, or not what it should be. The message names the file and the line."""


class TeacherError(DsbsError):
    """A teacher that cannot answer.

    Args:
        message: what happened and what to do.
        retryable: whether the same request may succeed a little later (429, 503, a dropped connection).
        fatal: whether every other request must fail in the same way (wrong key, wrong model).
        retry_after: seconds that the server asked us to wait.
        reason: one or two words to count failures by.
        explanation: the endpoint's own words, where it refused.
    """

    def __init__(
        self,
        message: str,
        *,
        retryable: bool = False,
        fatal: bool = False,
        retry_after: float | None = None,
        reason: str = "no completion",
        explanation: str = "",
    ) -> None:
        super().__init__(message)
        self.reason = reason
        self.explanation = explanation
        self.retryable = retryable
        self.fatal = fatal
        self.retry_after = retry_after


class StudentError(DsbsError):
    """A student that cannot be built, loaded or trained."""


class RunError(DsbsError):
    """A run that cannot go on: its folder is locked, its checkpoint broken, its disk full."""


class Terminated(KeyboardInterrupt):
    """The process was asked to end by a signal; like Ctrl-C, it ends a sweep, too."""

    def __init__(self, message: str, number: int = signal.SIGTERM) -> None:
        super().__init__(message)
        self.number = number
