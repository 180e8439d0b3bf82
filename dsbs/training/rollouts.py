"""Texts sampled from the student before an optimizer step, for objectives that train on them (on-policy)."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from dsbs.core.distributed import gather, rank
from dsbs.objectives.base import Objective
from dsbs.students.model import StudentModel


def roll_out(
    objective: Objective, student: StudentModel, batches: Sequence[dict[str, Any]], seed: int, step: int, bf16: bool
) -> None:
    """Put sampled texts into the rows of a step's microbatches, once, also if the step starts over when out of memory.

    The random numbers of a row depend on the seed, the step and its position in the step. So a resumed run samples the
    same texts as an uninterrupted one, and several processes the same as one.

    Args:
        batches: microbatches of this process; their ``rows`` are replaced.
    """
    sizes = gather([[len(batch["rows"]) for batch in batches]])
    draws = [np.random.default_rng([seed, step, position]) for position in row_positions(sizes, rank())]
    rows = [row for batch in batches for row in batch["rows"]]
    written = iter(objective.rollout(student, rows, draws, bf16))
    for batch in batches:
        batch["rows"] = [next(written) for _ in batch["rows"]]


def row_positions(sizes: Sequence[Sequence[int]], process: int) -> list[int]:
    """Return the positions of a process's rows among all rows of a step.

    Args:
        sizes: number of rows of each microbatch, by process.

    >>> row_positions([[2, 1], [2, 1]], 0), row_positions([[2, 1], [2, 1]], 1)
    ([0, 1, 4], [2, 3, 5])
    """
    positions: list[int] = []
    start = 0
    for parts in zip(*sizes, strict=True):
        before = start + sum(parts[:process])
        positions += range(before, before + parts[process])
        start += sum(parts)
    return positions
