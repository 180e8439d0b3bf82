"""The limits that a server tells about."""

from dataclasses import dataclass


@dataclass
class ServerLimits:
    """What a server told about its limits with its last answer.

    Attributes:
        requests_per_minute: how many it takes, or None where it does not say.
        tokens_per_minute: how many it takes, or None where it does not say.
        wait: seconds until it takes more, where the allowance is used up.
    """

    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    wait: float = 0.0
