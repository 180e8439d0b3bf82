"""Sequence-level distillation: the teacher's whole answers are the targets (Kim and Rush, 2016, arXiv 1606.07947)."""

from dataclasses import dataclass
from typing import ClassVar

from dsbs.objectives.finetune import Finetune


@dataclass
class Respond(Finetune):
    """Fine-tuning on the teacher's whole texts.

    For tasks with ``task.answer_kind=text``, extracted with ``prompt=whole``.
    """

    kind: str = "respond"
    teacher_labels_only: bool = True

    learns_texts: ClassVar[bool] = True
    output: ClassVar[str] = "It writes an answer of any length."
