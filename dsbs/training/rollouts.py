"""What the student writes itself before an optimizer step, for objectives that learn from that."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dsbs.core.distributed import gather, rank
from dsbs.objectives.base import Objective
from dsbs.students.model import StudentModel


def roll_out(
    objective: Objective, student: StudentModel, batches: Sequence[dict[str, Any]], seed: int, step: int, bf16: bool
) -> None:
    """Put what the student writes into the rows of a step's microbatches; they are not sampled again if memory runs
    out over them.

    A row's random numbers follow from the seed, the step and its place among the rows of the step. So a resumed run
    samples what it would have sampled, and several processes what one would have.
    """
    sizes = gather([[len(batch["rows"]) for batch in batches]])
    draws = [np.random.default_rng([seed, step, place]) for place in places_of(sizes, rank())]
    rows = [row for batch in batches for row in batch["rows"]]
    written = iter(objective.rollout(student, rows, draws, bf16))
    for batch in batches:
        batch["rows"] = [next(written) for _ in batch["rows"]]


def places_of(sizes: Sequence[Sequence[int]], process: int) -> list[int]:
    """Return the places of a process's rows among all rows of a step.

    Args:
        sizes: rows of each microbatch, by process.
        process: which one.

    >>> places_of([[2, 1], [2, 1]], 0), places_of([[2, 1], [2, 1]], 1)
    ([0, 1, 4], [2, 3, 5])
    """
    places: list[int] = []
    start = 0
    for parts in zip(*sizes, strict=True):
        before = start + sum(parts[:process])
        places += range(before, before + parts[process])
        start += sum(parts)
    return places
