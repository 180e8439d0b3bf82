"""The student of a server, which can be replaced while requests come in."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from dsbs.core.errors import ConfigError, DataError
from dsbs.core.records import Example, Prediction
from dsbs.core.terminal import log_once
from dsbs.inference.checkpoint import Remembered
from dsbs.inference.confidence import add_confidence
from dsbs.inference.inputs import to_example
from dsbs.inference.predictor import Predictor
from dsbs.objectives.base import Objective
from dsbs.tasks.base import Task

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Student:
    """A loaded student.

    Attributes:
        predictor: answers examples.
        remembered: wording of inputs, and closed answers.
        task: of the training.
        objective: of the training; decides whether there are rationales.
        name: for clients.
        measured: the confidence that ``add_confidence`` is to measure, and its number of samples; None: none.
    """

    predictor: Predictor
    remembered: Remembered
    task: Task
    objective: Objective
    name: str
    measured: tuple[str, int] | None = None


class Service:
    """Answers with a student that can be replaced; a running batch is finished by the one it began with."""

    def __init__(self, student: Student) -> None:
        self.student = student

    def replace(self, student: Student) -> None:
        """Use another student from the next batch on."""
        self.student = student

    def answer(self, examples: Sequence[Example], rationale: bool) -> list[Prediction]:
        """Return the answers in the order of the examples, whose ids need not be unique."""
        student, numbered = self.student, list(examples)
        if len(examples) > 1:  # a single one keeps its id, for messages
            numbered = [replace(example, id=str(number)) for number, example in enumerate(examples)]
        predictions = student.predictor.predict(numbered)
        if student.measured is not None:
            kind, samples = student.measured
            predictions = add_confidence(student.predictor, kind, numbered, predictions, samples)
        if rationale:
            predictions = student.predictor.explain(numbered, predictions)
        cut = find_truncated(student.predictor, numbered)
        if any(cut):
            log_once("Inputs longer than the student reads are truncated; /metrics counts them (dsbs_truncated).")
        return [
            replace(one, id=example.id, truncated=long)
            for one, example, long in zip(predictions, examples, cut, strict=True)
        ]

    def read(self, row: Any, number: int) -> Example:
        """Return the example of an input.

        Raises:
            DataError: it is neither, is empty, or lacks a column.
        """
        if isinstance(row, str):
            row = {"input": row}
        if not isinstance(row, dict):
            raise DataError(f'input {number}: expected a string, or an object such as {{"input": "..."}}.')
        example = to_example(row, f"input {number}", str(number), self.student.remembered)
        if not example.input.strip():
            raise DataError(f"input {number}: it is empty.")
        return example

    def check_rationale(self) -> None:
        """Check that the student generates rationales.

        Raises:
            ConfigError: it does not.
        """
        if not self.student.objective.needs_rationales:
            raise ConfigError(f"Trained with {self.student.objective.name}, this student writes no rationales.")


def find_truncated(predictor: Predictor, examples: Sequence[Example]) -> list[bool]:
    """Return for each example whether the student reads only the beginning of its input."""
    if not getattr(predictor, "truncates", True) or not predictor.lost(examples).get("inputs_cut"):
        return [False] * len(examples)
    return [bool(predictor.lost([example]).get("inputs_cut")) for example in examples]
