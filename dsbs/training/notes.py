"""Losses of data on the way to a student, such as truncated inputs, in sentences: terminal, model card, report."""

from collections.abc import Mapping
from itertools import chain
from typing import Any

from dsbs.data.join import RunData
from dsbs.data.overlap import count_overlap
from dsbs.students.lost import tell_lost
from dsbs.tasks.base import Task

OTHERS = "train or validation"


def tell_losses(task: Task, counts: Mapping[str, int]) -> list[str]:
    """Return a sentence for each kind of loss.

    Args:
        task: has remarks on its data.
        counts: of a run, as in ``metrics.json``.

    >>> tell_losses(Task(), {"inputs_cut": 12, "train": 300})
    ['12 inputs of 300 examples were longer than student.max_input_tokens and were truncated.']
    """
    return [*task.remarks(), *tell_lost(counts)]


def count_test_overlap(data: RunData) -> dict[str, Any] | None:
    """Return how many test inputs also occur in train or validation, for ``metrics.json``; None without a test."""
    if not data.test:
        return None
    others = chain((example.input for example, _ in data.train), (example.input for example in data.validation))
    return count_overlap((example.input for example in data.test), others).figures()
