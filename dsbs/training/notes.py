"""What figures alone do not say, such as truncated inputs, in sentences: terminal, model card, report."""

from collections.abc import Mapping
from itertools import chain
from typing import Any

from dsbs.core.untrusted import excerpt
from dsbs.data.join import RunData
from dsbs.data.overlap import count_overlap
from dsbs.inference.metrics import Score
from dsbs.students.lost import describe_lost
from dsbs.tasks.base import Task

OTHERS = "train or validation"
_SHOWN = 5  # labels that are named


def describe_losses(task: Task, counts: Mapping[str, int]) -> list[str]:
    """Return a sentence for each kind of loss.

    >>> describe_losses(Task(), {"inputs_cut": 12, "train": 300})
    ['12 inputs of 300 examples exceeded student.max_input_tokens: truncated at the end.']
    """
    return [*task.remarks(), *describe_lost(counts)]


def describe_missing_labels(data: RunData) -> list[str]:
    """Return which closed answers no training example has, and which no test example has; a sentence each.

    Where answers are no closed ones that all examples share: whether all of test have the same one.
    """
    shared = {example.choices for example in chain(data.validation, data.test)}
    answers = next(iter(shared)) if len(shared) == 1 else None
    tested = {example.label for example in data.test}
    if answers is None and len(tested) == 1 < len(data.test):
        return [f"All {len(data.test):,} test examples have the same answer: {excerpt(tested.pop(), 60)}."]
    notes = []
    for part, known, so in (
        ("training", data.taught, "the student cannot learn"),
        ("test", tested, "the figures on test do not cover"),
    ):
        lacking = [answer for answer in answers or () if answer not in known] if known else []
        if lacking:
            named = ", ".join(lacking[:_SHOWN]) + (f" and {len(lacking) - _SHOWN:,} more" * (len(lacking) > _SHOWN))
            one = len(lacking) == 1
            notes.append(f"No {part} example has the label{'s' * (not one)} {named}: {so} {'it' if one else 'them'}.")
    return notes


def describe_answers(found: Score) -> list[str]:
    """Return how many answers to test could not be read, and whether all are the same; a sentence each.

    >>> describe_answers(Score(examples=9, unanswered=2))
    ['2 of 9 answers to test could not be read as an answer of the task; they count as wrong.']
    """
    notes = []
    if found.unanswered:
        notes.append(
            f"{found.unanswered:,} of {found.examples:,} answers to test could not be read as an answer of the task; "
            "they count as wrong."
        )
    given = {answer for _, answer in found.confusion}
    if len(given) == 1 < len({gold for gold, _ in found.confusion}) and not found.unanswered:
        notes.append(f"The student answers all {found.examples:,} test examples alike: {excerpt(given.pop())}.")
    return notes


def count_test_overlap(data: RunData) -> dict[str, Any] | None:
    """Return how many test inputs also occur in train or validation, for ``metrics.json``; None without a test."""
    if not data.test:
        return None
    others = chain((example.input for example, _ in data.train), (example.input for example in data.validation))
    return count_overlap((example.input for example in data.test), others).figures()
