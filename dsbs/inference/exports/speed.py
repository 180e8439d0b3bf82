"""How fast a student answers: alone, and many together."""

import math
import statistics
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from dsbs.core.records import Example
from dsbs.inference.predictor import Predictor

SINGLES, SECONDS = 20, 3.0  # single requests: so many, or for so long
TOGETHER = 64
NAMES = ("single_ms_p50", "per_second")


@dataclass(frozen=True)
class Speed:
    """Times of a student that was warm.

    Attributes:
        single_ms_p50: median milliseconds of an answer asked for alone.
        per_second: answers a second, asked for together.
    """

    single_ms_p50: float
    per_second: float

    def figures(self) -> dict[str, Any]:
        """Return the figures as ``export.json`` has them."""
        return asdict(self)


def read_speed(record: dict[str, Any]) -> dict[str, Any] | None:
    """Return what an ``export.json`` says about speed; None where it says nothing, or nothing that makes sense."""
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
    """Time a predictor that has answered before, on examples it is made for."""
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
