"""The parts of a run's settings that the backends read."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

from dsbs.core.records import Annotation, Example, Target
from dsbs.data.controls import Control
from dsbs.extraction.prompts import Prompt
from dsbs.inference.checkpoint import Remembered, remember
from dsbs.objectives.base import Objective
from dsbs.students.base import Student
from dsbs.tasks.base import Task
from dsbs.training.settings import EQUAL, Training
from dsbs.training.stored import StoredTokens


@dataclass(frozen=True)
class Recipe:
    """What is trained, and how.

    Attributes:
        training: optimizer and schedule; read by ``backend=huggingface``.
        seed: of initial weights, data order, dropout and controls.
        prompt: its exemplars are among the texts that a student's own tokenizer is trained on.
        labels_weight: ``equal``, or ``agreement``: a label is weighted by the share of samples that voted for it.
        stored: log-probabilities of tokens from the teacher's endpoint, where the objective reads them.
    """

    task: Task
    objective: Objective
    student: Student
    training: Training
    seed: int
    decoding: str = "auto"
    prompt: Prompt | None = None
    control: Control = field(default_factory=Control)
    labels_weight: str = EQUAL
    stored: StoredTokens | None = None

    def targets(self, example: Example, annotation: Annotation | None) -> list[Target]:
        """Return the targets of an example, after the control and the weighting of labels."""
        learned = annotation and self.control.rewrite(self.task, example, annotation)
        targets = self.objective.targets(example, learned)
        if self.labels_weight == EQUAL or annotation is None or annotation.agreement is None:
            return targets
        share = annotation.agreement
        return [replace(one, weight=one.weight * share) if is_label(one.kind) else one for one in targets]

    def remember(self, examples: Iterable[Example], **reading: Any) -> Remembered:
        """Return the settings that a checkpoint keeps of the training.

        Args:
            reading: decoding and length limits of students that generate; see ``dsbs.inference.checkpoint.remember``.
        """
        return remember(self.task, self.objective, examples, format=self.student.format, **reading)

    def texts(self) -> Iterator[str]:
        """Yield the texts that a student's own tokenizer is trained on, whatever objective, fraction and seed.

        These are the unlabelled inputs of the whole train split, the closed answers and the exemplars. Answers and
        exemplars are short beside the inputs, but all outputs resemble them, so they are repeated 50 times.
        """
        choices: dict[str, None] = {}
        for example in self.task.examples("train"):
            yield example.input
            choices.update(dict.fromkeys(example.choices or ()))
        shots = self.prompt.exemplars if self.prompt else []
        exemplars = [f"{exemplar.rationale} {exemplar.answer}" for exemplar in shots]
        for _ in range(50):
            yield from choices
            yield from exemplars


def is_label(kind: str) -> bool:
    """Return whether a kind of target is the label, also in the wording that a teacher reads."""
    return kind.rpartition(" ")[2] == "label"
