"""The base of objectives whose targets are samples of the student."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, ClassVar

from dsbs.core.checks import AT_LEAST_1, range_faults
from dsbs.core.records import Annotation, Example, Prediction, Target
from dsbs.objectives.joint import RationaleThenLabel
from dsbs.objectives.taught import Taught
from dsbs.students.answering import DecodingConfig, Writer
from dsbs.tasks.base import Answers

if TYPE_CHECKING:
    import numpy as np

    from dsbs.students.collator import Row
    from dsbs.students.model import StudentModel
    from dsbs.students.sampling import Voice


@dataclass
class OnPolicy(Taught):
    """Base of these objectives: before every optimizer step, samples replace the labels in its rows.

    Attributes:
        reasoning: whether the target is the rationale followed by the label, as in ``rationale_then_label``, or only
            the label, which may be a whole text (``task.answer_kind=text``).
        max_new_tokens: maximum tokens per sample.
    """

    on_policy: ClassVar[bool] = True

    reasoning: bool = False
    max_new_tokens: int = 128

    @property
    def needs_rationales(self) -> bool:
        """Whether the target has a rationale (``reasoning``)."""
        return self.reasoning

    @property
    def answers_last(self) -> bool:
        """Whether the label is behind a rationale (``reasoning``)."""
        return self.reasoning

    def faults(self) -> list[str]:
        return super().faults() + range_faults(self, AT_LEAST_1, "max_new_tokens", prefix="objective.")

    def targets(self, example: Example, annotation: Annotation | None) -> list[Target]:
        """Return the given target, and the same for the teacher where that reads another input."""
        assert example.label is not None
        given = RationaleThenLabel().targets(example, annotation if self.reasoning else None)
        return self.for_teacher(example, given)

    def read(
        self, student: Writer, examples: Sequence[Example], answers: Answers, reading: DecodingConfig
    ) -> list[Prediction]:
        """Return the labels, with ``reasoning`` those after the generated rationales; see ``Objective.read``."""
        if self.reasoning:
            return RationaleThenLabel().read(student, examples, answers, reading)
        return super().read(student, examples, answers, reading)

    def draw(
        self,
        voices: "Sequence[Voice]",
        draws: "Sequence[np.random.Generator]",
        bf16: bool,
        temperature: float = 1.0,
    ) -> list[list[int]]:
        """Return a sample for each row; see ``dsbs.students.sampling.sample``."""
        from dsbs.students.sampling import sample

        return sample(
            voices,
            "label",
            draws,
            vocabulary=self.teacher.vocabulary,
            end_id=voices[0].model.end_id,
            max_new_tokens=self.max_new_tokens,
            temperature=temperature,
            bf16=bf16,
        )

    def voice_of_student(self, student: "StudentModel", rows: "Sequence[Row]", share: float = 1.0) -> "Voice":
        """Return the student as a source of samples, with the inputs of the rows' labels."""
        from dsbs.students.sampling import Voice

        return Voice(student, share, [read_by(row, "label") for row in rows])

    def voice_of_teacher(self, rows: "Sequence[Row]", share: float) -> "Voice":
        """Return the teacher as a source of samples, with its inputs for the rows' labels."""
        from dsbs.objectives.teacher import teacher_kind
        from dsbs.students.sampling import Voice

        kind = "label" if self.teacher.reads_as_student else teacher_kind("label")
        return Voice(self.teacher.student, share, [read_by(row, kind) for row in rows], self.teacher.hidden_end is None)


def read_by(row: "Row", kind: str) -> list[int]:
    """Return the token ids of the input that a row's target of a kind reads."""
    return next(row.inputs[name] for one, name, _, _ in row.targets if one == kind)


def write_over(row: "Row", ids: list[int]) -> "Row":
    """Return a row with its label, and the teacher's copy of it, replaced by other token ids."""
    targets = [
        (kind, name, ids if kind.rpartition(" ")[2] == "label" else own, weight)
        for kind, name, own, weight in row.targets
    ]
    return replace(row, targets=targets)
