"""The rate limits of a server."""

from dataclasses import dataclass


@dataclass
class ServerLimits:
    """The rate limits in a server's last answer.

    Attributes:
        requests_per_minute: None where it does not say.
        tokens_per_minute: None where it does not say.
        wait: seconds until it accepts more, where a limit is reached; else 0.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    wait: float = 0.0
