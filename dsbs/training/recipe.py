"""What is trained, and how: all that a plan knows before anything heavy is imported."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from dsbs.objectives.base import Objective
from dsbs.students.base import Student
from dsbs.tasks.base import Task
from dsbs.training.settings import Training

if TYPE_CHECKING:
    from dsbs.students.decoding import DecodingConfig


@dataclass(frozen=True)
class Recipe:
    """What is trained, and how."""

    task: Task
    objective: Objective
    student: Student
    training: Training
    seed: int
    decoding: str = "auto"

    def reading(self) -> "DecodingConfig":
        """Return how answers are read during and after the training."""
        from dsbs.students.decoding import DecodingConfig

        return DecodingConfig(
            self.decoding,
            self.training.per_device_eval_batch_size,
            self.student.max_input_tokens,
            self.student.max_new_tokens,
            bf16=self.training.bf16,
        )
