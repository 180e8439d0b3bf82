"""Settings of extractions that do not decide what a teacher answers."""

from dataclasses import dataclass, field, replace

from dsbs.core.checks import ABOVE_0, AT_LEAST_1, NOT_NEGATIVE, range_faults


@dataclass
class Budget:
    """What an extraction may spend in all, what it found in the store included. None: no bound.

    Attributes:
        usd: maximum dollars.
        tokens: maximum prompt and completion tokens.
        requests: maximum answered requests.
    """

    usd: float | None = None
    tokens: int | None = None
    requests: int | None = None

    def faults(self) -> list[str]:
        """Return what is wrong with the bounds."""
        return range_faults(self, NOT_NEGATIVE, *vars(self), prefix="budget.", null="no bound")


@dataclass
class BatchSettings:
    """How requests are sent to a batch API (``executor=batch``). The defaults are the most that OpenAI takes.

    Attributes:
        requests: maximum requests per batch.
        megabytes: maximum size of a batch file, in MB (10^6 bytes).
        at_once: maximum pending batches.
        poll: seconds between polls.
        wait: stay until all batches have ended; False: send, collect what is ready, and end.
    """

    requests: int = 50_000
    megabytes: float = 200.0
    at_once: int = 20
    poll: float = 30.0
    wait: bool = True

    def faults(self) -> list[str]:
        """Return what is wrong with the settings."""
        faults = range_faults(self, AT_LEAST_1, "requests", "at_once", prefix="batch.")
        return faults + range_faults(self, ABOVE_0, "megabytes", "poll", prefix="batch.")


@dataclass
class RaySettings:
    """How requests are spread over Ray actors (``executor=ray``).

    Attributes:
        address: address of the cluster that this machine belongs to, ``auto`` or HOST:PORT; None: a local Ray instance,
            which ends with the run.
        actors: number of actors, each with its share of ``concurrency``, ``requests_per_minute`` and
            ``tokens_per_minute``; None: one per node with CPUs, or two on a single node.
    """

    address: str | None = None
    actors: int | None = None

    def faults(self) -> list[str]:
        """Return what is wrong with the settings."""
        faults = range_faults(self, AT_LEAST_1, "actors", prefix="ray.", null="one per node")
        if self.address is not None and "://" in self.address:
            faults.append(f"ray.address={self.address}: Ray Client is not supported. Run the command on a node of the "
                          "cluster, with ray.address=auto.")  # fmt: skip
        return faults


@dataclass
class ExtractionSettings:
    """Pace, patience and bounds.

    Attributes:
        executor: ``local`` (this process asks), ``batch`` (the endpoint's batch API) or ``ray`` (actors on a cluster).
        concurrency: maximum concurrent requests; lowered automatically while the server is overloaded.
        attempts: attempts per request before it counts as failed; those that a busy server (429, 503) rejects while it
            answers others do not count.
        backoff: seconds before the second attempt; doubled each time, up to ``max_backoff``, with jitter.
        max_backoff: see ``backoff``; a server's ``Retry-After`` is respected even if longer, up to an hour.
        requests_per_minute: rate limit; None: taken from the server's headers, if any.
        tokens_per_minute: the same for prompt and completion tokens.
        samples: completions per example; the label is their majority vote (self-consistency).
        dry_run: count requests and estimate tokens, dollars and time, without asking.
        budget: what may be spent.
        batch: more about batches.
        ray: more about actors.
    """

    executor: str = "local"
    concurrency: int = 32
    attempts: int = 6
    backoff: float = 1.0
    max_backoff: float = 60.0
    requests_per_minute: float | None = None
    tokens_per_minute: float | None = None
    samples: int = 1
    dry_run: bool = False
    budget: Budget = field(default_factory=Budget)
    batch: BatchSettings = field(default_factory=BatchSettings)
    ray: RaySettings = field(default_factory=RaySettings)

    def faults(self) -> list[str]:
        """Return what is wrong with the settings, one sentence each."""
        faults = range_faults(self, AT_LEAST_1, "concurrency", "attempts", "samples")
        faults += range_faults(self, NOT_NEGATIVE, "backoff", "max_backoff")
        faults += range_faults(self, ABOVE_0, "requests_per_minute", "tokens_per_minute", null="no bound")
        return faults + self.budget.faults() + self.batch.faults() + self.ray.faults()

    def share(self, index: int, count: int) -> "ExtractionSettings":
        """Return one actor's share of the pace, without a budget.

        Args:
            index: number of the actor, from 0.

        >>> [ExtractionSettings(concurrency=5).share(index, 2).concurrency for index in (0, 1)]
        [3, 2]
        """
        each, more = divmod(self.concurrency, count)
        requests, tokens = self.requests_per_minute, self.tokens_per_minute
        return replace(
            self,
            concurrency=each + (index < more),
            requests_per_minute=requests and requests / count,
            tokens_per_minute=tokens and tokens / count,
            budget=Budget(),
        )
