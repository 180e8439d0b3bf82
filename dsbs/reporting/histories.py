"""How trainings went on the way: loss and validation score over steps."""

from typing import Any

from dsbs.reporting.conditions import Condition


def read_histories(condition: Condition) -> list[dict[str, Any]]:
    """Return for each seed what its run logged on the way; without those that logged nothing.

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
