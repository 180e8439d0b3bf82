"""The speed of a student: of single answers, and of a batch."""

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dsbs.core.records import Example
from dsbs.inference.predictor import Predictor

SINGLES, SECONDS = 20, 3.0  # maximum single requests, and seconds of them
TOGETHER = 64
NAMES = ("single_ms_p50", "per_second")


@dataclass(frozen=True)
class Speed:
    """The speed of a warm student.

    Attributes:
        single_ms_p50: median milliseconds of a single answer.
        per_second: answers a second in a batch of ``TOGETHER``.
    """

    single_ms_p50: float
    per_second: float


def read_speed(record: dict[str, Any]) -> dict[str, Any] | None:
    """Return the speed in an untrusted ``export.json``, or None where it is missing or invalid."""
    try:
        speed = record["speed"]
        both = {kind: {name: float(speed[kind][name]) for name in NAMES} for kind in ("checkpoint", "export")}
        threads = int(speed["threads"])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    numbers = [value for one in both.values() for value in one.values()]
    if threads < 1 or not all(0 < value < math.inf for value in numbers):
        return None
    return {"threads": threads, **both}


def measure_speed(predictor: Predictor, examples: Sequence[Example]) -> Speed:
    """Measure the speed of a predictor."""
    times: list[float] = []
    end = time.perf_counter() + SECONDS
    for number in range(SINGLES):
        started = time.perf_counter()
        predictor.predict([examples[number % len(examples)]])
        times.append(time.perf_counter() - started)
        if time.perf_counter() > end:
            break
    part = list(examples[:TOGETHER])
    started = time.perf_counter()
    predictor.predict(part)
    seconds = time.perf_counter() - started
    return Speed(round(1000 * statistics.median(times), 3), round(len(part) / seconds, 2))
