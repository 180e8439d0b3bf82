"""Standard fine-tuning; with the teacher's labels it is label distillation (paper, section 4.1)."""

from dataclasses import dataclass
from typing import ClassVar

from dsbs.core.records import Annotation, Example, Target
from dsbs.objectives.base import Objective


@dataclass
class Finetune(Objective):
    """Fine-tuning on the label alone.

    Attributes:
        teacher_labels_only: reject ``labels=gold``; set by the option ``distill``.
    """

    needs_rationales = False

    kind: str = "finetune"
    teacher_labels_only: bool = False

    @property
    def needs_teacher_labels(self) -> bool:
        """Whether it is label distillation (``objective=distill``)."""
        return self.teacher_labels_only

    def targets(self, example: Example, annotation: Annotation | None) -> list[Target]:
        """Return the label.

        >>> Finetune().targets(Example("1", "Is fire cold?", "no"), None)
        [Target(kind='label', text='no', weight=1.0, input=None, kept='')]
        """
        assert example.label is not None
        return [Target("label", example.label)]


@dataclass
class Respond(Finetune):
    """Fine-tuning on the teacher's whole texts: sequence-level distillation (Kim and Rush, 2016, arXiv 1606.07947).

    For tasks with ``task.answer_kind=text``, extracted with ``prompt=whole``.
    """

    kind: str = "respond"
    teacher_labels_only: bool = True

    learns_texts: ClassVar[bool] = True
    output: ClassVar[str] = "It writes an answer of any length."
