"""Context distillation: the effect of a prompt is trained into the weights (Snell et al., 2022, arXiv 2209.15189)."""

from dataclasses import dataclass
from typing import ClassVar

from dsbs.objectives.soft_targets import SoftTargets
from dsbs.objectives.taught import PLACE, STUDENT


@dataclass
class Context(SoftTargets):
    """The teacher reads an engineered prompt around the input, the student the input alone (section 3).

    The student learns the teacher's distribution of every next token of the final answer; reasoning before it is not a
    target. By default the teacher is the student before training: a model learns to do without its prompt.

    Attributes:
        teacher_model: a hub name, a folder, a GGUF file or a finished run; ``student``: the student before training.
        teacher_input: the engineered prompt; ``{input}`` stands for the example's input.
        source: the teacher's next-token distributions; the only choice here.
        soft_weight: weight of the divergence in the loss; the rest is the label's.
    """

    compares_with_base: ClassVar[bool] = True  # what the prompt adds, and how much of that the weights learned

    kind: str = "context"
    teacher_model: str | None = STUDENT
    source: str = "teacher"
    soft_weight: float = 1.0

    def faults(self) -> list[str]:
        faults = super().faults()
        if self.source != "teacher":
            faults.append(f"objective.source={self.source}: objective={self.name} compares tokens: drop it.")
        if self.teacher_input == PLACE and not self.teacher_chat:
            faults.append(
                f"objective={self.name} needs the prompt that the teacher reads: add objective.teacher_input=... with "
                f"{PLACE} where the input goes, such as 'Answer in one word.\\n{PLACE}\\nAnswer:'"
            )
        return faults
