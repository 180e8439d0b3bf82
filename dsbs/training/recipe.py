"""What is trained, and how: the settings of a run as the backends read them."""

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
        task: where the examples come from, and how answers are scored.
        objective: what the student learns.
        student: what is trained.
        training: how long and how fast; not every backend reads it.
        seed: of whatever is drawn.
        decoding: ``auto``, ``rank`` or ``generate``.
        prompt: its exemplars are among the texts that a student's own tokenizer is made from.
        control: what is learned in the place of rationales.
        labels_weight: ``equal``, or ``agreement``: labels count as the share of the samples that voted for them.
        stored: the log-probabilities of tokens that a teacher's endpoint told, where the objective reads them.
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
        """Return what the student learns to write for an example, as control and weights of labels change it."""
        learned = annotation and self.control.rewrite(self.task, example, annotation)
        targets = self.objective.targets(example, learned)
        if self.labels_weight == EQUAL or annotation is None or annotation.agreement is None:
            return targets
        share = annotation.agreement
        return [replace(one, weight=one.weight * share) if is_label(one.kind) else one for one in targets]

    def remember(self, examples: Iterable[Example], **reading: Any) -> Remembered:
        """Return what a checkpoint has to remember of the training.

        Args:
            examples: all that the student is trained and measured on.
            reading: how answers are read, for students that write; see ``dsbs.inference.checkpoint.remember``.
        """
        return remember(self.task, self.objective, examples, format=self.student.format, **reading)

    def texts(self) -> Iterator[str]:
        """Yield the texts that a student's own tokenizer is made from: the same for every objective, fraction and seed.

        The unlabelled inputs of the whole train split, the closed answers, the exemplars. Answers and exemplars are
        short beside the inputs, but all that the student writes looks like them, so they count many times.
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
    """Return whether a kind of target is the label, be it as a teacher beside the student reads it."""
    return kind.rpartition(" ")[2] == "label"
