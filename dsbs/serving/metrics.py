"""The metrics of a server, in Prometheus' format at ``/metrics``."""

import math

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 30)


class Metrics:
    """The metrics of one server, in a registry of its own.

    Attributes:
        requests: HTTP requests by path and status.
        answers: by label and source (``student`` or ``teacher``).
        truncated: inputs that were longer than the student reads.
        deferred: by outcome: ``teacher``, ``unavailable``, ``unread``, ``over_budget``.
        recorded: exchanges that passed through the proxy (``mode=record``), by outcome: ``recorded``, ``not_recorded``.
        shift, rate: how far recent labels are from those on validation, and the share of answers below the threshold;
            NaN before there are enough answers.
        compared: answers given by both student and teacher: ``same`` or ``other``, and whether the student's confidence
            is below the threshold (``deferred``: ``true`` or ``false``).
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        registry = self.registry
        self.requests = Counter("dsbs_requests", "HTTP requests", ["path", "code"], registry=registry)
        self.seconds = Histogram(
            "dsbs_request_seconds", "Seconds per request", ["path"], buckets=SECONDS, registry=registry
        )
        self.batch_size = Histogram(
            "dsbs_batch_size", "Examples answered together", buckets=(1, 2, 4, 8, 16, 32, 64, 128), registry=registry
        )
        self.waiting = Gauge("dsbs_waiting", "Examples in the queue", registry=registry)
        self.answers = Counter("dsbs_answers", "Answers by label and source", ["label", "source"], registry=registry)
        self.truncated = Counter("dsbs_truncated", "Inputs longer than the student reads", registry=registry)
        self.deferred = Counter("dsbs_deferred", "Answers asked of the teacher", ["outcome"], registry=registry)
        self.recorded = Counter("dsbs_recorded", "Exchanges through the proxy", ["outcome"], registry=registry)
        self.shift = Gauge("dsbs_label_shift", "Share of labels that moved since validation", registry=registry)
        self.rate = Gauge("dsbs_deferral_rate", "Share of the last answers below the threshold", registry=registry)
        self.forget_drift()
        self.compared = Counter(
            "dsbs_compared", "Answers given by student and teacher", ["outcome", "deferred"], registry=registry
        )

    def forget_drift(self) -> None:
        """Set the gauges of drift to NaN: nothing was measured."""
        self.shift.set(math.nan)
        self.rate.set(math.nan)

    def show(self) -> bytes:
        """Return all metrics in the text format."""
        return generate_latest(self.registry)
