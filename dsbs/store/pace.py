"""How fast a teacher answered when it was last asked, from the times in its store."""

from collections.abc import Iterable
from itertools import pairwise

# The last answers that came one by one, and how many of them tell a pace.
PACE = """SELECT created FROM completions JOIN origins ON number = origin WHERE prefix = ? AND created > 0
    ORDER BY completions.rowid DESC LIMIT 500"""
FEWEST_FOR_PACE = 20


def measure_pace(rows: Iterable[tuple[float]]) -> float | None:
    """Return events a second, or None where there are fewer than ``FEWEST_FOR_PACE``.

    The longest gap is left out, since it may lie between two runs.

    Args:
        rows: rows of one column, a time in seconds.

    >>> measure_pace([(float(second),) for second in range(30)])
    1.0
    """
    times = sorted(row[0] for row in rows)
    gaps = sorted(after - before for before, after in pairwise(times))[:-1]
    return len(gaps) / sum(gaps) if len(times) >= FEWEST_FOR_PACE and sum(gaps) > 0 else None
