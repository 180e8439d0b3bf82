"""Generative distillation: the teacher's whole answers are the targets (Kim and Rush, 2016, arXiv 1606.07947)."""

from dataclasses import dataclass
from typing import ClassVar

from dsbs.objectives.finetune import Finetune


@dataclass
class Respond(Finetune):
    """The student learns to write what the teacher wrote, from its first token to its end.

    It is fine-tuning on the teacher's text: for tasks whose answers are texts (``task.answer_kind=text``), asked for
    with ``prompt=whole``.
    """

    kind: str = "respond"
    teacher_labels_only: bool = True

    learns_texts: ClassVar[bool] = True
    output: ClassVar[str] = "It writes an answer of any length."
