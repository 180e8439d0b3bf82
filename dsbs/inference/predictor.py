"""A trained student at work: it answers inputs in batches, and is measured on examples with gold answers."""

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from dsbs.core.errors import ConfigError, DataError
from dsbs.core.records import Example, Prediction
from dsbs.inference.checkpoint import Remembered
from dsbs.objectives.base import Objective
from dsbs.tasks.base import Task
from dsbs.tasks.rows import RowsTask
from dsbs.tasks.sources import read_rows

if TYPE_CHECKING:
    from dsbs.students.decoding import DecodingConfig
    from dsbs.students.model import StudentModel


@dataclass(frozen=True)
class Served:
    """A student and all that is needed to read its answers."""

    student: "StudentModel"
    task: Task
    objective: Objective
    reading: "DecodingConfig"

    def answer(self, examples: Sequence[Example], rationales: bool = False) -> list[Prediction]:
        """Return the student's answers in the order of the examples, with its rationales if they are wanted.

        Examples with closed answers and those without are read apart, so no answer depends on its neighbours.
        """
        predictions: dict[int, Prediction] = {}
        for closed in (True, False):
            positions = [place for place, example in enumerate(examples) if bool(example.choices) == closed]
            part = [examples[place] for place in positions]
            if part:
                predictions.update(zip(positions, self._answer(part, rationales), strict=True))
        return [predictions[place] for place in range(len(examples))]

    def _answer(self, examples: list[Example], rationales: bool) -> list[Prediction]:
        answers = self.task.answers
        predictions = self.objective.read(self.student, examples, answers, self.reading)
        if rationales:
            predictions = self.objective.explain(self.student, examples, predictions, answers, self.reading)
        return predictions

    def stream(self, examples: Iterable[Example], rationales: bool = False) -> Iterator[tuple[Example, Prediction]]:
        """Answer a stream of examples batch by batch; no more than a batch is held."""
        iterator = iter(examples)
        while batch := list(islice(iterator, self.reading.batch_size)):
            yield from zip(batch, self.answer(batch, rationales), strict=True)


def load_served(
    checkpoint: Path,
    remembered: Remembered,
    task: Task,
    objective: Objective,
    batch_size: int,
    decoding: str | None = None,
) -> Served:
    """Load a student onto the GPU where there is one.

    Args:
        checkpoint: its folder.
        remembered: what the checkpoint remembers.
        task: whose answers are read.
        objective: how they are read.
        batch_size: examples of one forward pass.
        decoding: ``rank``, ``generate`` or ``auto``; None: as in the training.

    Raises:
        StudentError: where the checkpoint is broken.
    """
    from dsbs.students.decoding import DecodingConfig, best_device
    from dsbs.students.loading import load_student

    reading = DecodingConfig(
        decoding or remembered.decoding,
        batch_size,
        remembered.max_input_tokens,
        remembered.max_new_tokens,
        bf16=remembered.bf16,
    )
    return Served(load_student(checkpoint).to(best_device()).eval(), task, objective, reading)


def gold_examples(task: Task, split: str, path: str | None) -> tuple[list[Example], int]:
    """Return the examples of a split that have a gold answer, and how many have none.

    Args:
        task: how rows become examples.
        split: the split to measure on; a file holds just one, whatever its name.
        path: other data for the same task: a file or folder; None: the task's own.

    Raises:
        DataError: where nothing can be measured.
    """
    examples = list(_examples(task, split, path))
    gold = [example for example in examples if example.label is not None]
    if not gold:
        raise DataError(
            f"None of the {len(examples)} examples of {path or f'the {split} split of task={task.name}'} has a gold "
            "answer, so nothing can be measured. To answer them: python -m dsbs.predict checkpoint=... input=..."
        )
    return gold, len(examples) - len(gold)


def _examples(task: Task, split: str, path: str | None) -> Iterable[Example]:
    if path is None and isinstance(task, RowsTask) and task.path is None and task.hub is None:
        raise ConfigError("A checkpoint without its run does not know where the data lies: add path=FILE_OR_FOLDER.")
    if path is None:
        return _split(task, split)
    if not isinstance(task, RowsTask):
        raise ConfigError(f"path={path}: task={task.name} makes its examples itself and reads no files.")
    task = replace(task, path=path)
    file = Path(path).expanduser()
    if file.is_file():
        return task.columns.examples(read_rows(file), split)
    if not file.exists() and not any(sign in path for sign in "*?["):
        raise DataError(f"path={path}: there is no such file or folder.")
    return _split(task, split)


def _split(task: Task, split: str) -> Iterable[Example]:
    if split not in task.splits():
        raise DataError(f"split={split}: task={task.name} has no such split here; it has {', '.join(task.splits())}.")
    return task.examples(split)


def to_line(example: Example, prediction: Prediction, rationale: bool, with_input: bool) -> dict[str, Any]:
    """Return a prediction as ``dsbs.predict`` writes it; the score is in nats, null where there is none."""
    line: dict[str, Any] = {"id": prediction.id}
    if with_input:
        line["input"] = example.input
    finite = prediction.score is not None and math.isfinite(prediction.score)
    line |= {"label": prediction.label, "score": prediction.score if finite else None}
    return line | ({"rationale": prediction.rationale} if rationale else {})
