"""What was lost on the way from the data to a student, in sentences: for the terminal, the card and the report."""

from collections.abc import Mapping
from itertools import chain
from typing import Any

from dsbs.data.join import RunData
from dsbs.data.overlap import count_overlap
from dsbs.students.lost import WORTH_TELLING, tell_lost
from dsbs.tasks.base import Task

OTHERS = "train or validation"


def tell_losses(task: Task, counts: Mapping[str, int]) -> list[str]:
    """Return a sentence for each loss.

    Args:
        task: what it noticed of its data.
        counts: of a run, as in ``metrics.json``.

    >>> tell_losses(Task(), {"inputs_cut": 12, "train": 300, "inputs_tokens": 1000, "inputs_unknown": 20})
    ['12 inputs of 300 examples were longer than student.max_input_tokens and were truncated.', '2.0% of the tokens of \
the inputs are unknown to the tokenizer.']
    """
    told = list(task.remarks())
    for part, key in (("inputs", "max_input_tokens"), ("targets", "max_target_tokens")):
        if counts.get(f"{part}_cut"):
            of = f" of {counts['train']:,} examples" * ("train" in counts)
            told.append(f"{counts[f'{part}_cut']:,} {part}{of} were longer than student.{key} and were truncated.")
    if counts.get("inputs_blank"):
        told += tell_lost({"inputs": counts["inputs"], "inputs_blank": counts["inputs_blank"]})
    for part in ("inputs", "targets"):
        share = counts.get(f"{part}_unknown", 0) / max(counts.get(f"{part}_tokens", 0), 1)
        if share > WORTH_TELLING:
            told.append(f"{100 * share:.1f}% of the tokens of the {part} are unknown to the tokenizer.")
    return told


def count_test_overlap(data: RunData) -> dict[str, Any] | None:
    """Return how many test inputs stand in train or validation, for ``metrics.json``; None where there is no test."""
    if not data.test:
        return None
    others = chain((example.input for example, _ in data.train), (example.input for example in data.validation))
    return count_overlap((example.input for example in data.test), others).figures()
