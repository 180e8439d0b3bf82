"""What an objective is: what the student learns to write, how it is scored, and how an answer is read from it."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from dsbs.core.records import Annotation, Example, Prediction, Target
from dsbs.students.answering import DecodingConfig, Writer, add_rationales, read_labels
from dsbs.tasks.base import Answers

if TYPE_CHECKING:
    import torch

    from dsbs.students.model import Batch


@dataclass
class Objective:
    """Base of all objectives; a dataclass whose fields are its configuration.

    Attributes:
        kind: which class this is; a key of ``dsbs.objectives.OBJECTIVES``.
        name: the name in folders and reports; the option's name in ``conf/objective/``.
        prefix_on: where the task prefix stands. ``target``: the decoder starts with it, one encoder pass serves both
            tasks. ``input``: before the input, as in the paper.
    """

    kind: str = "???"
    name: str = "???"
    prefix_on: str = "target"

    @property
    def needs_rationales(self) -> bool:
        """Whether annotations with rationales are needed."""
        return True

    def faults(self) -> list[str]:
        """Return what is wrong with the settings."""
        if self.prefix_on in ("target", "input"):
            return []
        return [f"objective.prefix_on={self.prefix_on}: expected target or input."]

    def identity(self) -> dict[str, object]:
        """Return what decides the training."""
        return asdict(self)

    def targets(self, example: Example, annotation: Annotation | None) -> list[Target]:
        """Return what the student learns to write for an example.

        Args:
            example: its ``label`` is the one to learn, gold or the teacher's; never None.
            annotation: a usable annotation, or None.
        """
        raise NotImplementedError

    def loss(
        self, logits: "dict[str, torch.Tensor]", batch: "Batch", counts: "dict[str, torch.Tensor]"
    ) -> "tuple[torch.Tensor, dict[str, torch.Tensor]]":
        """Return the loss of a batch and, for the log, the plain sum of nll by kind. See ``dsbs.objectives.losses``.

        Args:
            logits: kind -> [R, T, V].
            batch: as the collator made it.
            counts: kind -> target tokens of the whole optimiser step.
        """
        from dsbs.objectives.losses import multi_task_loss, summed_cross_entropy

        weighted, plain = {}, {}
        for kind, target in batch["targets"].items():
            weighted[kind], plain[kind] = summed_cross_entropy(logits[kind], target["labels"], target["weights"])
        return multi_task_loss(weighted, counts), plain

    def read(
        self, student: Writer, examples: Sequence[Example], answers: Answers, reading: DecodingConfig
    ) -> list[Prediction]:
        """Return what the trained student answers: by default the label alone, ranked or generated."""
        return read_labels(student, examples, answers, reading)

    def explain(
        self,
        student: Writer,
        examples: Sequence[Example],
        predictions: list[Prediction],
        answers: Answers,
        reading: DecodingConfig,
    ) -> list[Prediction]:
        """Return the predictions with the student's rationales, for those who want to read them.

        By default they are written as a task of their own, beside the label, as in the paper.
        """
        return add_rationales(student, examples, predictions, reading)
