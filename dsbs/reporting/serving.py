"""The speed of exported students, and the teacher's price for the same answers."""

import statistics
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from dsbs.core.errors import DataError
from dsbs.core.untrusted import read_object
from dsbs.extraction.annotations import price_of
from dsbs.inference.exports.speed import read_speed
from dsbs.reporting.conditions import Condition
from dsbs.reporting.teachers import find_summary

MILLION = 1_000_000
Key = tuple[str, str, str, str]


def list_served(conditions: Sequence[Condition]) -> list[dict[str, Any]]:
    """Return a row for each student and export format, medians over runs; see ``docs/files.md``.

    The teacher's price is the cost of its extraction per request. ``break_even_requests`` is the number of requests to
    the teacher that cost as much as the extraction; the student's machine is not counted. Unknown values are None.
    """
    found: dict[Key, dict[Path, list[dict[str, Any]]]] = {}  # by run, in which several exports may have been measured
    usd: dict[Key, tuple[float, int]] = {}
    for condition in conditions:
        for run in condition.runs:
            price = price_of(find_summary(run))
            for path in sorted(run.folder.glob("exports/*/export.json")):
                record = _read(path)
                if record is None:
                    continue
                speed, student = record["speed"], (condition.student, condition.objective)
                for kind, name in (("checkpoint", "checkpoint"), ("export", record["form"])):
                    key = (*student, kind, name)
                    measured = found.setdefault(key, {}).setdefault(run.folder, [])
                    measured.append(speed[kind] | {"threads": speed["threads"]})
                    if price:
                        usd[key] = price
    return [_row(key, speeds, usd.get(key)) for key, speeds in sorted(found.items())]


def _read(path: Path) -> dict[str, Any] | None:
    """Return an export's record, or None where it is invalid."""
    try:
        record = read_object(path)
    except (DataError, OSError):
        return None
    speed = read_speed(record)
    form = [record.get("format"), record.get("quantization")]
    if speed is None or "refused" in record or not all(isinstance(part, str) and len(part) < 40 for part in form):
        return None
    return {"form": " ".join(map(str, form)), "speed": speed}


def _row(key: Key, speeds: Mapping[Path, Sequence[dict[str, Any]]], price: tuple[float, int] | None) -> dict[str, Any]:
    student, objective, _, form = key

    def median(value: Callable[[dict[str, Any]], float]) -> float:
        return statistics.median(statistics.median(map(value, measured)) for measured in speeds.values())

    return {
        "student": student,
        "objective": objective,
        "form": form,
        "runs": len(speeds),
        "milliseconds": median(lambda one: float(one["single_ms_p50"])),
        "per_second_and_core": median(lambda one: float(one["per_second"]) / int(one["threads"])),
        "teacher_usd_per_million": price and MILLION * price[0] / price[1],
        "break_even_requests": price and price[1],
    }
