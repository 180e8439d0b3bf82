"""Predictor of torch students, which rank or generate their answers."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from dsbs.core.distributed import count_processes, gather, rank
from dsbs.core.errors import RunError, StudentError
from dsbs.core.records import Example, Prediction
from dsbs.core.untrusted import excerpt
from dsbs.inference.checkpoint import Saved
from dsbs.objectives.base import Objective
from dsbs.tasks.base import Task

if TYPE_CHECKING:
    from dsbs.inference.perplexity import Perplexity
    from dsbs.students.answering import DecodingConfig
    from dsbs.students.model import StudentModel

logger = logging.getLogger(__name__)


def check(student: "StudentModel", reading: "DecodingConfig", checkpoint: Path) -> None:
    """Check that a student that generates can write a token for two inputs: a config may name tokens it lacks.

    Raises:
        StudentError: where it cannot.
    """
    from dsbs.students.generative import GenerativeModel

    if not isinstance(student, GenerativeModel):
        return
    try:
        student.write([Example("1", "a"), Example("2", "a b c d")], replace(reading, max_new_tokens=1))
    except Exception as error:  # whatever a broken or hostile config makes a network raise
        message = excerpt(str(error) or type(error).__name__, 200)
        raise StudentError(f"{checkpoint}: the student cannot answer ({message}).") from error


@dataclass
class TorchPredictor:
    """A torch student, with all that is needed to read its answers.

    Several processes of a training divide the examples, and each gets all answers. Out of memory, the batch size is
    halved for good.
    """

    student: "StudentModel"
    task: Task
    objective: Objective
    reading: "DecodingConfig"

    @classmethod
    def load(cls, saved: Saved) -> "TorchPredictor":
        """Load a student; see ``dsbs.inference.predictor.load_predictor``."""
        from dsbs.students.decoding import best_device
        from dsbs.students.loading import load_student

        reading = saved.reading(bf16=saved.remembered.bf16)
        student = load_student(saved.folder).to(best_device()).eval()
        check(student, reading, saved.folder)
        return cls(student, saved.task, saved.objective, reading)

    def predict(self, examples: Sequence[Example]) -> list[Prediction]:
        """Return the student's answers, in the order of the examples.

        Examples with and without closed answers are answered separately, so no answer depends on other examples.
        """
        processes = count_processes()
        found = gather(self._read(examples[rank() :: processes]))
        positions = [position for process in range(processes) for position in range(process, len(examples), processes)]
        by_position = dict(zip(positions, found, strict=True))
        return [by_position[position] for position in range(len(examples))]

    def explain(self, examples: Sequence[Example], predictions: list[Prediction]) -> list[Prediction]:
        """Return the predictions with the student's rationales."""

        def explain(positions: list[int]) -> list[Prediction]:
            part, answered = [examples[one] for one in positions], [predictions[one] for one in positions]
            return self.objective.explain(self.student, part, answered, self.task.answers, self.reading)

        return self._apart(examples, explain)

    def sample(self, examples: Sequence[Example], reading: "DecodingConfig", count: int) -> list[list[str]]:
        """Return ``count`` labels for each example, sampled at temperature 1.

        Raises:
            StudentError: for a student that does not generate.
        """
        from dsbs.students.generative import GenerativeModel
        from dsbs.students.sampling import sample_labels

        if not isinstance(self.student, GenerativeModel):
            raise StudentError("This student has no decoder: it ranks closed answers, and no others can be drawn.")
        return sample_labels(self.student, examples, reading, count)

    def lost(self, examples: Sequence[Example]) -> dict[str, int]:
        """Return counts of truncated inputs and unknown tokens; see ``dsbs.students.lost.count_lost``."""
        return self.student.lost(examples, self.reading.max_input_tokens)

    def perplexity(self, examples: Sequence[Example]) -> "Perplexity | None":
        """Return the perplexity of gold answers that are whole texts (``task.answer_kind=text``), else None."""
        if not getattr(self.task.answers, "whole", False) or any(example.choices for example in examples):
            return None
        from dsbs.inference.perplexity import measure_perplexity

        return measure_perplexity(self.student, examples, self.reading)

    def save(self, folder: Path) -> None:
        """Write weights, config and tokenizer to a folder."""
        self.student.save(folder)

    def _read(self, examples: Sequence[Example]) -> list[Prediction]:
        def read(positions: list[int]) -> list[Prediction]:
            part = [examples[position] for position in positions]
            return self.objective.read(self.student, part, self.task.answers, self.reading)

        return self._apart(examples, read)

    def _apart(self, examples: Sequence[Example], read: Callable[[list[int]], list[Prediction]]) -> list[Prediction]:
        """Read examples with closed answers and those without apart, by their places."""
        predictions: dict[int, Prediction] = {}
        for closed in (True, False):
            positions = [position for position, example in enumerate(examples) if bool(example.choices) == closed]
            if positions:
                predictions.update(zip(positions, self._retry(partial(read, positions)), strict=True))
        return [predictions[position] for position in range(len(examples))]

    def _retry(self, read: Callable[[], list[Prediction]]) -> list[Prediction]:
        """Read, with half the batch where memory runs out."""
        from dsbs.students.memory import is_out_of_memory

        while True:
            try:
                return read()
            except RuntimeError as error:
                if not is_out_of_memory(error):
                    raise
                if self.reading.batch_size == 1:
                    raise RunError(
                        "Out of memory on a single example. Lower student.max_input_tokens or student.max_new_tokens, "
                        "or choose a smaller student."
                    ) from error
            # Outside of `except`, where the error no longer holds on to the tensors of the batch that failed.
            self.reading = replace(self.reading, batch_size=self.reading.batch_size // 2)
            logger.warning("Out of memory while predicting; continuing with batches of %d.", self.reading.batch_size)
