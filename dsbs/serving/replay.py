"""Recorded traffic, answered by a student: how often it agrees with the LLM before it answers anyone."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dsbs.core.errors import DataError
from dsbs.core.progress import Meter
from dsbs.core.records import LABELLED, Completion, Example
from dsbs.core.untrusted import Fields, read_object
from dsbs.deferral.policy import Policy
from dsbs.extraction.prompts import Prompt
from dsbs.inference.checkpoint import Remembered
from dsbs.inference.confidence import add_confidence
from dsbs.inference.inputs import to_example
from dsbs.inference.predictor import Predictor
from dsbs.serving.traffic import Compared
from dsbs.tasks.base import Task
from dsbs.tasks.equal_inputs import input_key
from dsbs.tasks.tables.rows import RowsTask

BATCH = 256
LEARNED_FROM = ("train", "validation")


@dataclass
class Replayed:
    """What a student answered to recorded inputs.

    Attributes:
        compared: an entry for each input that was compared.
        trained_on: inputs left out, since they are in the student's training data.
        unread: inputs left out, since they or the LLM's answers could not be read.
    """

    compared: list[Compared] = field(default_factory=list)
    trained_on: int = 0
    unread: int = 0


class Replay:
    """A student that answers recorded inputs.

    Args:
        task: of the training, with the place of its data.
        prompt: how the LLM's answers are parsed, as in the extraction.
    """

    def __init__(
        self, predictor: Predictor, remembered: Remembered, task: Task, prompt: Prompt, policy: Policy
    ) -> None:
        self.predictor, self.remembered, self.task, self.prompt = predictor, remembered, task, prompt
        self.policy = policy

    def run(self, rows: Sequence[dict[str, Any]]) -> Replayed:
        """Return the student's answers beside the LLM's, without inputs that the student was trained on.

        Args:
            rows: with ``input``, ``completion`` and ``finish_reason``.

        Raises:
            DataError: the training data cannot be read, or no input can.
        """
        found = Replayed()
        pairs = list(self._pairs(rows, found))
        with Meter("inputs", len(pairs)) as meter:
            for start in range(0, len(pairs), BATCH):
                found.compared += self._compare(pairs[start : start + BATCH])
                meter.update(len(found.compared))
        return found

    def _pairs(self, rows: Sequence[dict[str, Any]], found: Replayed) -> Iterator[tuple[Example, str]]:
        splits = [split for split in LEARNED_FROM if split in self.task.splits()]
        seen = {input_key(example.input) for split in splits for example in self.task.examples(split)}
        fault: DataError | None = None
        for number, row in enumerate(rows, 1):
            try:
                example = to_example({"input": row["input"]}, f"recorded input {number}", str(number), self.remembered)
            except DataError as error:
                fault = fault or error
                found.unread += 1
                continue
            if input_key(example.input) in seen:
                found.trained_on += 1
                continue
            completion = Completion(row["completion"], row["finish_reason"])
            annotation = self.prompt.annotate(example, completion, self.task.answers, None)
            if annotation.label is None or annotation.status not in LABELLED:
                found.unread += 1
                continue
            yield example, annotation.label
        if fault is not None and found.unread == len(rows):
            raise fault

    def _compare(self, pairs: Sequence[tuple[Example, str]]) -> Iterator[Compared]:
        examples = [example for example, _ in pairs]
        predictions = self.predictor.predict(examples)
        if (measured := self.policy.calibration.measures) is not None:
            kind, samples = measured
            predictions = add_confidence(self.predictor, kind, examples, predictions, samples)
        for one, (_, label) in zip(predictions, pairs, strict=True):
            yield self.policy.confidence(one), self.policy.defers(one), one.label, label


def has_changed(run: Path, task: Task) -> bool:
    """Return whether a task's data is no longer that which the run was trained on.

    Raises:
        DataError: the manifest of the run is broken.
    """
    known = Fields(read_object(run / "manifest.json")).inside("settings").inside("task")
    return isinstance(task, RowsTask) and any(known.raw(key) != value for key, value in task.content.items())
