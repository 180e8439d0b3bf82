"""The course of trainings: loss and validation score over steps."""

from typing import Any

from dsbs.reporting.conditions import Condition


def read_histories(condition: Condition) -> list[dict[str, Any]]:
    """Return the logged series of each seed; seeds that logged nothing are left out.

    Returns:
        ``seed``, and ``validation`` and ``loss``: lists of (step, value).
    """
    found = []
    for run in condition.runs:
        history = run.metrics.get("history")
        if not isinstance(history, list):
            continue
        steps = [entry for entry in history if isinstance(entry, dict) and isinstance(entry.get("step"), int)]
        series = {name: _series(steps, name) for name in ("validation", "loss")}
        if any(series.values()):
            found.append({"seed": run.seed, **series})
    return found


def _series(steps: list[dict[str, Any]], name: str) -> list[tuple[int, float]]:
    return [(entry["step"], float(entry[name])) for entry in steps if isinstance(entry.get(name), int | float)]
