"""The base of objectives: the targets of a student, its loss, and how its answers are read."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from dsbs.core.names import name_faults
from dsbs.core.records import Annotation, Example, Prediction, Target
from dsbs.students.answering import DecodingConfig, Writer, add_rationales, read_labels
from dsbs.tasks.base import Answers

if TYPE_CHECKING:
    import numpy as np
    import torch

    from dsbs.students.base import GenerativeStudent
    from dsbs.students.collator import Reader, Row
    from dsbs.students.model import Batch, StudentModel

# Term of a loss -> its sum over a batch, and the count that it is a mean over; scalars without gradients.
Terms = dict[str, "tuple[torch.Tensor, torch.Tensor]"]


@dataclass
class Objective:
    """Base of all objectives; a dataclass whose fields are its configuration.

    Class attributes:
        on_policy: whether the student generates targets during training (``rollout``).
        learns_texts: whether the answers are texts of any length, which only a student with a decoder can generate.
        compares_with_base: whether ``dsbs.compare`` also measures the student before training, with and without a
            prompt.
        output: what a trained student writes, for its model card.

    Attributes:
        kind: which class this is; a key of ``dsbs.objectives.OBJECTIVES``.
        name: name in folders and reports; the option's name in ``conf/objective/``.
        prefix_on: position of the task prefix. ``target``: the decoder starts with it, and both tasks share one encoder
            pass. ``input``: before the input, as in the paper.
    """

    on_policy: ClassVar[bool] = False
    learns_texts: ClassVar[bool] = False
    compares_with_base: ClassVar[bool] = False

    kind: str = "???"
    name: str = "???"
    prefix_on: str = "target"

    output: ClassVar[str] = "It writes the label."

    @property
    def needs_teacher_labels(self) -> bool:
        """Whether it needs ``labels=teacher``."""
        return False

    @property
    def needs_rationales(self) -> bool:
        """Whether it needs annotations with rationales."""
        return True

    @property
    def reads(self) -> frozenset[str]:
        """Which fields of annotations it reads beside label and rationale: ``votes``, ``probabilities``, ``system``."""
        return frozenset()

    @property
    def reads_stored_tokens(self) -> bool:
        """Whether it learns from the tokens' log-probabilities in the store of completions."""
        return False

    @property
    def needs_choices(self) -> bool:
        """Whether every example must have closed answers."""
        return False

    @property
    def shares(self) -> Mapping[str, float]:
        """Term of the loss -> its weight; 1 for a term that is not named."""
        return {}

    @property
    def rationale_apart(self) -> bool:
        """Whether the rationale is a target of its own, generated when asked for."""
        return False

    @property
    def answers_last(self) -> bool:
        """Whether the student has to write its rationale before it answers."""
        return False

    def faults(self) -> list[str]:
        """Return what is wrong with the settings."""
        faults = name_faults("objective.name", self.name)
        if self.prefix_on in ("target", "input"):
            return faults
        return [*faults, f"objective.prefix_on={self.prefix_on}: expected target or input."]

    def unused(self) -> list[str]:
        """Return which settings do nothing beside the others: refused in a training, not in a checkpoint."""
        return []

    def identity(self) -> dict[str, object]:
        """Return what decides the training, for the run's hash."""
        return asdict(self)

    def targets(self, example: Example, annotation: Annotation | None) -> list[Target]:
        """Return the targets of an example.

        Args:
            example: its ``label`` is the one to learn, gold or the teacher's; never None.
            annotation: a usable annotation, or None.
        """
        raise NotImplementedError

    def check(self, student: "GenerativeStudent") -> None:
        """Check what can be checked before any weights are loaded; by default nothing.

        Raises:
            StudentError: where the student does not fit the objective's settings.
        """

    @property
    def readers(self) -> "Mapping[str, Reader]":
        """Kind of target -> how its inputs are encoded, where the student does not read them."""
        return {}

    def prepare(self, student: "StudentModel", device: "torch.device") -> None:
        """Load what is needed beside the student during training, such as a teacher; by default nothing.

        Raises:
            StudentError: where it cannot be loaded, or does not fit the student.
        """

    def rollout(
        self, student: "StudentModel", rows: "Sequence[Row]", draws: "Sequence[np.random.Generator]", bf16: bool
    ) -> "list[Row]":
        """Return the rows of an optimizer step with targets that the student generates; only where ``on_policy``.

        Args:
            rows: of all microbatches of this process.
            draws: the random generator of each row, which row, step and seed decide, whatever the number of processes.
        """
        raise NotImplementedError

    def count(self, rows: "Sequence[Row]") -> dict[str, float]:
        """Return term of the loss -> the count that it is a mean over, for some rows of an optimizer step.

        By default the target tokens of each kind, times the weights of their targets.
        """
        counts: Counter[str] = Counter()
        for row in rows:
            for kind, _, ids, weight in row.targets:
                counts[kind] += weight * len(ids)  # type: ignore[assignment]  # typeshed counts in whole numbers
        return dict(counts)

    def loss(
        self, model: Callable[..., Any], batch: "Batch", counts: "Mapping[str, torch.Tensor]"
    ) -> "tuple[torch.Tensor, Terms]":
        """Return the loss of a batch, and its terms for the log.

        A step's loss is the sum of its batches' losses, however it is cut; so each term is divided by its count over
        the whole step. By default it is the cross-entropy of every kind of target (``dsbs.objectives.losses``).

        Args:
            model: the student: called with ``batch["inputs"]`` and ``batch["targets"]``, it returns kind -> logits
                [R, T, V]. It may be called several times, and on other batches of the same form.
            counts: of ``count``, summed over all batches and processes of the optimizer step; scalars.

        Returns:
            a scalar with gradients, and term -> (sum, count).
        """
        from dsbs.objectives.losses import summed_cross_entropy, weigh_terms

        logits = model(batch["inputs"], batch["targets"])
        terms = {
            kind: summed_cross_entropy(logits[kind], target["labels"], target["weights"])
            for kind, target in batch["targets"].items()
        }
        return weigh_terms(terms, self.shares, counts)

    def read(
        self, student: Writer, examples: Sequence[Example], answers: Answers, reading: DecodingConfig
    ) -> list[Prediction]:
        """Return a trained student's answers, in the order of the examples; by default labels, ranked or generated."""
        return read_labels(student, examples, answers, reading)

    def explain(
        self,
        student: Writer,
        examples: Sequence[Example],
        predictions: list[Prediction],
        answers: Answers,
        reading: DecodingConfig,
    ) -> list[Prediction]:
        """Return the predictions with the student's rationales.

        Where they are a target of their own (``rationale_apart``) they are generated now, as in the paper; else the
        predictions have theirs, or there are none.
        """
        return add_rationales(student, examples, predictions, reading) if self.rationale_apart else predictions
